# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine that makes, starts, stops and removes containers in memory, and a module that a server in one of them is meant by."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from ansible_collections.mapswipe.walg.plugins.module_utils._container import _engine, _placed, _session
from ansible_collections.mapswipe.walg.plugins.module_utils._container._placed import Placed
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result
from support.fake_engine import DOCKER, Engine, recorded

SERVER = "maps-db-1"
HELPER = f"{SERVER}-walg"


def running(**state: Any) -> dict[str, Any]:
    """Return the server's container, as inspect shows it."""
    told = recorded("docker-20.10")
    told["Name"] = f"/{SERVER}"
    told["State"].update({"Status": "running", **state})
    return told


@dataclass
class Helpers(Engine):
    """``born``: the status of a container that is made; ``refusing``: the verb that fails; ``late``: that does not end in time."""

    containers: list[dict[str, Any]] = field(default_factory=lambda: [running()])
    born: str = "running"
    refusing: str = ""
    late: bool = False

    def of(self, name: str = SERVER) -> _engine.Container:
        """Return a container as the library sees it."""
        return _engine.by_name(self, DOCKER, name)

    def done(self) -> list[list[str]]:
        """Return the calls that change something, without the engine's path."""
        asks = (["container", "inspect"], ["ps", "--all"])
        return [one[1:] for one in self.calls if one[1:3] not in asks]

    def verbs(self) -> list[str]:
        """Return what was done, in words."""
        return [one[0] for one in self.done()]

    def run(self, argv: Sequence[str], **options: Any) -> Result:
        """Answer as the engine does, or not in time."""
        answer = super().run(argv, **options)
        return replace(answer, timed_out=self.late and argv[1] == self.refusing)

    def _answer(self, words: list[str], cwd: str) -> tuple[int, str, str]:
        verb = words[1]
        if verb == self.refusing:
            return 125, "", "Error response from daemon: out of order\n"
        if verb == "run":
            return self._made(words)
        if verb in ("rm", "stop", "start", "restart", "update"):
            return self._changed(verb, words)
        return (0, "", "") if verb == "network" else super()._answer(words, cwd)

    def _ps(self, words: list[str]) -> tuple[int, str, str]:
        shown = words[words.index("--filter") + 1] if "--filter" in words else ""
        if not shown.startswith("name=^/?"):
            return super()._ps(words)
        wanted = shown[len("name=^/?") : -1].replace("\\", "")
        return 0, "".join(f"{one['Id']}\n" for one in self.containers if one["Name"] == f"/{wanted}"), ""

    def _made(self, words: list[str]) -> tuple[int, str, str]:
        given = [one.removeprefix("--label=") for one in words if one.startswith("--label=")]
        name = next(one.removeprefix("--name=") for one in words if one.startswith("--name="))
        made = copy.deepcopy(self._named(words[words.index("--volumes-from") + 1]))
        assert made
        made["Id"], made["Name"] = f"{len(self.calls):064x}", f"/{name}"
        made["Config"]["Labels"] = dict(one.split("=", 1) for one in given)
        made["State"].update(Status=self.born, Pid=4711 if self.born == "running" else 0)
        self.containers.append(made)
        return 0, f"{made['Id']}\n", ""

    def _changed(self, verb: str, words: list[str]) -> tuple[int, str, str]:
        told = self._named(words[-1])
        assert told
        if verb == "rm":
            self.containers.remove(told)
        elif verb == "update":
            told["HostConfig"]["RestartPolicy"]["Name"] = words[2].removeprefix("--restart=")
        elif verb == "stop":
            told["State"].update(Status="exited", Pid=0)
        else:
            told["State"].update(Status="running", Pid=4712)
        return 0, "", ""


class EndedError(Exception):
    """A module has answered."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(str(answer))
        self.answer = answer


@dataclass
class Module:
    """What the library uses of a module."""

    params: dict[str, Any]
    check_mode: bool = False
    argument_spec: dict[str, Any] = field(default_factory=dict)
    no_log_values: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    _tmpdir: str | None = None

    def exit_json(self, **answer: Any) -> NoReturn:
        """End well."""
        raise EndedError(answer)

    def fail_json(self, msg: str, **answer: Any) -> NoReturn:
        """End with an error."""
        raise EndedError({"failed": True, "msg": msg, **answer})

    def warn(self, warning: str) -> None:
        """Note a warning."""
        self.warnings.append(warning)


def placed(root: Path, **changes: Any) -> Placed:
    """Return a record's content, for directories below ``root``."""
    known = {"instance": "main", "engine": DOCKER, "container": SERVER, "project_dir": "", "service": ""}
    kit, program_dir = str(root / "base" / "kit"), str(root / "program")
    return Placed(**{**known, "kit": kit, "program_dir": program_dir, **changes})


def write(where: Placed, config_dir: Path) -> None:
    """Write the machine's record."""
    config_dir.mkdir(parents=True, exist_ok=True)
    Path(_placed.record_path(str(config_dir), where.instance)).write_text(_placed.render(where))


def end(code: int = 0, **answer: Any) -> _session.End:
    """Return a good answer of the inside."""
    return _session.End({"end": answer}, code)


@dataclass
class Work:
    """In the place of _session.work: it gives the ends that were written down, in turn; what is callable is called for one.

    A callable is given the offers; None for an end: this is the inside.
    """

    ends: list[_session.End | Callable[[Any], _session.End | None] | None]
    where: list[tuple[str, bool, str]] = field(default_factory=list)

    def __call__(
        self,
        _runner: Any,
        _placed: Placed,
        target: _engine.Container,
        offers: Any,
        served: bool,
        user: str = "",
    ) -> _session.End | None:
        """Take the next end."""
        self.where.append((target.name, served, user))
        told = self.ends.pop(0)
        return told(offers) if callable(told) else told
