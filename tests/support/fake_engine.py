# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine and Compose that start nothing: they answer in the form of Docker 20.10 or Podman 4.3, and of Compose 1.29 or 2.26.

What the real ones do is seen where the machine has them (tests/containers).
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _dotenv
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User

DATA = Path(__file__).resolve().parents[1] / "unit" / "data" / "containers"
DOCKER, PODMAN, OLD = "/usr/bin/docker", "/usr/bin/podman", "/usr/bin/docker-compose"
#: In the environments of all containers and in the answers of Compose; it may be in no answer of ours.
SECRET = "swordfish-1905"
_DENIED = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock\n"
UNSET_V1 = "WARNING: The {} variable is not set. Defaulting to a blank string.\n"
UNSET_V2 = (
    'time="2026-11-29T12:18:40Z" level=warning msg="The \\"{}\\" variable is not set. Defaulting to a blank string."\n'
)


def recorded(name: str) -> dict[str, Any]:
    """Return what an engine says of one container."""
    found: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())[0]
    found["State"]["Pid"] = os.getpid()
    return found


def bind(source: str, destination: str, *, writable: bool = True) -> dict[str, Any]:
    """Return a directory of the machine among an engine's mounts."""
    return {
        "Type": "bind",
        "Source": source,
        "Destination": destination,
        "Mode": "" if writable else "ro",
        "RW": writable,
        "Propagation": "rprivate",
    }


@dataclass
class Engine(Runner):
    """``containers``: as inspect shows them; ``services``: as Compose reads the project, without what only the fragment says."""

    containers: list[dict[str, Any]] = field(default_factory=list)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    volumes: dict[str, Any] = field(default_factory=lambda: {"data": {"name": "maps_data"}})
    compose: str = "2.26.1"  # "" for none
    plugin: bool = True  # of the engine's program, or a program of its own
    alive: bool = True
    images: dict[str, str] = field(default_factory=dict)
    profiles: tuple[str, ...] = ()
    said: str = ""  # on stderr by Compose
    closed_to: str = ""  # a user who may not use the engine
    refuses: str = ""  # what Compose fails with
    unready: int = 0  # how often the server in a new container does not answer yet
    on_up: Callable[[dict[str, Any]], None] | None = None
    calls: list[list[str]] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    environments: list[dict[str, str]] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        user: User | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        cwd: str = "/",
        stdin: str = "",
        bare: bool = False,
        descriptors: Sequence[int] = (),
        errors: str = "replace",
    ) -> Result:
        """Answer as the programs do."""
        words = list(argv)
        self.calls.append(words)
        self.users.append(user.name if user else "")
        self.environments.append(dict(env or {}))
        closed = self.closed_to and user is not None and user.name == self.closed_to and "config" not in words
        rc, out, err = (1, "", _DENIED) if closed and "version" not in words else self._answer(words, cwd)
        return Result(words, rc, out, err, 0.1)

    def ups(self) -> list[list[str]]:
        """Return the calls that made a container."""
        return [one for one in self.calls if "up" in one]

    def _answer(self, words: list[str], cwd: str) -> tuple[int, str, str]:
        if words[0] == OLD or words[1] == "compose":
            return self._compose(words, cwd)
        if not self.alive:
            return (
                1,
                "",
                "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n",
            )
        if words[1:3] == ["container", "inspect"]:
            return self._inspect(words[words.index("--") + 1 :])
        if words[1] == "ps":
            return self._ps(words)
        if words[1:3] == ["image", "inspect"]:
            identifier = self.images.get(words[-1], "")
            return (0, f"{identifier}\n", "") if identifier else (1, "", f"Error: No such image: {words[-1]}\n")
        if words[1] == "exec":
            self.unready -= 1
            return (2 if self.unready >= 0 else 0), "", ""
        raise AssertionError(f"unexpected call {words}")

    def _inspect(self, names: list[str]) -> tuple[int, str, str]:
        if len([one for one in self.containers if one["Id"].startswith(names[0])]) > 1:
            return 1, "[]\n", f"Error response from daemon: Multiple IDs found with provided prefix: {names[0]}\n"
        found = [self._named(name) for name in names]
        missing = [name for name, one in zip(names, found, strict=True) if one is None]
        text = json.dumps([one for one in found if one is not None])
        # Docker ends its list in spite of it; Podman calls it an error of its own.
        return (1, text, f"Error: No such container: {missing[0]}\n") if missing else (0, text, "")

    def _named(self, name: str) -> dict[str, Any] | None:
        exact = [one for one in self.containers if one["Name"].lstrip("/") == name]
        begun = [one for one in self.containers if one["Id"].startswith(name)]
        return next(iter([*exact, *begun]), None)

    def _ps(self, words: list[str]) -> tuple[int, str, str]:
        if "--last=1" in words:
            return 0, "", ""
        if "--format" in words:
            return 0, "".join(f"{one['Name'].lstrip('/')}\n" for one in self.containers), ""
        label, equals, value = words[words.index("--filter") + 1].removeprefix("label=").partition("=")
        found = [one for one in self.containers if label in (one["Config"]["Labels"] or {})]
        if equals:
            found = [one for one in found if one["Config"]["Labels"][label] == value]
        return 0, "".join(f"{one['Id']}\n" for one in found), ""

    def _compose(self, words: list[str], cwd: str) -> tuple[int, str, str]:
        if not self.compose or (words[0] != OLD) is not self.plugin:
            return 1, "", "docker: 'compose' is not a docker command.\nSee 'docker --help'\n"
        if "version" in words:
            return 0, f"{self.compose}\n", ""
        if self.refuses:
            return 1, "", self.refuses
        if "--profiles" in words:
            return 0, "".join(f"{one}\n" for one in self.profiles), ""
        old = self.compose.startswith("1.")
        if "config" in words:
            assert ("--format=json" in words) is not old
            services = self._merged(cwd)
            if not old and not any(one.startswith("--profile=") for one in words):
                services = {name: one for name, one in services.items() if not one.get("profiles")}
            told = {"services": services, "volumes": self.volumes, "x-secret": SECRET}
            return 0, (old_yaml(told) if old else json.dumps(told)), self.said
        if "up" in words:
            return self._up(words, cwd)
        raise AssertionError(f"unexpected call {words}")

    def _merged(self, cwd: str) -> dict[str, dict[str, Any]]:
        """Return the services with what the files that are JSON add, as .env names them."""
        services = copy.deepcopy(self.services)
        env = Path(cwd, ".env")
        text = env.read_text() if env.exists() else ""
        told = {one.name: one.value for one in _dotenv.entries(text, str(env), lambda _name: True)}
        for name in told.get("COMPOSE_FILE", "").split(told.get("COMPOSE_PATH_SEPARATOR", ":")):
            text = Path(cwd, name).read_text() if name else ""
            if text.startswith("{"):
                for service, entry in json.loads(text)["services"].items():
                    services[service]["volumes"] = [
                        *services[service].get("volumes", []),
                        *map(self._long, entry["volumes"]),
                    ]
        return services

    def _long(self, volume: str) -> Any:
        source, target = volume.split(":")[:2]
        return volume if self.compose.startswith("1.") else {"type": "bind", "source": source, "target": target}

    def _up(self, words: list[str], cwd: str) -> tuple[int, str, str]:
        service = words[-1]
        old = next(
            one
            for one in self.containers
            if (one["Config"]["Labels"] or {}).get("com.docker.compose.service") == service
        )
        made = copy.deepcopy(old)
        made["Id"] = "9" + old["Id"][1:]
        for one in self._merged(cwd)[service]["volumes"]:
            source, target = one.split(":")[:2] if isinstance(one, str) else (one["source"], one["target"])
            if source.startswith("/"):
                made["Mounts"].append(bind(source, target))
        made["Config"]["StopTimeout"] = 120
        if self.on_up:
            self.on_up(made)
        self.containers[self.containers.index(old)] = made
        return 0, "", " Container maps-db-1  Recreated\n"


def old_yaml(value: Any) -> str:
    """Return what docker-compose 1.29 writes, which is PyYAML's block style."""
    text: str = yaml.safe_dump(value, default_flow_style=False, indent=2, width=80, allow_unicode=True)
    return text
