# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON that somebody else may have written: whoever can write into the storage."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

_DEEPEST = 40


def parse(text: str) -> Any:
    """Parse a text. Raises ValueError for what is no JSON, or nested so deep that it would end Python's stack, or no finite number."""
    try:
        found = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    level = [found]
    for _depth in range(_DEEPEST):
        level = [one for value in level for one in _within(value)]
        if not level:
            return found
    raise ValueError("it is nested too deep")


def _within(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def of_type(values: dict[str, Any], types: dict[str, type]) -> dict[str, Any]:
    """Return the values without those that are of another type than they must be."""
    return {name: value for name, value in values.items() if name not in types or _is(value, types[name])}


def _is(value: Any, wanted: type) -> bool:
    return isinstance(value, wanted) and not isinstance(value, bool)
