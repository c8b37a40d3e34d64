# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a benchmark says: figures from pairs of samples, each with its spread and its aim, as a table and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Pairs = list[tuple[float, float]]
_MANY = 10  # samples from which on the spread leaves out a tenth at each end


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``value`` is what the aim is about; ``met`` is None where there is no aim."""

    part: str
    what: str
    ours: str = ""
    beside: str = ""
    value: str = ""
    spread: str = ""
    aim: str = ""
    met: bool | None = None
    numbers: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def alternate(rounds: int, ours: Callable[[], float], beside: Callable[[], float]) -> Pairs:
    """Take both measures in each round, ours first in every other one."""
    pairs = []
    for turn in range(rounds):
        if turn % 2:
            other = beside()
            pairs.append((ours(), other))
        else:
            pairs.append((ours(), beside()))
    return pairs


def ratio(part: str, what: str, pairs: Pairs, limit: float | None = None, unit: str = "s") -> Figure:
    """How many times as long as what stands beside it."""
    return _compared(part, what, pairs, [one / other for one, other in pairs], "x", limit, unit, 1.0)


def over(part: str, what: str, pairs: Pairs, limit: float | None = None, unit: str = "s") -> Figure:
    """How much longer than what stands beside it."""
    return _compared(part, what, pairs, [one - other for one, other in pairs], unit, limit, unit, _factor(unit))


def measure(part: str, what: str, samples: Sequence[float], limit: float | None = None, unit: str = "s") -> Figure:
    """A figure with nothing beside it."""
    factor = _factor(unit)
    shown = [one * factor for one in samples]
    middle = statistics.median(shown)
    numbers = {"samples": list(samples), "value": middle, "unit": unit, "limit": limit}
    met = None if limit is None else middle <= limit
    return Figure(part, what, "", "", _text(middle, unit), _spread(shown), _aim(limit, unit), met, numbers)


def absent(part: str, what: str, reason: str) -> Figure:
    """A line that says why there is no figure."""
    return Figure(part, what, value="-", aim=reason)


def _compared(
    part: str, what: str, pairs: Pairs, values: list[float], kind: str, limit: float | None, unit: str, factor: float
) -> Figure:
    sides = [statistics.median(side) * _factor(unit) for side in zip(*pairs, strict=True)]
    shown = [one * factor for one in values]
    middle = statistics.median(shown)
    numbers = {"pairs": pairs, "value": middle, "unit": kind, "limit": limit}
    met = None if limit is None else middle <= limit
    ours, beside = (_text(side, unit) for side in sides)
    signed = "" if kind == "x" or middle < 0 else "+"
    return Figure(
        part, what, ours, beside, signed + _text(middle, kind), _spread(shown), _aim(limit, kind), met, numbers
    )


def _factor(unit: str) -> float:
    return 1000.0 if unit == "ms" else 1.0


def _aim(limit: float | None, unit: str) -> str:
    return "" if limit is None else f"≤ {limit:g} {unit}"


def _spread(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    if len(values) >= _MANY:
        cuts = statistics.quantiles(values, n=10)
        low, high = cuts[0], cuts[-1]
    return "" if len(values) == 1 else f"{low:.4g} to {high:.4g}"


def _text(value: float, unit: str) -> str:
    digits = {"s": 2, "ms": 1, "x": 2}.get(unit, 0)
    return f"{value:.{digits}f} {unit}".strip()


def table(figures: Sequence[Figure]) -> str:
    """All figures in columns, part by part."""
    heads = ("", "", "ours", "beside", "figure", "spread", "aim", "met")
    rows = [heads]
    for one in figures:
        met = {True: "yes", False: "NO", None: ""}[one.met]
        rows.append((one.part, one.what, one.ours, one.beside, one.value, one.spread, one.aim, met))
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < 2 or column > 5 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
