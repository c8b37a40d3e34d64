# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cron's fields mean, as crontab(5) has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Sequence

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def members(field: str, low: int, high: int) -> set[int]:
    """Return the numbers that a field means; ``low`` and ``high`` are those of ``*``. Raises WalgError where it means none."""
    try:
        found = _members(field.lower().split(","), low, high)
    except ValueError:
        found = set()
    if not found:
        raise WalgError(
            f"The job's file holds {field!r} as a field of its schedule. Run the role mapswipe.walg.walg_backup, which writes it."
        )
    return found


def _members(parts: Sequence[str], low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in parts:
        if part in _WEEKDAYS:
            found.add(_WEEKDAYS.index(part))
            continue
        span, _slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        begin, end = (low, high) if span == "*" else (int(first), int(last) if dash else int(first))
        found.update(range(begin, end + 1, int(step or 1)))
    return found


def weekdays(field: str) -> set[int]:
    """Return the days that the field of weekdays means, Sunday as 0."""
    return {day % 7 for day in members(field, 0, 7)}


def longest_gap(field: str) -> int:
    """Return the most days between two runs by the field of weekdays."""
    rows = sorted(weekdays(field))
    return max(after - before for before, after in zip(rows, [*rows[1:], rows[0] + 7]))
