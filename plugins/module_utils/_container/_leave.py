# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: the machine forgets a container. The kit goes only when no container has it and no project names the fragment any more."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._host import _files, _trust
from . import _container_check, _engine, _placed, _project

if TYPE_CHECKING:
    from .._host._process import Runner
    from ._engine import Container
    from ._placed import Placed


def leave(runner: Runner, params: Mapping[str, Any], dry: bool) -> dict[str, Any]:
    """Remove record, fragment and kit; return the module's answer. ``dry``: only say what would be done."""
    config_dir, instance = params["config_dir"], params["instance"]
    _trust.refuse_loose(config_dir, "walg_config_dir")
    placed = _placed.load(config_dir, instance)
    if placed is None:
        return {"changed": False, "diff": [], "warnings": []}
    record, base = _placed.record_path(config_dir, instance), placed.base
    advice = _kept_for(placed, _found(runner, placed))
    answer: dict[str, Any] = {"kit": placed.kit}
    if advice:
        return {**answer, "changed": False, "diff": [], "advice": advice, "warnings": [advice]}
    _trust.refuse_loose(base, "The kit's directory")
    before = _files.read_text(record) or ""
    trees = "".join(f"{path}\n" for path in (base, placed.fragment) if os.path.lexists(path))
    if not dry:
        _files.remove_tree(base)
        _files.remove_files(os.path.dirname(placed.fragment), (os.path.basename(placed.fragment),))
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(base))  # where nothing of others is in it
        os.unlink(record)  # last: by it, a run that is killed before is finished by the next
    diff = [{"before_header": record, "after_header": record, "before": before, "after": ""}]
    diff += [{"before": trees, "after": ""}] if trees else []
    return {**answer, "changed": True, "diff": diff, "warnings": []}


def _found(runner: Runner, placed: Placed) -> Container | None:
    """Return the container; None if it is gone."""
    try:
        return placed.find(runner)
    except _engine.AbsentError:
        return None


def _kept_for(placed: Placed, container: Container | None) -> str:
    """Return what still needs the kit and what to do about it, "" if nothing does."""
    fragment = placed.fragment
    project = _project.look(placed.project_dir) if placed.service and os.path.isdir(placed.project_dir) else None
    if project and container:
        project = project.of(container)
    mounted = container is not None and _container_check.has_kit(container, placed.kit)
    if project and project.uses(fragment):
        line = project.line_without(fragment)
        change = (
            f"change COMPOSE_FILE in {project.env_file} to this: {line}"
            if line
            else f"remove COMPOSE_FILE from {project.env_file}"
        )
        return f"{placed.kit} is kept, since {placed.where()} needs it: {change}; {_again(project, placed)}"
    if mounted and project:
        return f"{placed.kit} is kept, since {placed.where()} has it mounted: {_again(project, placed)}"
    if mounted:
        flag = f"--volume {shlex.quote(f'{placed.kit}:{placed.kit}')}"
        return f"{placed.kit} is kept, since {placed.where()} has it mounted: recreate it without {flag}, then run this again."
    return ""


def _again(project: _project.Project, placed: Placed) -> str:
    return f"then recreate the container, and run this again: {project.again(placed.service)}"
