# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on PostgreSQL's configuration syntax and on how our file is included."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE_NAME = "mapswipe_walg.conf"
INCLUDE_LINE = f"include_if_exists = '{FILE_NAME}'  # managed by the Ansible collection mapswipe.walg"
#: A letter, _, or anything beyond ASCII; said by what it is not, since a set of a million characters takes 20 ms to compile.
_LETTER = r"[^\0-@\[-^`{-\x7f]"
_ID = rf"{_LETTER}(?:{_LETTER}|[0-9$])*"
#: A line as guc-file.l takes it: name, an optional =, a quoted text or a word or number, an optional comment.
_LINE = re.compile(
    rf"[ \t\r]*({_ID}(?:\.{_ID})*)(?:[ \t\r]*=[ \t\r]*|[ \t\r]+|(?='))"
    rf"(?:'((?:[^'\\]|''|\\.)*)'|({_LETTER}(?:{_LETTER}|[0-9._:/-])*|[-+]?[0-9.][0-9A-Za-z.+-]*))[ \t\r]*(?:#.*)?$",
    re.DOTALL,
)
_EMPTY = re.compile(r"[ \t\r]*(?:#.*)?$", re.DOTALL)
_ESCAPE = re.compile(r"''|\\[0-7]{1,3}|\\.", re.DOTALL)
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
#: Options of postgres(1) that are settings, with a value and without.
_LETTERS = {
    "-B": "shared_buffers",
    "-N": "max_connections",
    "-S": "work_mem",
    "-h": "listen_addresses",
    "-k": "unix_socket_directories",
    "-p": "port",
}
_ON = ("on", "true", "yes", "1", "tru", "tr", "t", "ye", "y")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_FLAGS = {"-F": "fsync=off", "-i": "listen_addresses=*", "-l": "ssl=on"}


def settings_text(settings: Mapping[str, str]) -> str:
    """Write settings in PostgreSQL's configuration syntax."""
    lines = []
    for name in sorted(settings):
        if "\n" in settings[name]:
            raise WalgError(f"A line break in {name} can't stand in PostgreSQL's configuration.")
        value = settings[name].replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{value}'")
    return "\n".join(lines) + "\n"


def conf_text(settings: Mapping[str, str]) -> str:
    """Return the text of a configuration file of ours."""
    return "# Managed by the Ansible collection mapswipe.walg; changes here are overwritten.\n" + settings_text(
        settings
    )


def with_include(text: str) -> str:
    """Return postgresql.conf with our include as its last line, so that nothing before it overrides us."""
    if any(line.strip() == INCLUDE_LINE for line in text.split("\n")):
        return text
    return text + ("" if text.endswith("\n") or not text else "\n") + f"\n{INCLUDE_LINE}\n"


def without_include(text: str) -> str:
    """Return postgresql.conf without the line that with_include() adds."""
    text = text.replace(f"\n\n{INCLUDE_LINE}\n", "\n")
    return "".join(line for line in text.splitlines(keepends=True) if line.strip() != INCLUDE_LINE)


@dataclass(frozen=True)
class Line:
    """One setting as it is in a configuration file; without a name it is a line that PostgreSQL would refuse."""

    number: int
    name: str
    value: str


def parse(text: str) -> list[Line]:
    """Return the settings of one configuration file in their order, names in small letters. Includes are settings here."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        match = _LINE.match(line)
        if match:
            quoted = match.group(2)
            value = match.group(3) if quoted is None else unquoted(quoted)
            found.append(Line(number, match.group(1).lower(), value))
        elif not _EMPTY.match(line):
            found.append(Line(number, "", line))
    return found


def unquoted(text: str) -> str:
    """Return what stands between a value's quotes as PostgreSQL takes it (DeescapeQuotedString)."""
    return _ESCAPE.sub(lambda match: _unescaped(match.group(0)), text)


def _unescaped(found: str) -> str:
    if found == "''":
        return "'"
    return chr(int(found[1:], 8) & 0xFF) if found[1] in "01234567" else _CONTROLS.get(found[1], found[1])


def is_on(value: str) -> bool:
    """Say whether PostgreSQL reads a text as true: any clear beginning of on, true, yes or 1."""
    return value.lower() in _ON


def seconds(value: str, unit: str) -> float | None:
    """Return a duration in seconds; ``unit``: what a number without one counts in. None for what is no duration."""
    match = re.match(r"\s*([0-9.]+)\s*([a-z]*)\s*\Z", value)
    factor = _SECONDS.get(match.group(2) or unit) if match else None
    return float(match.group(1)) * factor if match and factor is not None else None


def on_command_line(words: Sequence[str]) -> dict[str, str]:
    """Return the settings that a server's start options hold: -c name=value, --name=value, and letters of their own."""
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            named = word[2:]
        elif word[:2] == "-c":
            named = word[2:] or next(rest, "")
        elif word[:2] in _LETTERS:
            named = f"{_LETTERS[word[:2]]}={word[2:] or next(rest, '')}"
        else:
            named = _FLAGS.get(word, "")
        name, equals, value = named.partition("=")
        if equals:
            found[name.replace("-", "_").lower()] = value
    return found
