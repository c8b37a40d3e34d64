# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which container an instance's server is in, and the kit in it. Plan first; check mode and the run share it.

The machine keeps the record, and for Compose the fragment, where only root writes; the kit itself is filled from inside. Whether it is
mounted is seen by looking at the container. If it is not, the container must be recreated, which is done on request only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _files, _trust
from .._host._users import User
from .._instance import _record
from . import _container_check, _engine, _force, _fragment, _placed, _project

if TYPE_CHECKING:
    from .._host._files import FilePlan
    from .._host._process import Runner
    from ._engine import Container
    from ._placed import Placed
    from ._project import Project

_KEYS = ("project_dir", "service")
_V1 = "1."
_LEAST_GRACE = 60  # seconds


@dataclass(frozen=True)
class Plan:
    """What the machine keeps, and the container as it is."""

    placed: Placed
    container: Container
    project: Project | None
    data_dir: str  # in the container, "" if nothing tells
    files: tuple[FilePlan, ...]
    fragment: str  # its path, "" without Compose
    stop_grace: int

    @property
    def in_force(self) -> bool:
        """Whether the container has the kit."""
        return _container_check.served(self.container, self.placed.kit)

    def differing(self) -> list[FilePlan]:
        """Return the files that are not as they should be."""
        return [one for one in self.files if one.differs()]

    def diff(self) -> list[dict[str, str]]:
        """Return a diff of each file that is not as it should be."""
        return [_diff(one) for one in self.differing()]

    def answer(self) -> dict[str, Any]:
        """Return what of it the module returns."""
        found = self.container
        told = {
            "name": found.name,
            "id": found.identifier,
            "engine": found.engine_name,
            "image": found.image_name or found.image,
            "status": found.status,
        }
        return {
            "container": told,
            "kit": self.placed.kit,
            "compose_file": self.fragment or None,
            "in_force": self.in_force,
        }


def plan(runner: Runner, params: Mapping[str, Any]) -> Plan:
    """Find the container and plan what the machine keeps of it. Raises WalgError for all that keeps it from being served."""
    placed = _given(params)
    project = _project.look(placed.project_dir) if placed.service else None
    container = placed.find(runner)
    if placed.container:
        placed = replace(placed, container=container.name)
    data_dir = _container_check.data_dir_of(container, params["data_dir"] or "")
    _container_check.refuse_state(container, params["purpose"])
    _container_check.refuse_elsewhere(container)
    _container_check.refuse_recorded(params["config_dir"], placed.instance, container)
    _refuse_moved(runner, params["config_dir"], placed, container)
    _container_check.refuse_other_kit(container, placed, params["kit_dir"])
    _container_check.refuse_data_place(container, data_dir)
    _container_check.refuse_read_only(container)
    project = project.of(container) if project else None
    fragment = placed.fragment if project else ""
    me = User.current()
    files = [
        _files.parent(params["config_dir"], me),
        _files.parent(params["kit_dir"], me),
        _files.owned(placed.base, None, 0o700, me),
        _files.owned(placed.kit, None, 0o755, me),
    ]
    if project:
        text = _fragment_text(container, project, placed, fragment, params["stop_grace"])
        files.append(_files.owned(fragment, text, 0o644, me))
    record = _placed.record_path(params["config_dir"], placed.instance)
    files.append(_files.owned(record, _placed.render(placed), 0o644, me))
    return Plan(placed, container, project, data_dir, tuple(files), fragment, params["stop_grace"])


def place(runner: Runner, params: Mapping[str, Any], dry: bool) -> dict[str, Any]:
    """Make it so; return the module's answer. ``params``: the options of walg_container; ``dry``: only say what would be done."""
    made = plan(runner, params)
    diff, changed = made.diff(), bool(made.differing())
    if not dry:
        for one in made.differing():
            one.apply()
    needed = not made.in_force
    if needed:
        allowed, recreate = params["restart"] == "allowed", params["recreate"]
        force = _force.Force(
            runner,
            made.placed,
            made.container,
            made.project,
            made.fragment,
            made.data_dir,
            made.stop_grace,
            dry and changed,
        )
        call = force.prepare(allowed)
        changed = changed or recreate
        if recreate and call and not dry:
            container = force.recreate(call)
            made = replace(made, container=container)
            needed = False
    answer = {**made.answer(), "needs_recreate": needed, "changed": changed, "diff": diff, "warnings": _warnings(made)}
    return {**answer, "_planned": _placed.render(made.placed)} if dry else answer


def _given(params: Mapping[str, Any]) -> Placed:
    """Return where the options say that the server is. Raises WalgError for what can't be meant."""
    _record.check_name(params["instance"])
    container, compose = params["container"] or "", params["compose"] or {}
    given = {key: str(compose.get(key) or "") for key in _KEYS}
    if container and any(given.values()):
        raise WalgError(
            "Both walg_container and walg_compose are given. Set only one of them: they say which container is meant."
        )
    if not container and not all(given.values()):
        lacking = " and ".join(key for key in _KEYS if not given[key])
        raise WalgError(
            f"walg_compose lacks {lacking}. Expected: walg_compose: {{project_dir: /srv/maps, service: db}}."
            if any(given.values())
            else "Neither walg_container nor walg_compose is given. Set one of them: they say which container is meant."
        )
    _fragment.refuse_odd(params["kit_dir"])
    for name in ("kit_dir", "config_dir", "program_dir"):
        _trust.refuse_loose(params[name], f"walg_{name}")
    kit = os.path.join(os.path.normpath(params["kit_dir"]), params["instance"], "kit")
    directory = os.path.normpath(given["project_dir"]) if given["project_dir"] else ""
    return _placed.Placed(
        params["instance"],
        _engine.program(params["engine"] or ""),
        container,
        directory,
        given["service"],
        kit,
        params["program_dir"],
    )


def _refuse_moved(runner: Runner, config_dir: str, placed: Placed, container: Container) -> None:
    """Raise WalgError if the instance has another kit, or another container has its kit: state and settings would stay behind there."""
    try:
        known = _placed.load(config_dir, placed.instance)
    except WalgError:  # of another version, or damaged: it is written again
        return
    if known is None:
        return
    before = os.path.dirname(os.path.dirname(known.kit))
    if known.kit != placed.kit:
        raise WalgError(
            f"The kit of the instance {placed.instance!r} is {known.kit}. Set walg_kit_dir: {before}, or "
            "remove the instance first (the playbook mapswipe.walg.remove).",
            found=known.kit,
        )
    try:
        other = known.find(runner) if known.where() != placed.where() else container
    except _engine.AbsentError:
        return
    if other.identifier != container.identifier and _container_check.has_kit(other, known.kit):
        raise WalgError(
            f"The instance {placed.instance!r} is that of {known.where()}, which has its kit. Set another walg_instance for the "
            f"container {container.name}, or remove that instance first (the playbook mapswipe.walg.remove).",
            found=other.name,
        )


def _fragment_text(container: Container, project: Project, placed: Placed, path: str, stop_grace: int) -> str:
    """Return the fragment. A user's own, longer time to stop is left to his file."""
    known = _files.read_text(path) if _container_check.has_kit(container, placed.kit) else None
    enough = container.stop_timeout is not None and container.stop_timeout >= stop_grace
    grace = 0 if enough and not _fragment.stops_slowly(known) else stop_grace
    old = container.labels.get("com.docker.compose.version", "").startswith(_V1)
    return _fragment.render(placed.service, placed.kit, grace, _fragment.version_of(project) if old else "")


def _warnings(made: Plan) -> list[str]:
    found, warnings = made.container, []
    seconds = 10 if found.stop_timeout is None else found.stop_timeout
    if made.in_force and seconds < min(made.stop_grace, _LEAST_GRACE):
        way = (
            f"Recreate it: {made.project.again(made.placed.service)}"
            if made.project
            else f"Recreate it with --stop-timeout {made.stop_grace}"
        )
        warnings.append(
            f"{found.engine_name} stop gives the server in the container {found.name} {seconds} s; then it is killed, often "
            f"before its last WAL is archived. {way}."
        )
    mount = found.mount_of(made.data_dir) if made.data_dir else None
    if mount is not None and mount.anonymous:
        way = (
            f"`docker compose down` leaves it behind: name it in your compose file, as an external volume at {mount.destination}"
            if made.project
            else "If the container is recreated by hand, it gets another, empty one unless you add "
            f"--volume {mount.name}:{mount.destination}"
        )
        warnings.append(
            f"The data directory of the container {found.name} is on a volume without a name, {mount.name}. {way}."
        )
    return warnings


def _diff(one: FilePlan) -> dict[str, str]:
    if one.content is None:
        return {"before_header": one.path, "after_header": one.path, "before": "", "after": "directory\n"}
    before = _files.read_text(one.path) or ""
    return {"before_header": one.path, "after_header": one.path, "before": before, "after": one.content}
