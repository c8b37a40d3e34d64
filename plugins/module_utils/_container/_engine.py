# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of Docker or Podman on this machine, by the engine's own program."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _trust

if TYPE_CHECKING:
    from .._host._process import Runner

ENGINES = ("docker", "podman")
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
_TIMEOUT = 60.0
_PROJECT_DIR = "com.docker.compose.project.working_dir"
_SERVICE = "com.docker.compose.service"


@dataclass(frozen=True)
class Mount:
    """A directory of the machine in a container. ``kind``: bind, volume or tmpfs."""

    kind: str
    source: str
    destination: str
    writable: bool

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
    started: str
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

    @property
    def compose_service(self) -> str:
        """The service of Compose that it belongs to; "" for none."""
        return self.labels.get(_SERVICE, "")

    def mount_of(self, path: str) -> Mount | None:
        """Return the innermost mount that a path in the container is in."""
        holding = [one for one in self.mounts if one.holds(path)]
        return max(holding, key=lambda one: len(one.destination), default=None)

    def refuse_not_running(self) -> None:
        """Raise WalgError unless its main process runs and stays."""
        if self.status == "running" and self.pid:
            return
        ways = {
            "paused": f"Let it go on: {self.engine} unpause {self.name}.",
            "restarting": f"Its server ends again and again: see {self.engine} logs {self.name}, and stop it first "
            f"({self.engine} stop {self.name}) before a restore.",
        }
        start = "Start it" if self.compose_service else f"Start it: {self.engine} start {self.name}"
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
    answer = runner.run([engine, "container", "inspect", "--", name], timeout=_TIMEOUT)
    if answer.rc != 0:
        said = answer.last_line()
        if "no such container" in said.lower():
            names = ", ".join(_names(runner, engine)) or "none"
            raise WalgError(f"There is no container {name!r} on this machine; there are: {names}.", found=name)
        raise WalgError(f"The engine does not answer: {said}", **answer.fields())
    return _parsed(engine, json.loads(answer.stdout)[0])


def variables(runner: Runner, container: Container) -> dict[str, str]:
    """Return a container's environment. It holds passwords: for those who take known names out of it."""
    argv = [container.engine, "container", "inspect", "--format", "{{json .Config.Env}}", "--", container.identifier]
    answer = runner.run(argv, timeout=_TIMEOUT)
    listed = json.loads(answer.stdout or "null") if answer.rc == 0 else None
    return {name: value for name, _equals, value in (one.partition("=") for one in listed or ())}


def by_service(runner: Runner, engine: str, project_dir: str, service: str) -> Container:
    """Return the one container of a service of Compose. Raises WalgError for none, and for several."""
    filters = [
        f"label={_PROJECT_DIR}={project_dir}",
        f"label={_SERVICE}={service}",
        "label=com.docker.compose.oneoff=False",
    ]
    argv = [engine, "ps", "--all", "--quiet", "--no-trunc"]
    for one in filters:
        argv += ["--filter", one]
    answer = runner.run(argv, timeout=_TIMEOUT)
    if answer.rc != 0:
        raise WalgError(f"The engine does not answer: {answer.last_line()}", **answer.fields())
    found = answer.stdout.split()
    if len(found) > 1:
        raise WalgError(
            f"The service {service!r} in {project_dir} has {len(found)} containers. Only one can be meant: scale it to 1, or name the "
            "container in walg_container.",
            found=found,
        )
    if not found:
        raise WalgError(
            f"The service {service!r} of the Compose project in {project_dir} has no container. Create it: docker compose up -d."
        )
    return by_name(runner, engine, found[0])


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
        started=str(state.get("StartedAt")),
        status=state["Status"],
        user=config.get("User") or "",
        command=(*_words(config.get("Entrypoint")), *_words(config.get("Cmd"))),
        labels=config.get("Labels") or {},
        mounts=tuple(_mount(one) for one in told.get("Mounts") or ()),
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


def _mount(told: Mapping[str, Any]) -> Mount:
    return Mount(told["Type"], told.get("Source") or "", told["Destination"], bool(told.get("RW")))
