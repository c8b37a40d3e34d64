# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How numbers, sizes and times are shown to people, in one way on the terminal and on the page."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _times

if TYPE_CHECKING:
    from datetime import datetime

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_DAY = 86400
_HOUR = 3600


def moment(text: Any) -> datetime | None:
    """Return a time, or None for what is none."""
    return _parsed(text) if isinstance(text, str) else None


@functools.lru_cache(maxsize=20_000)
def _parsed(text: str) -> datetime | None:
    try:
        return _times.moment(text)
    except WalgError:
        return None


def since(text: Any, now: datetime) -> float | None:
    """Return the seconds since a time; None if it is not known."""
    when = moment(text)
    return (now - when).total_seconds() if when else None


def number(value: Any) -> float | None:
    """Return a finite number; None for what is none, as a foreign file may have it."""
    if type(value).__name__ not in ("int", "float"):
        return None
    found = float(value)
    return found if abs(found) < 1e300 else None  # no infinity, and nothing that is no number


def table(value: Any) -> dict[str, Any]:
    """Return a dictionary; an empty one for what is none."""
    return value if isinstance(value, dict) else {}


def rows(value: Any) -> list[dict[str, Any]]:
    """Return the dictionaries of a list; what is none is passed over."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def texts(value: Any) -> list[str]:
    """Return what is in a list, as texts; nothing for what is no list."""
    return [str(one) for one in value] if isinstance(value, list) else []


def size(value: Any) -> str:
    """Return bytes with a unit of three digits, such as 1.23 GB."""
    left = number(value)
    if left is None:
        return "?"
    for unit in _UNITS:
        if abs(left) < 999.5 or unit == _UNITS[-1]:
            break
        left /= 1000
    return f"{left:.0f} B" if unit == "B" else f"{left:.3g} {unit}"


def span(seconds: Any) -> str:
    """Return a length of time in its two largest units, such as 2 d 3 h."""
    left = number(seconds)
    if left is None:
        return "?"
    total = round(abs(left))
    if total < 60:
        return f"{total} s"
    for large, unit, small, smaller in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", 60, "min"), (60, "min", 1, "s")):
        if total >= large:
            rest = total % large // small
            return f"{total // large} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{total} s"


def clock(text: Any) -> str:
    """Return a time as people read it, in UTC, such as 2026-01-31 04:05:06 UTC."""
    when = moment(text)
    return _times.text(when)[:-1].replace("T", " ") + " UTC" if when else "unknown"


def line(text: Any) -> str:
    """Return a text of others in one line, without characters that would steer a terminal."""
    told = str(text)
    return told if told.isprintable() else "".join(sign if sign.isprintable() else " " for sign in told)
