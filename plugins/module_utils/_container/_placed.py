# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine's record of an instance whose server runs in a container: which container, and where its kit lies."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _trust
from .._host._files import read_text
from .._instance import _record
from . import _engine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._host._process import Runner

SUFFIX = ".container.json"  # of records
#: In check mode a role hands on the record that it would have written by then.
PLANNED = "MAPSWIPE_WALG_CONTAINER"
_FORMAT = 1


@dataclass(frozen=True)
class Placed:
    """Where an instance's server is. ``container``: a name; or a service of Compose."""

    instance: str
    engine: str  # path of the engine's program
    container: str
    project_dir: str
    service: str
    kit: str
    program_dir: str  # of the job, on the machine

    @property
    def base(self) -> str:
        """The directory around the kit, closed to all but root: what the container's root makes in the kit, setuid too, is out of reach."""
        return os.path.dirname(self.kit)

    @property
    def fragment(self) -> str:
        """The compose file that mounts the kit; the project's owner reads it."""
        return f"{self.base}.compose.yml"

    def find(self, runner: Runner) -> _engine.Container:
        """Return the container as it is now. Raises WalgError if it is not there."""
        if self.container:
            return _engine.by_name(runner, self.engine, self.container)
        return _engine.by_service(runner, self.engine, self.project_dir, self.service)

    def directories(self) -> dict[str, str]:
        """Return where the instance's files are in the container: what it has on a host of its own, below the kit."""
        folders = {"bin_dir": "bin", "config_dir": "etc", "program_dir": "lib", "state_dir": "state", "log_dir": "log"}
        return {name: os.path.join(self.kit, folder) for name, folder in folders.items()}

    def where(self) -> str:
        """Name it, for messages."""
        return (
            f"the container {self.container}" if self.container else f"the service {self.service} in {self.project_dir}"
        )


def record_path(config_dir: str, name: str) -> str:
    """Return the path of the machine's record."""
    return os.path.join(config_dir, f"{name}{SUFFIX}")


def render(placed: Placed) -> str:
    """Return the record's text."""
    return json.dumps({"format": _FORMAT, **asdict(placed)}, indent=2, sort_keys=True) + "\n"


def parse(text: str, path: str) -> Placed:
    """Read a record. Raises WalgError for what is none."""
    try:
        values: Mapping[str, Any] = json.loads(text)
        if values["format"] == _FORMAT:
            return Placed(**{name: str(values[name]) for name in Placed.__dataclass_fields__})
    except (ValueError, KeyError, TypeError):
        pass
    raise WalgError(f"{path} is not a record of this version: run the role mapswipe.walg.walg.")


def load(config_dir: str, name: str, check_mode: bool = False) -> Placed | None:
    """Return where an instance's server is, or None if that is this machine itself. Raises WalgError for what can't be believed."""
    _record.check_name(name)
    text = os.environ.get(PLANNED, "") if check_mode else ""
    planned = parse(text, "The record that is planned") if text else None
    if planned and planned.instance == name:
        return planned
    path = record_path(config_dir, name)
    text = read_text(path) or ""
    if not text:
        return None
    _trust.refuse_loose(path, "The container's record")
    return parse(text, path)
