# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules: which WAL the base backups that stay need. What is not sure to be unneeded, is needed."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._postgres import _wal
from .._walg._inventory import Inventory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._walg._backups import Backup
    from .._walg._inventory import TimelineWal
    from .._walg._objects import Object

#: A segment, its ``.partial`` and its backup label, compressed or not, and chunks that an upload to Google has left. History files are
#: none of these: they always stay.
_OF_SEGMENT = re.compile(r"[0-9A-F]{24}(?:\.[0-9A-F]{8}\.backup|\.partial)?(?:\.[a-z0-9]+)?(?:_chunks/[^/]+)?\Z")


@dataclass(frozen=True)
class Needed:
    """By timeline. ``floors``: from this segment on; ``numbers``: these besides; ``whole``: all, since nobody knows whose they are."""

    floors: Mapping[int, int]
    numbers: Mapping[int, frozenset[int]]
    whole: frozenset[int]


def needed(kept: Iterable[Backup], alone: Iterable[Backup], archive: Inventory) -> Needed:
    """Return what is needed by base backups with all WAL that follows (``kept``), and by those with their own only (``alone``).

    What follows is the rest of the timeline and every timeline that left it later. A timeline without a history that leads to
    timeline 1 may follow any lower one.
    """
    size = archive.segment_size
    floors: dict[int, int] = {}
    ranges: dict[int, list[tuple[int, int]]] = {}
    lowest = _wal.LAST_TIMELINE
    for one in kept:
        floors[one.timeline] = min(floors.get(one.timeline, one.start_lsn // size), one.start_lsn // size)
        lowest = min(lowest, one.timeline)
    for one in alone:
        ranges.setdefault(one.timeline, []).append((one.start_lsn // size, one.last_lsn // size))
        lowest = min(lowest, one.timeline)
    whole = set()
    roots: dict[int, int] = {}
    for timeline in sorted(archive.timelines):
        parent, switch = _left(archive.timelines[timeline])
        if parent is None:
            roots[timeline] = timeline
        else:
            roots[timeline] = roots.get(parent, parent)
            left_at = switch // size
            if floors.get(parent, left_at + 1) <= left_at:
                floors[timeline] = min(floors[parent], floors.get(timeline, floors[parent]))
            passing = [one for one in ranges.get(parent, ()) if one[0] <= left_at <= one[1]]
            if passing:
                ranges.setdefault(timeline, []).extend(passing)
        reached = timeline in floors or timeline in ranges
        if roots[timeline] != 1 and (lowest < roots[timeline] or (not reached and lowest <= timeline)):
            whole.add(timeline)
    numbers = {
        timeline: frozenset(number for first, last in stretches for number in range(first, last + 1))
        for timeline, stretches in ranges.items()
    }
    return Needed(floors, numbers, frozenset(whole))


def _left(wal: TimelineWal) -> tuple[int | None, int]:
    """Return the parent of a timeline and where it was left; None where that is unknown or can't be."""
    if wal.parent is None or wal.switch_lsn is None or wal.parent >= wal.timeline:
        return None, 0
    return wal.parent, wal.switch_lsn


@dataclass(frozen=True)
class Unneeded:
    """``objects``: in order of timeline and LSN; ``segments``: their numbers, by timeline, where no object of the segment stays."""

    objects: Sequence[Object]
    segments: Mapping[int, frozenset[int]]


def unneeded(objects: Iterable[Object], need: Needed, archive: Inventory, youngest: float) -> Unneeded:
    """Return the objects of the WAL folder that nobody needs. Those written after ``youngest`` (seconds since 1970) stay anyway."""
    per_id = 0x100000000 // archive.segment_size
    found: list[Object] = []
    of_timeline: dict[str, _Judge] = {}
    matches = _OF_SEGMENT.match
    for one in objects:
        name = one.name
        if not matches(name):
            continue
        judge = of_timeline.get(name[:8])
        if judge is None:
            timeline = int(name[:8], 16)
            judge = of_timeline[name[:8]] = _Judge(need, timeline, timeline in archive.timelines)
        low = int(name[16:24], 16)
        number = int(name[8:16], 16) * per_id + low
        if judge.unknown or low >= per_id or number >= judge.floor or number in judge.numbers or one.time > youngest:
            judge.stays.append(number)  # of another segment size, or of a timeline that nobody listed: not known
        else:
            found.append(one)
            judge.gone.append(number)
    found.sort(key=operator.attrgetter("name"))
    gone = {one.timeline: frozenset(one.gone).difference(one.stays) for one in of_timeline.values() if one.gone}
    return Unneeded(found, gone)


class _Judge:
    """What is needed of one timeline, and the numbers of the segments that stay and go."""

    def __init__(self, need: Needed, timeline: int, known: bool) -> None:
        self.timeline, self.unknown = timeline, not known or timeline in need.whole
        self.floor: float = need.floors.get(timeline, math.inf)
        self.numbers = need.numbers.get(timeline, frozenset())
        self.gone: list[int] = []
        self.stays: list[int] = []


def without(archive: Inventory, gone: Mapping[int, frozenset[int]]) -> Inventory:
    """Return the archive as it is when these segments are gone."""
    size = archive.segment_size
    found = dict(archive.timelines)
    for timeline, numbers in gone.items():
        wal = found[timeline]
        if not wal.start or not numbers:
            continue
        missing = {_wal.segment_number(name, size) for name in wal.missing}
        first, last = _wal.segment_number(wal.start, size), _wal.segment_number(wal.end, size)
        lost = missing | numbers
        while first <= last and first in lost:
            first += 1
        while last >= first and last in lost:
            last -= 1
        if first > last:
            found[timeline] = replace(wal, start="", end="", missing=frozenset())
            continue
        names = frozenset(_wal.segment_name(timeline, one, size) for one in lost if first < one < last)
        start, end = _wal.segment_name(timeline, first, size), _wal.segment_name(timeline, last, size)
        found[timeline] = replace(wal, start=start, end=end, missing=names)
    return Inventory(found, size)


def ranges_of(gone: Mapping[int, frozenset[int]], size: int) -> list[dict[str, object]]:
    """Return unbroken stretches of segments for people: timeline, first, last, segments."""
    found: list[dict[str, object]] = []
    for timeline in sorted(gone):
        numbers = sorted(gone[timeline])
        begin = 0
        for place, number in enumerate(numbers):
            if place + 1 == len(numbers) or numbers[place + 1] != number + 1:
                first, last = (_wal.segment_name(timeline, one, size) for one in (numbers[begin], number))
                found.append({"timeline": timeline, "first": first, "last": last, "segments": place + 1 - begin})
                begin = place + 1
    return found
