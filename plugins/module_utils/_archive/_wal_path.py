# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way through WAL: which segments of which timelines lead from a base backup to a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._postgres import _wal
from .._postgres._wal import segment_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .._walg._backups import Backup
    from .._walg._inventory import Inventory


@dataclass(frozen=True)
class Leg:
    """A stretch of WAL on one timeline: from an LSN, to an LSN (None: as far as the archive goes)."""

    timeline: int
    first: int
    last: int | None


def line(timeline: int, archive: Inventory) -> list[Leg]:
    """Return the legs of a timeline's history, from its oldest known ancestor (whose ``first`` is 0) to itself."""
    legs = [Leg(timeline, 0, None)]
    while True:
        wal = archive.timelines.get(legs[0].timeline)
        if wal is None or wal.parent is None or wal.switch_lsn is None or wal.parent >= wal.timeline:
            return legs  # no history known, or a damaged one, which must not loop
        legs[0] = Leg(wal.timeline, wal.switch_lsn, legs[0].last)
        legs.insert(0, Leg(wal.parent, 0, wal.switch_lsn))


def with_limits(legs: Sequence[Leg]) -> list[tuple[Leg, int | None]]:
    """Return each leg of a line with the LSN by which a base backup on it must be consistent: where the line leaves it (None: never)."""
    found: list[tuple[Leg, int | None]] = []
    limit: int | None = None
    for leg in reversed(legs):
        found.insert(0, (leg, limit))
        limit = leg.first if limit is None else min(limit, leg.first)
    return found


def path_to(timeline: int, start: int, consistent: int, start_timeline: int, archive: Inventory) -> list[Leg] | None:
    """Return the legs from ``start`` on ``start_timeline`` to the end of ``timeline``; None if it doesn't lead there.

    ``consistent``: the end of the base backup; a timeline that was left before it can't be followed.
    """
    legs = line(timeline, archive)
    for place, (leg, limit) in enumerate(with_limits(legs)):
        if leg.timeline == start_timeline:
            return (
                None
                if limit is not None and limit < consistent
                else [Leg(leg.timeline, start, leg.last), *legs[place + 1 :]]
            )
    return None


def cut(legs: Sequence[Leg], lsn: int, size: int) -> list[Leg]:
    """Return the legs up to and with the segment that holds ``lsn``; where a timeline was left, the next one has that segment."""
    kept: list[Leg] = []
    for leg in legs:
        if leg.last is not None and lsn // size >= leg.last // size:
            kept.append(leg)
            continue
        return [*kept, Leg(leg.timeline, leg.first, (lsn // size + 1) * size)]
    return kept


def lacking(backup: Backup, timeline: int, archive: Inventory) -> list[str]:
    """Return the segments that a base backup needs to be consistent, on its way to ``timeline``, and the storage lacks."""
    legs = path_to(timeline, backup.start_lsn, backup.finish_lsn, backup.timeline, archive)
    legs = legs or [Leg(backup.timeline, backup.start_lsn, None)]
    return gaps(cut(legs, backup.last_lsn, archive.segment_size), archive)


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


def name_at(timeline: int, number: int, archive: Inventory) -> str:
    """Return the name of the segment that a recovery along a timeline reads for a number."""
    return name_on(line(timeline, archive), number, archive.segment_size)


def timeline_at(legs: Sequence[Leg], number: int, size: int) -> int:
    """Return the timeline from which a segment is read along a line."""
    for leg in legs:
        if leg.last is None or number < leg.last // size:
            return leg.timeline
    return legs[-1].timeline


def name_on(legs: Sequence[Leg], number: int, size: int) -> str:
    """Return the name of the segment that is read along a line for a number."""
    return segment_name(timeline_at(legs, number, size), number, size)
