# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way through WAL: which segments of which timelines lead from a base backup to a target. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .._postgres import _wal
from .._postgres._wal import segment_name
from .._walg._inventory import Inventory


@dataclass(frozen=True)
class Leg:
    """A stretch of WAL on one timeline: from an LSN, to an LSN (None: as far as the archive goes)."""

    timeline: int
    first: int
    last: int | None


def path_to(timeline: int, start: int, consistent: int, start_timeline: int, archive: Inventory) -> list[Leg] | None:
    """Return the legs from ``start`` on ``start_timeline`` to the end of ``timeline``; None if it doesn't lead there.

    ``consistent``: the end of the base backup; a timeline that was left before it can't be followed.
    """
    legs = [Leg(timeline, start, None)]
    while legs[0].timeline != start_timeline:
        wal = archive.timelines.get(legs[0].timeline)
        if wal is None or wal.parent is None or wal.switch_lsn is None or wal.switch_lsn < consistent:
            return None  # no history known, or that timeline left before our start
        if wal.parent >= wal.timeline:
            return None  # a damaged history must not loop
        legs[0] = Leg(wal.timeline, wal.switch_lsn, legs[0].last)
        legs.insert(0, Leg(wal.parent, start, wal.switch_lsn))
    return legs


def needed_segments(legs: Sequence[Leg], archive: Inventory) -> Iterator[tuple[int, int, int]]:
    """Yield (timeline, first number, number after the last) of the segments that a recovery along ``legs`` reads.

    The segment in which a timeline was left is read from the timeline that follows, whose copy begins with the same bytes.
    """
    size = archive.segment_size
    for leg in legs:
        if leg.last is not None:
            yield leg.timeline, leg.first // size, leg.last // size
            continue
        last = archive.last(leg.timeline)
        end = _wal.segment_number(last, size) + 1 if last else leg.first // size
        yield leg.timeline, leg.first // size, end


def gaps(legs: Sequence[Leg], archive: Inventory) -> list[str]:
    """Return the segments along ``legs`` that the storage lacks, in order."""
    size = archive.segment_size
    names = (
        _wal.segment_name(timeline, number, size)
        for timeline, first, end in needed_segments(legs, archive)
        for number in range(first, end)
    )
    return [name for name in names if not archive.has(name)]


def last_listed(legs: Sequence[Leg], archive: Inventory) -> list[str]:
    """Return per timeline the last segment that a recovery along ``legs`` can't find missing."""
    return [
        _wal.segment_name(timeline, end - 1, archive.segment_size)
        for timeline, first, end in needed_segments(legs, archive)
        if end > first
    ]


def line(timeline: int, archive: Inventory) -> list[Leg]:
    """Return the legs of a timeline's history, from its oldest known ancestor (whose ``first`` is 0) to itself."""
    legs = [Leg(timeline, 0, None)]
    while True:
        wal = archive.timelines.get(legs[0].timeline)
        if wal is None or wal.parent is None or wal.switch_lsn is None or wal.parent >= wal.timeline:
            return legs
        legs[0] = Leg(wal.timeline, wal.switch_lsn, legs[0].last)
        legs.insert(0, Leg(wal.parent, 0, wal.switch_lsn))


def name_at(timeline: int, number: int, archive: Inventory) -> str:
    """Return the name of the segment that a recovery along a timeline reads for a number."""
    return _name_on(line(timeline, archive), number, archive.segment_size)


def _leg_of(legs: Sequence[Leg], number: int, size: int) -> int:
    """Return the timeline from which a segment is read along a line."""
    for leg in legs:
        if leg.last is None or number < leg.last // size:
            return leg.timeline
    return legs[-1].timeline


def _name_on(legs: Sequence[Leg], number: int, size: int) -> str:
    return segment_name(_leg_of(legs, number, size), number, size)
