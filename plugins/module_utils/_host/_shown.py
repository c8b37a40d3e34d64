# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a text may be shown: no secret, no credentials of an address, no control character."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from ._addresses import HIDDEN, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: A shorter secret is part of other words: hiding it would tell it.
_SHORTEST = 4
#: From here on a text is hidden within a word, too.
_LONG = 8
_KEPT = "\n\t"
#: Control characters, surrogates, and what changes the order in which a line is read, ends it, or is not seen.
_OBEYED = ("Cc", "Cs", "Cf", "Zl", "Zp")


def printable(text: str) -> str:
    """Return a text of somebody else's without what a terminal would obey: control characters are shown as escapes."""
    plain = text.replace("\r\n", "\n")
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(_escaped(char) if _obeyed(char) else char for char in plain)


def _obeyed(char: str) -> bool:
    return char not in _KEPT and unicodedata.category(char) in _OBEYED


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def texts(value: object) -> Iterator[str]:
    """Yield the texts within a value, however deep; not the names of a dictionary's entries."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, (int, float)):
        yield str(value)
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from texts(one)


class Mask:
    """Hides given secrets, in the forms in which they come back: as they are, by line, and escaped as in a URL or in JSON."""

    def __init__(self, secrets: Iterable[str], plain: Iterable[str] = ()) -> None:
        """``plain``: texts that are no secret. What is part of one can be read there, so it is not hidden."""
        known = [one for one in plain if one]
        forms = {form for secret in secrets for form in _forms(secret)}
        hidden = [one for one in forms if len(one) >= _SHORTEST and not any(one in other for other in known)]
        self._pattern = (
            re.compile("|".join(map(_as_pattern, sorted(hidden, key=len, reverse=True)))) if hidden else None
        )

    def text(self, text: str) -> str:
        """Return a text that may be shown."""
        hidden = self._pattern.sub(HIDDEN, text) if self._pattern else text
        return printable(without_credentials(hidden))

    def value(self, value: Any) -> Any:
        """Return a value of which every text may be shown."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.value(key): self.value(one) for key, one in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.value(one) for one in value]
        return value


def _forms(secret: str) -> set[str]:
    lines = [line.strip() for line in secret.splitlines() if len(line.strip()) >= _LONG] if "\n" in secret else []
    plain = [secret, secret.strip(), *lines]
    escaped = [form for one in plain for form in (json.dumps(one)[1:-1], repr(one)[1:-1], repr(f"{one}'\"")[1:-4])]
    quoted = [make(one, safe="") for one in plain for make in (quote, quote_plus) if _encodable(one)]
    return {one for one in (*plain, *escaped, *quoted) if one}


def _encodable(text: str) -> bool:
    return not any(0xD800 <= ord(char) <= 0xDFFF for char in text)


def _as_pattern(text: str) -> str:
    return re.escape(text) if len(text) >= _LONG else rf"(?<!\w){re.escape(text)}(?!\w)"


def shown_options(params: Mapping[str, Any], secret: Iterable[str], mask: Mask) -> dict[str, Any]:
    """Return a module's options for its answer; of those named in ``secret`` nothing is shown."""
    closed = frozenset(secret)
    return {
        name: "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" if name in closed and value else mask.value(value)
        for name, value in params.items()
    }
