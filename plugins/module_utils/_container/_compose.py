# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compose: its program, what it would make of a project's files, and recreating one service's container.

What it writes may hold passwords, so nothing of it is kept or shown but what is picked here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _trust
from . import _outline

if TYPE_CHECKING:
    from .._host._process import Result, Runner
    from ._project import Project

_TIMEOUT = 60.0
_UP_TIMEOUT = 600.0
#: Where Podman listens in the place of Docker.
_PODMAN = {"DOCKER_HOST": "unix:///run/podman/podman.sock"}
_UNSET = re.compile(r'The \\?"?([A-Za-z_][A-Za-z0-9_]*)\\?"? variable is not set')
#: What of an error may be shown: none of these hold a value of the compose file or of .env.
_SHOWN = (
    re.compile(r"permission denied while trying to connect to the [^:$]{0,80}"),
    re.compile(r"Cannot connect to the Docker daemon[^?$]{0,120}"),
    re.compile(r"Couldn't connect to Docker daemon"),
    re.compile(r"(?:open|stat) /[\w./+@=-]{1,200}: no such file or directory"),
    re.compile(r"no such service: [\w.-]+"),
    re.compile(r"yaml: line \d+"),
    re.compile(r"unknown flag: --[\w-]+"),
    re.compile(r"refers? to undefined (?:volume|network|secret|config|service) [\w.-]+"),
    re.compile(r"services\.[\w.-]+ (?:must be|Additional property) [\w -]{0,80}"),
    re.compile(r"No such image: [\w./:@-]+"),
    re.compile(r"pull access denied for [\w./:@-]+"),
    re.compile(r"port is already allocated"),
)


@dataclass(frozen=True)
class Program:
    """Compose's program. ``old``: 1.x, which writes YAML only."""

    words: tuple[str, ...]
    old: bool
    env: Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """What is mounted somewhere. ``kind``: bind, volume or tmpfs; ``place``: a path, or a volume's name."""

    kind: str
    place: str
    writable: bool


@dataclass(frozen=True)
class Wanted:
    """What Compose would make a service's container of."""

    image: str  # "" for one that it builds
    mounts: Mapping[str, Source]  # by destination
    pull_policy: str
    profiles: tuple[str, ...]
    unset: tuple[str, ...]  # variables that Compose does not find


def program(runner: Runner, engine: str, project: Project) -> Program:
    """Return Compose's program as the project's owner finds it. Raises WalgError if there is none."""
    plugin = runner.run([engine, "compose", "version", "--short"], user=project.owner, timeout=_TIMEOUT)
    if plugin.rc == 0 and _major(plugin.stdout) >= 2:
        return Program((engine, "compose"), old=False, env={})
    path = shutil.which("docker-compose")
    if path:
        if project.owner.uid == 0:
            _trust.refuse_loose(os.path.realpath(path), "The program docker-compose")
        answer = runner.run([path, "version", "--short"], user=project.owner, timeout=_TIMEOUT)
        major = _major(answer.stdout) if answer.rc == 0 else 0
        if major:
            return Program((path,), old=major < 2, env=_PODMAN if os.path.basename(engine) == "podman" else {})
    raise WalgError(
        f"There is no Compose on this machine: neither `{os.path.basename(engine)} compose` nor `docker-compose` answers. Install the "
        "package docker-compose-plugin or docker-compose, or name the container in walg_container."
    )


def refuse_owner(runner: Runner, engine: str, project: Project) -> None:
    """Raise WalgError unless the project's owner may use the engine, as whom Compose is run."""
    if project.owner.uid == 0:
        return
    answer = runner.run([engine, "ps", "--quiet", "--last=1"], user=project.owner, timeout=_TIMEOUT)
    if answer.rc != 0:
        raise WalgError(
            f"Compose is run as the owner of {project.directory}, and {project.owner.name} may not use the engine: add that user to the "
            "group docker, or give the directory to root.",
            found=project.owner.name,
            stderr=answer.stderr,
        )


def _major(text: str) -> int:
    found = re.search(r"(?m)^v?(\d+)\.\d+", text.strip())
    return int(found.group(1)) if found else 0


def wanted(runner: Runner, compose: Program, project: Project, service: str) -> Wanted:
    """Return what Compose would make of a service. Raises WalgError, which never shows a value of the files."""
    told, unset = _config(runner, compose, project, ())
    profiles: tuple[str, ...] = ()
    if service not in _services(told):
        listed = _call(runner, compose, [*_words(compose, project), "config", "--profiles"], project, _TIMEOUT)
        profiles = tuple(listed.stdout.split()) if listed.rc == 0 else ()
        if profiles:
            told, unset = _config(runner, compose, project, profiles)
    services = _services(told)
    if service not in services:
        names = ", ".join(sorted(services)) or "none"
        raise WalgError(
            f"The Compose project in {project.directory} has no service {service!r}; there are: {names}. Name one of those "
            "in walg_compose.",
            found=sorted(services),
        )
    entry = services[service] if isinstance(services[service], dict) else {}
    return Wanted(
        image=str(entry.get("image") or ""),
        mounts=_mounts(entry, _volume_names(told, project.name)),
        pull_policy=str(entry.get("pull_policy") or ""),
        profiles=profiles,
        unset=unset,
    )


def up_words(compose: Program, project: Project, service: str, profiles: Sequence[str], grace: int) -> list[str]:
    """Return the call that recreates one service's container and nothing else. ``grace``: for the server to stop; 0 if it is stopped."""
    flags = [f"--profile={one}" for one in profiles]
    detached = ["--detach", f"--timeout={grace}"] if grace else ["--no-start"]
    return [*_words(compose, project), *flags, "up", *detached, "--no-deps", "--no-build", service]


def up(runner: Runner, compose: Program, words: Sequence[str], project: Project) -> None:
    """Recreate a container. Raises WalgError."""
    answer = _call(runner, compose, words, project, _UP_TIMEOUT)
    if answer.rc != 0 or answer.timed_out:
        raise _failed(answer, project, words, "Compose could not recreate the container")


def _words(compose: Program, project: Project) -> list[str]:
    """Return the beginning of every call. It is made in the project's directory: Compose 1.x looks for COMPOSE_FILE's files there alone."""
    named = [f"--project-name={project.name}"] if project.name else []
    return [*compose.words, *named, *(f"--env-file={one}" for one in project.env_files)]


def _call(runner: Runner, compose: Program, words: Sequence[str], project: Project, timeout: float) -> Result:
    # Compose's label for the directory is what a shell there says.
    env = {"PWD": project.directory, **compose.env}
    return runner.run(words, user=project.owner, env=env, cwd=project.directory, timeout=timeout)


def _config(
    runner: Runner, compose: Program, project: Project, profiles: Sequence[str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    words = [*_words(compose, project), *(f"--profile={one}" for one in profiles), "config"]
    words += [] if compose.old else ["--format=json"]
    answer = _call(runner, compose, words, project, _TIMEOUT)
    if answer.rc != 0 or answer.timed_out:
        raise _failed(answer, project, words, "Compose can't read the project")
    try:
        told = _outline.read(answer.stdout) if compose.old else json.loads(answer.stdout)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise WalgError(f"Compose's answer for the project in {project.directory} is not what it should be.")
    return told, tuple(sorted(set(_UNSET.findall(answer.stderr))))


def _failed(answer: Result, project: Project, words: Sequence[str], what: str) -> WalgError:
    """Return an error without what Compose wrote: a value may be in it."""
    found = (pattern.search(answer.stderr) for pattern in _SHOWN)
    said = [one.group(0).strip() for one in found if one]
    why = f"no answer after {answer.seconds:.0f} s" if answer.timed_out else "; ".join(said) or f"exit code {answer.rc}"
    return WalgError(
        f"{what} in {project.directory}: {why}. See what it says, as the user {project.owner.name}: {project.command(words)}",
        cmd=list(words),
        rc=answer.rc,
    )


def _services(told: Mapping[str, Any]) -> dict[str, Any]:
    found = told.get("services")
    return found if isinstance(found, dict) else {}


def _volume_names(told: Mapping[str, Any], project: str) -> dict[str, str]:
    """Return the engine's names of the project's volumes."""
    names = {}
    volumes = told.get("volumes")
    for key, entry in (volumes if isinstance(volumes, dict) else {}).items():
        given = entry if isinstance(entry, dict) else {}
        external = given.get("external")
        outside = external.get("name") if isinstance(external, dict) else key if external in (True, "true") else ""
        names[key] = str(given.get("name") or outside or f"{project}_{key}")
    return names


def _mounts(entry: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for one in entry.get("volumes") or ():
        if isinstance(one, dict):
            source = str(one.get("source") or "")
            writable = one.get("read_only") not in (True, "true")
            found[str(one.get("target"))] = Source(str(one.get("type")), names.get(source, source), writable)
            continue
        source, _colon, rest = str(one).partition(":")
        target, _colon, mode = rest.partition(":")
        kind = "bind" if source.startswith("/") else "volume"
        if target:
            found[target] = Source(kind, names.get(source, source), "ro" not in mode.split(","))
    tmpfs = entry.get("tmpfs") or ()
    for one in [tmpfs] if isinstance(tmpfs, str) else tmpfs:
        found[str(one).partition(":")[0]] = Source("tmpfs", "", writable=True)
    return found
