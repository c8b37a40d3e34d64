# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project of Compose on this machine: its directory and owner, the files that a plain call uses, those that a container was made from."""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _dotenv, _trust
from .._host._files import read_text
from .._host._users import User, call_as

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._engine import Container

#: What a plain call takes, the first that is there of each.
_PLAIN = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
_FILES, _SEPARATOR, _NAME = "COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR", "COMPOSE_PROJECT_NAME"
_COMPOSE = "com.docker.compose"
_PROJECT = f"{_COMPOSE}.project"


@dataclass(frozen=True)
class Project:
    """One project. ``files``: those of a plain call, as they are written; ``env_file``: where COMPOSE_FILE stands, or should."""

    directory: str
    owner: User
    env_file: str
    files: tuple[str, ...]
    separator: str
    named: bool  # COMPOSE_FILE is in the file already
    env_files: tuple[str, ...] = ()  # others than .env, which the container was made with
    name: str = ""  # of the project, as its container says; "" before it is known
    made_from: tuple[str, ...] = ()  # the files that the container was made from
    made_by: str = ""  # podman-compose, or ""
    usual_name: bool = True  # a plain call would find that name, too
    words: tuple[str, ...] = ("docker", "compose")  # how a person calls Compose

    def path(self, file: str) -> str:
        """Return the whole path of one of its files."""
        return os.path.normpath(os.path.join(self.directory, file))

    def uses(self, file: str) -> bool:
        """Say whether a plain call takes this file."""
        return _real(file) in {_real(self.path(one)) for one in self.files}

    def line_with(self, file: str) -> str:
        """Return the line that makes a plain call take one file more, as the last one."""
        return f"{_FILES}={self.separator.join([*self._without(self.files, file), file])}"

    def line_without(self, file: str) -> str:
        """Return the line that leaves one file out; "" if none is needed, since what is left is what a plain call takes anyway."""
        known = self._without(self.files, file)
        if not known or known == list(_plain_files(self.directory)):
            return ""
        return f"{_FILES}={self.separator.join(known)}"

    def made_otherwise(self, fragment: str) -> tuple[str, ...]:
        """Return the files that the container was made from, if a plain call would take others. The fragment is left out of account."""
        made, plain = self._without(self.made_from, fragment), self._without(self.files, fragment)
        same = [_real(self.path(one)) for one in made] == [_real(self.path(one)) for one in plain]
        return () if same else tuple(made)

    def _without(self, files: Sequence[str], file: str) -> list[str]:
        return [one for one in files if _real(self.path(one)) != _real(file)]

    def command(self, words: Sequence[str]) -> str:
        """Return a command as a person types it."""
        return f"cd {shlex.quote(self.directory)} && {' '.join(map(shlex.quote, words))}"

    def again(self, service: str, files: Sequence[str] = ()) -> str:
        """Return the command that recreates a service's container. ``files``: all of them, where a plain call takes others."""
        named = [] if self.usual_name else ["--project-name", self.name]
        named += [word for path in self.env_files for word in ("--env-file", path)]
        named += [word for path in files for word in ("-f", path)]
        return self.command([*self.words, *named, "up", "-d", "--no-deps", service])

    def of(self, container: Container) -> Project:
        """Return the project with what a container of it says. Raises WalgError if its files are not where it says."""
        labels = container.labels
        listed = labels.get(f"{_PROJECT}.config_files", "")
        base = container.project_dir or self.directory
        made = tuple(_from_label(base, one) for one in listed.split(",") if one)
        environment = labels.get(f"{_PROJECT}.environment_file", "")
        others = tuple(os.path.join(base, one) for one in environment.split(",") if one)
        usual = {_real(self.path(".env"))}
        name = labels.get(_PROJECT, "")
        by = "podman-compose" if any(one.startswith("io.podman.compose.") for one in labels) else ""
        old = labels.get(f"{_COMPOSE}.version", "").startswith("1.") or container.engine_name == "podman"
        return replace(
            self,
            name=name,
            made_from=made,
            made_by=by,
            env_files=others if {_real(one) for one in others} - usual else (),
            usual_name=name in ("", self.name, _normal(os.path.basename(os.path.realpath(self.directory)))),
            words=(by,) if by else ("docker-compose",) if old else self.words,
        )


def look(directory: str) -> Project:
    """Look at a project's directory. Raises WalgError if it is none."""
    _trust.refuse_unplain(directory, "project_dir in walg_compose")
    try:
        found = os.stat(directory)
    except OSError as exc:
        raise WalgError(
            f"project_dir in walg_compose is {directory}: {exc.strerror}. Name the directory on this machine that has the compose file.",
            found=directory,
        ) from exc
    if not stat.S_ISDIR(found.st_mode):
        raise WalgError(
            f"project_dir in walg_compose is {directory}, which is no directory. Name the one that has the compose file.",
            found=directory,
        )
    owner = User.by_uid(found.st_uid)
    env_file = os.path.join(directory, ".env")
    told: dict[str, str] = call_as(owner, _settings_in, env_file)
    named = bool(told.get(_FILES))
    separator = told.get(_SEPARATOR) or ":"
    files = tuple(one for one in told[_FILES].split(separator) if one) if named else _plain_files(directory)
    if not files:
        raise WalgError(
            f"There is no compose file in {directory} (project_dir in walg_compose). Expected: {', '.join(_PLAIN)}, or COMPOSE_FILE in its "
            ".env.",
            found=directory,
        )
    return Project(directory, owner, env_file, files, separator, named, name=told.get(_NAME, ""))


def _settings_in(path: str) -> dict[str, str]:
    """Return what of an env file is Compose's own; nothing else of it is looked at: there are passwords in it."""
    wanted = (_FILES, _SEPARATOR, _NAME)
    text = read_text(path, "replace") or ""
    found = [one for one in _dotenv.entries(text, path, wanted.__contains__) if one.name in wanted]
    for one in found:
        if one.expands:
            raise WalgError(
                f"{one.name} in {path}, line {one.line}, holds a $, in whose place Compose puts another variable's value. Write the "
                "value out.",
                found=one.name,
            )
    return {one.name: one.value for one in found}


def _plain_files(directory: str) -> tuple[str, ...]:
    there = [
        next((name for name in names if os.path.exists(os.path.join(directory, name))), "")
        for names in (_PLAIN, _OVERRIDES)
    ]
    return tuple(one for one in there if one) if there[0] else ()


def _from_label(directory: str, name: str) -> str:
    """Return the path of a file in Compose's label. Compose 1.x writes it as it was given, in whatever directory that was."""
    above = directory
    while not os.path.exists(os.path.join(above, name)):
        if os.path.dirname(above) == above:
            return os.path.normpath(os.path.join(directory, name))
        above = os.path.dirname(above)
    return os.path.normpath(os.path.join(above, name))


def _normal(name: str) -> str:
    """Return the name that Compose gives a project by its directory."""
    return "".join(char for char in name.lower() if char.isascii() and (char.isalnum() or char in "-_")).lstrip("-_")


def _real(path: str) -> str:
    return os.path.realpath(path)
