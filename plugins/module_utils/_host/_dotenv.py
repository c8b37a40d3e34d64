# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of an env file such as the .env beside a compose file, by Docker Compose's rules for quotes, comments and escapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .._errors import WalgError

_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*[=:][ \t]*")
_SINGLE = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_COMMENT = re.compile(r"(?:^|[ \t]+)#.*")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "$": "$", '"': '"', "\\": "\\"}


class Entry(NamedTuple):
    """One assignment."""

    name: str
    value: str
    line: int
    expands: bool  # a $ in it would be replaced by Compose


def entries(text: str, path: str, matters: Callable[[str], bool]) -> Iterator[Entry]:
    """Yield what the file assigns. What is no assignment is of no interest: Compose itself says so.

    ``matters``: whether a name is looked for. Raises WalgError for a quote that opens such a one and is never closed.
    """
    at, text = 0, text.replace("\r\n", "\n").lstrip("\ufeff")
    while at < len(text):
        found, line = _ASSIGNMENT.match(text, at), text.count("\n", 0, at) + 1
        if found is None:
            at = _line_end(text, at)
            continue
        name, start = found.group(1), found.end()
        quoted = _SINGLE.match(text, start) or _DOUBLE.match(text, start)
        if quoted is None and text[start : start + 1] in ("'", '"'):
            if not matters(name):
                at = _line_end(text, start)
                continue
            raise WalgError(f"The quote that opens {name} in {path}, line {line}, is never closed.", found=name)
        if quoted is None:
            at = _line_end(text, start)
            value = _COMMENT.sub("", text[start:at].rstrip("\n")).strip()
            yield Entry(name, value, line, "$" in value)
            continue
        at = _line_end(text, quoted.end())
        if quoted.group(0)[0] == "'":
            yield Entry(name, quoted.group(1).replace("\\'", "'"), line, expands=False)
        else:
            raw = quoted.group(1)
            value = re.sub(r"\\(.)", lambda match: _ESCAPED.get(match.group(1), match.group(0)), raw, flags=re.DOTALL)
            yield Entry(name, value, line, bool(re.search(r"(?<!\\)\$", raw)))


def _line_end(text: str, at: int) -> int:
    """Return where the next line begins."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1
