# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's configuration files, read as its server reads them: includes followed, the last line of a name counts.

Follows PostgreSQL's guc-file.l and conffiles.c. Bytes that are no UTF-8 come back as surrogates; nothing is rejected here: what
the server would refuse is told as a problem.
"""

from __future__ import annotations

import os
import stat
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .._host._files import MOST_TEXT
from .._host._users import call_as
from . import _conf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._host._users import User

MAIN, AUTO = "postgresql.conf", "postgresql.auto.conf"
_DEPTH = 10  # CONF_FILE_MAX_DEPTH
_INCLUDES = ("include", "include_if_exists", "include_dir")


@dataclass(frozen=True)
class Setting:
    """One line of a configuration file; the name is in small letters."""

    name: str
    value: str
    file: str
    line: int


@dataclass(frozen=True)
class Problem:
    """Why the server would not read these files. ``path``: what it could not read; ``file`` and ``line``: who asked for it."""

    path: str
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        place = f" ({self.file}, line {self.line})" if self.file else ""
        return f"{self.path}: {self.text}{place}"


@dataclass(frozen=True)
class ConfigFiles:
    """What was read. ``lines`` in the server's order, repeated names too; ``files``: every file that was read, in order."""

    lines: Sequence[Setting] = ()
    files: Sequence[str] = ()
    problems: Sequence[Problem] = ()

    @property
    def settings(self) -> dict[str, Setting]:
        """Return the line that counts, by name."""
        return {one.name: one for one in self.lines}


def read(user: User | None, main_file: str, data_dir: str = "") -> ConfigFiles:
    """Read a main configuration file and its includes with the user's rights, then ALTER SYSTEM's of ``data_dir`` if that is given."""
    found = call_as(user, _read, main_file, data_dir)
    return ConfigFiles(
        tuple(Setting(**one) for one in found["lines"]),
        tuple(found["files"]),
        tuple(Problem(**one) for one in found["problems"]),
    )


def _read(main_file: str, data_dir: str) -> dict[str, Any]:
    reader = _Reader()
    reader.file(main_file, "", 0, 0)
    auto = os.path.join(data_dir, AUTO) if data_dir else ""
    if auto and os.path.lexists(auto):
        reader.file(auto, "", 0, 0)
    return {
        "lines": [asdict(one) for one in reader.lines],
        "files": reader.files,
        "problems": [asdict(one) for one in reader.problems],
    }


@dataclass
class _Reader:
    lines: list[Setting] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def file(self, path: str, asker: str, asked_at: int, depth: int, *, needed: bool = True) -> None:
        if depth > _DEPTH:
            self.problems.append(Problem(path, asker, asked_at, f"included more than {_DEPTH} levels deep"))
            return
        try:
            text = _text(path)
        except FileNotFoundError:
            if needed:
                self.problems.append(Problem(path, asker, asked_at, "does not exist"))
            return
        except OSError as exc:
            self.problems.append(Problem(path, asker, asked_at, f"can't be read ({exc.strerror})"))
            return
        self.files.append(path)
        for line in _conf.parse(text):
            if not line.name:
                self.problems.append(Problem(path, path, line.number, "is not a setting in PostgreSQL's syntax"))
            elif line.name in _INCLUDES:
                self._include(line, path, depth)
            else:
                self.lines.append(Setting(line.name, line.value, path, line.number))

    def _include(self, line: _conf.Line, asker: str, depth: int) -> None:
        if not line.value.strip() or "\0" in line.value:
            self.problems.append(Problem(line.name, asker, line.number, "names nothing"))
            return
        path = os.path.join(os.path.dirname(asker), line.value)
        if line.name != "include_dir":
            self.file(path, asker, line.number, depth + 1, needed=line.name == "include")
            return
        try:
            names = sorted(os.listdir(path), key=os.fsencode)
        except OSError as exc:
            self.problems.append(Problem(path, asker, line.number, f"can't be read ({exc.strerror})"))
            return
        for name in names:
            part = os.path.join(path, name)
            if name.endswith(".conf") and not name.startswith(".") and not os.path.isdir(part):
                self.file(part, asker, line.number, depth + 1)


def _text(path: str) -> str:
    # O_NONBLOCK: a named pipe would hold us for ever. What is no regular file (/dev/null) has no settings.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, encoding="utf-8", errors="surrogateescape", newline="\n") as stream:
        return stream.read(MOST_TEXT) if stat.S_ISREG(os.fstat(descriptor).st_mode) else ""
