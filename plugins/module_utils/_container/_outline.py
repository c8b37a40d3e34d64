# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outline of a YAML text as docker-compose 1.x writes it: mappings, lists and texts, in block style. Python itself reads no YAML."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_KEY = re.compile(
    r"""(?P<key>'(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|(?:[^\s'"\-\[{]|-(?=\S))(?:[^:]|:(?=\S))*?)[ ]*:(?:[ ]+|$)"""
)
_ESCAPED = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


@dataclass
class _Line:
    indent: int
    text: str


def read(text: str) -> Any:
    """Return what is in the text: dicts, lists and texts, whatever they mean. What can't be read is left out."""
    lines = _lines(text)
    return _Reader(lines).block(lines[0].indent) if lines else None


def _lines(text: str) -> list[_Line]:
    """Return the lines, each text that goes over several in one."""
    found: list[_Line] = []
    quote = ""  # the one that is open
    for line in text.splitlines():
        plain = line.strip()
        if quote:
            found[-1].text += f" {plain}"
            quote = _still_open(plain, quote)
            continue
        if not plain or plain.startswith("#"):
            continue
        indent = len(line) - len(line.lstrip(" "))
        if found and indent > _column(found[-1]) and _scalar(found[-1].text):
            found[-1].text += f" {plain}"
            continue
        found.append(_Line(indent, plain))
        quote = _opened(_scalar(plain))
    return found


def _column(line: _Line) -> int:
    """Return where the innermost mapping or text of a line begins."""
    at, text = line.indent, line.text
    while text.startswith("- "):
        at, text = at + 2, text[2:]
    return at


def _scalar(text: str) -> str:
    """Return what of a line is a text, "" if something else follows."""
    while text.startswith("- "):
        text = text[2:]
    key = _KEY.match(text)
    return text[key.end() :] if key else "" if text == "-" else text


def _opened(scalar: str) -> str:
    quote = scalar[:1]
    return _still_open(scalar[1:], quote) if quote in ("'", '"') else ""


def _still_open(text: str, quote: str) -> str:
    """Return the quote if the text does not end it."""
    if quote == "'":
        return "" if text.replace("''", "").endswith("'") else "'"
    return "" if re.sub(r"\\.", "", text).endswith('"') else '"'


def _unquoted(text: str) -> str:
    if text[:1] == "'" and text[-1:] == "'" and len(text) > 1:
        return text[1:-1].replace("''", "'")
    if text[:1] == '"' and text[-1:] == '"' and len(text) > 1:
        return re.sub(r"\\(.)", lambda match: _ESCAPED.get(match.group(1), match.group(0)), text[1:-1])
    return text


@dataclass
class _Reader:
    lines: list[_Line]
    at: int = 0

    def block(self, indent: int) -> Any:
        """Read what is at this depth: a list, a mapping or one text."""
        first = self.lines[self.at].text
        if first == "-" or first.startswith("- "):
            return self._list(indent)
        if _KEY.match(first):
            return self._mapping(indent)
        self.at += 1
        return _value(first)

    def _list(self, indent: int) -> list[Any]:
        found = []
        while self._here(indent) and (self.lines[self.at].text + " ").startswith("- "):
            line = self.lines[self.at]
            self.lines[self.at] = _Line(indent + 2, line.text[2:])
            found.append(self.block(indent + 2))
        return found

    def _mapping(self, indent: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._here(indent):
            key = _KEY.match(self.lines[self.at].text)
            if key is None:
                break
            value = self.lines[self.at].text[key.end() :]
            self.at += 1
            found[_unquoted(key.group("key"))] = _value(value) if value else self._below(indent)
        return found

    def _below(self, indent: int) -> Any:
        if self.at >= len(self.lines):
            return None
        line = self.lines[self.at]
        deeper = line.indent > indent or (line.indent == indent and (line.text + " ").startswith("- "))
        return self.block(line.indent) if deeper else None

    def _here(self, indent: int) -> bool:
        return self.at < len(self.lines) and self.lines[self.at].indent == indent


def _value(text: str) -> Any:
    return {"{}": {}, "[]": []}.get(text, _unquoted(text))
