# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of Docker or Podman on this machine, by the engine's own program."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _trust

if TYPE_CHECKING:
    from .._host._process import Result, Runner

ENGINES = ("docker", "podman")
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
_TIMEOUT = 60.0
_PROJECT_DIR = "com.docker.compose.project.working_dir"
_SERVICE = "com.docker.compose.service"
_ONE_OFF = "com.docker.compose.oneoff"  # not set by podman-compose
_ANONYMOUS = re.compile("[0-9a-f]{64}")
#: Several identifiers may begin alike, but none was asked for.
_ABSENT = ("no such container", "multiple ids found", "more than one result")
_NAME = re.compile("[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_SHORTEST_ID = 12  # of an identifier that is shown


class AbsentError(WalgError):
    """The engine answers, and has no such container."""


@dataclass(frozen=True)
class Mount:
    """A directory of the machine in a container. ``kind``: bind, volume or tmpfs."""

    kind: str
    source: str
    destination: str
    writable: bool
    name: str = ""  # of a volume

    @property
    def anonymous(self) -> bool:
        """Whether it is a volume that nobody gave a name: a container that is recreated by hand gets another one."""
        return self.kind == "volume" and bool(_ANONYMOUS.fullmatch(self.name))

    def holds(self, path: str) -> bool:
        """Say whether a path in the container is in this mount."""
        return path == self.destination or path.startswith(f"{self.destination.rstrip('/')}/")


@dataclass(frozen=True)
class Container:
    """What the engine says of a container. Its environment is left out: it holds passwords."""

    engine: str
    identifier: str
    name: str
    image: str
    pid: int
    status: str  # created, running, paused, restarting, removing, exited or dead
    user: str
    command: tuple[str, ...]
    labels: Mapping[str, str]
    mounts: tuple[Mount, ...]
    restart: str
    read_only: bool
    stop_timeout: int | None  # seconds
    data_dir: str  # PGDATA of its environment
    path: str  # PATH of its environment
    proxies: Mapping[str, str]
    networks: tuple[str, ...]  # names, or one mode such as host
    extra_hosts: tuple[str, ...]
    dns: tuple[str, ...]
    shm_size: int  # bytes
    image_name: str = ""  # as it was asked for

    @property
    def engine_name(self) -> str:
        """docker or podman."""
        return os.path.basename(self.engine)

    @property
    def stopped(self) -> bool:
        """Whether nothing runs in it, and nothing is about to."""
        return self.status in ("created", "exited", "dead")

    @property
    def compose_service(self) -> str:
        """The service of Compose that it belongs to; "" for none."""
        return self.labels.get(_SERVICE, "")

    @property
    def project_dir(self) -> str:
        """The directory of its project of Compose; "" for none."""
        return self.labels.get(_PROJECT_DIR, "")

    def mount_of(self, path: str) -> Mount | None:
        """Return the innermost mount that a path in the container is in."""
        holding = [one for one in self.mounts if one.holds(path)]
        return max(holding, key=lambda one: len(one.destination), default=None)

    def refuse_not_running(self) -> None:
        """Raise WalgError unless its main process runs and stays."""
        if self.status == "running" and self.pid:
            return
        engine = self.engine_name
        ways = {
            "paused": f"Let it run again: {engine} unpause {self.name}.",
            "restarting": f"Its server ends again and again: see {engine} logs {self.name}, and stop it first ({engine} stop {self.name}) "
            "before a restore.",
        }
        start = "Start it" if self.compose_service else f"Start it: {engine} start {self.name}"
        raise WalgError(
            f"The container {self.name} is {self.status}. {ways.get(self.status, start + '.')}", found=self.status
        )


def program(wanted: str = "") -> str:
    """Return the path of the engine's program: the wanted one, or the first of docker and podman that is there. Raises WalgError."""
    for name in (wanted,) if wanted else ENGINES:
        path = shutil.which(name)
        if path:
            _trust.refuse_loose(os.path.realpath(path), f"The program {name}")
            return path
    raise WalgError(
        f"There is no {wanted or ' and no '.join(ENGINES)} on this machine, so no container can be looked at."
    )


def by_name(runner: Runner, engine: str, name: str) -> Container:
    """Return the container of that name or identifier. Raises WalgError if there is none."""
    if not _NAME.fullmatch(name):
        raise WalgError(
            f"{name!r} is no container's name: those have letters, digits, `_`, `.` and `-`, and begin with a letter or digit.",
            found=name,
        )
    answer = runner.run([engine, "container", "inspect", "--", name], timeout=_TIMEOUT)
    if answer.rc == 0:
        found = _parsed(engine, json.loads(answer.stdout)[0])
        # The engine takes the beginning of an identifier for a name, however short.
        if found.name == name or (len(name) >= _SHORTEST_ID and found.identifier.startswith(name)):
            return found
    elif not any(said in answer.last_line().lower() for said in _ABSENT):
        raise _no_answer(engine, answer)
    names = ", ".join(_names(runner, engine)) or "none"
    raise AbsentError(f"There is no container {name!r} on this machine; there are: {names}.", found=name)


def variables(runner: Runner, container: Container) -> dict[str, str]:
    """Return a container's environment. It holds passwords: for those who take known names out of it."""
    argv = [container.engine, "container", "inspect", "--format", "{{json .Config.Env}}", "--", container.identifier]
    answer = runner.run(argv, timeout=_TIMEOUT)
    listed = json.loads(answer.stdout or "null") if answer.rc == 0 else None
    return {name: value for name, _equals, value in (one.partition("=") for one in listed or ())}


def by_service(runner: Runner, engine: str, project_dir: str, service: str) -> Container:
    """Return the one container of a service of Compose. Raises WalgError for none, and for several."""
    of_service = _labelled(runner, engine, f"{_SERVICE}={service}")
    found = [one for one in of_service if _same(one.project_dir, project_dir)]
    if len(found) > 1:
        listed = ", ".join(f"{one.name} ({one.status})" for one in found)
        raise WalgError(
            f"The service {service!r} in {project_dir} has {len(found)} containers: {listed}. Only one can be meant: scale it to 1, "
            "remove what is left over, or name the container in walg_container.",
            found=[one.name for one in found],
        )
    if found:
        return found[0]
    elsewhere = [one.project_dir for one in of_service if not os.path.isdir(one.project_dir)]
    if elsewhere:
        raise WalgError(
            f"The service {service!r} of the Compose project in {project_dir} has no container. There is one that was made in "
            f"{elsewhere[0]}, which is gone: if that directory was renamed, recreate it from where it is now, with `docker compose "
            "--project-name` and the old project's name.",
            found=elsewhere,
        )
    services = [one for one in _labelled(runner, engine, _SERVICE) if _same(one.project_dir, project_dir)]
    names = ", ".join(sorted({one.compose_service for one in services})) or "none"
    raise AbsentError(
        f"The service {service!r} of the Compose project in {project_dir} has no container; services that have one there: {names}. "
        "Name one of those in walg_compose, or create it: docker compose up -d.",
        found=names,
    )


def _labelled(runner: Runner, engine: str, label: str) -> list[Container]:
    """Return the containers of Compose's services with a label. Those of `compose run` are left out."""
    listed = runner.run(
        [engine, "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}"], timeout=_TIMEOUT
    )
    if listed.rc != 0:
        raise _no_answer(engine, listed)
    identifiers = listed.stdout.split()
    if not identifiers:
        return []
    answer = runner.run([engine, "container", "inspect", "--", *identifiers], timeout=_TIMEOUT)
    # One that has gone meanwhile is no error, the others are told anyway.
    if not answer.stdout.lstrip().startswith("["):
        raise _no_answer(engine, answer)
    found = [_parsed(engine, one) for one in json.loads(answer.stdout)]
    return [one for one in found if one.labels.get(_ONE_OFF, "").lower() != "true"]


def _same(one: str, other: str) -> bool:
    """Say whether two paths are one directory: Compose's label has the one that somebody's shell was in."""
    return bool(one) and os.path.realpath(one) == os.path.realpath(other)


def _no_answer(engine: str, answer: Result) -> WalgError:
    name = os.path.basename(engine)
    said = answer.last_line() if answer.rc or not answer.stdout else "what is no JSON"
    why = f"{_TIMEOUT:.0f} s have passed" if answer.timed_out else said
    return WalgError(
        f"The engine does not answer ({name}: {why}). Start it (systemctl start {name}), or name the right one in walg_container_engine.",
        cmd=answer.argv,
        rc=answer.rc,
        stderr=answer.stderr,
    )


def _names(runner: Runner, engine: str) -> list[str]:
    return sorted(runner.run([engine, "ps", "--all", "--format", "{{.Names}}"], timeout=_TIMEOUT).stdout.split())


def _parsed(engine: str, told: Mapping[str, Any]) -> Container:
    state, config, host = told["State"], told["Config"], told["HostConfig"]
    return Container(
        engine=engine,
        identifier=told["Id"],
        name=told["Name"].lstrip("/"),
        image=told["Image"],
        pid=int(state.get("Pid") or 0),
        status=state["Status"],
        user=config.get("User") or "",
        command=(*_words(config.get("Entrypoint")), *_words(config.get("Cmd"))),
        labels=config.get("Labels") or {},
        mounts=_mounts(told.get("Mounts") or (), host.get("Tmpfs") or ()),
        restart=(host.get("RestartPolicy") or {}).get("Name") or "no",
        read_only=bool(host.get("ReadonlyRootfs")),
        stop_timeout=config.get("StopTimeout"),
        data_dir=_variable(config, "PGDATA"),
        path=_variable(config, "PATH"),
        proxies={name: value for name in PROXIES for value in [_variable(config, name)] if value},
        networks=_networks(host, told),
        extra_hosts=tuple(host.get("ExtraHosts") or ()),
        dns=tuple(host.get("Dns") or ()),
        shm_size=int(host.get("ShmSize") or 0),
        image_name=config.get("Image") or "",
    )


def _networks(host: Mapping[str, Any], told: Mapping[str, Any]) -> tuple[str, ...]:
    mode = str(host.get("NetworkMode") or "default")
    joined = tuple((told.get("NetworkSettings") or {}).get("Networks") or ())
    return (
        (mode,) if mode in ("host", "none") or mode.startswith(("container:", "slirp4netns")) or not joined else joined
    )


def _variable(config: Mapping[str, Any], name: str) -> str:
    """Return one variable of the container's environment; nothing else of it is looked at."""
    prefix = f"{name}="
    return next((one[len(prefix) :] for one in config.get("Env") or () if one.startswith(prefix)), "")


def _words(value: object) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    return [str(one) for one in value] if isinstance(value, list) else []


def _mounts(told: Sequence[Mapping[str, Any]], in_memory: Iterable[str]) -> tuple[Mount, ...]:
    """Return the mounts; Docker keeps those of --tmpfs apart."""
    found = [
        Mount(one["Type"], one.get("Source") or "", one["Destination"], bool(one.get("RW")), one.get("Name") or "")
        for one in told
    ]
    known = {one.destination for one in found}
    return (*found, *(Mount("tmpfs", "", path, writable=True) for path in in_memory if path not in known))
