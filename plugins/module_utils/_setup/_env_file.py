# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL-G's settings in an env file of the host, such as the .env beside a compose file. Read by Docker Compose's rules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .._errors import WalgError
from .._host import _trust
from .._host._files import read_text
from .._walg import _settings
from .._walg._setting_names import KNOWN, REFUSED

_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*[=:][ \t]*")
_SINGLE = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_COMMENT = re.compile(r"(?:^|[ \t]+)#.*")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "$": "$", '"': '"', "\\": "\\"}


class _Entry(NamedTuple):
    name: str
    value: str
    line: int
    expands: bool  # a $ in it would be replaced by Compose


def read(path: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return ordinary and secret settings that WAL-G knows from the file; other names are left alone, as is what has no value.

    PostgreSQL's own variables are left alone too: there they mean how an application reaches its database.
    Raises WalgError, which never shows a value.
    """
    _trust.refuse_loose(path, "walg_env_file")
    text = read_text(path)
    if text is None:
        raise WalgError(f"There is no file {path} on this host (walg_env_file).")
    settings: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for entry in _entries(text, path):
        if not entry.value or entry.name.startswith("PG"):
            continue
        if entry.name in REFUSED:
            text = f"{entry.name} in {path}, line {entry.line}, is not allowed: {REFUSED[entry.name]}."
            raise WalgError(text, found=entry.name)
        if entry.name not in KNOWN:
            continue
        if entry.expands:
            raise WalgError(
                f"{entry.name} in {path}, line {entry.line}, holds a $, in whose place Compose puts another variable's value. Write the "
                "value out, or put it between single quotes if the $ is part of it.",
                found=entry.name,
            )
        shown = _settings.may_show(entry.name, entry.value)
        for other in (settings, secrets):
            other.pop(entry.name, None)  # the last one counts
        (settings if shown else secrets)[entry.name] = entry.value
    return settings, secrets


def known(variables: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return ordinary and secret settings that WAL-G knows among a container's variables, by the same rules."""
    given = {name: value for name, value in variables.items() if value and name in KNOWN and not name.startswith("PG")}
    settings = {name: value for name, value in given.items() if _settings.may_show(name, value)}
    return settings, {name: value for name, value in given.items() if name not in settings}


def _entries(text: str, path: str) -> Iterator[_Entry]:
    """Yield what the file assigns. What is no assignment is of no interest: Compose itself says so."""
    at, text = 0, text.replace("\r\n", "\n").lstrip("\ufeff")
    while at < len(text):
        found, line = _ASSIGNMENT.match(text, at), text.count("\n", 0, at) + 1
        if found is None:
            at = _line_end(text, at)
            continue
        name, start = found.group(1), found.end()
        quoted = _SINGLE.match(text, start) or _DOUBLE.match(text, start)
        if quoted is None and text[start : start + 1] in ("'", '"'):
            if name not in KNOWN:
                at = _line_end(text, start)
                continue
            raise WalgError(f"The quote that opens {name} in {path}, line {line}, is never closed.", found=name)
        if quoted is None:
            at = _line_end(text, start)
            value = _COMMENT.sub("", text[start:at].rstrip("\n")).strip()
            yield _Entry(name, value, line, "$" in value)
            continue
        at = _line_end(text, quoted.end())
        if quoted.group(0)[0] == "'":
            yield _Entry(name, quoted.group(1).replace("\\'", "'"), line, expands=False)
        else:
            raw = quoted.group(1)
            value = re.sub(r"\\(.)", lambda match: _ESCAPED.get(match.group(1), match.group(0)), raw, flags=re.DOTALL)
            yield _Entry(name, value, line, bool(re.search(r"(?<!\\)\$", raw)))


def _line_end(text: str, at: int) -> int:
    """Return where the next line begins."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1
