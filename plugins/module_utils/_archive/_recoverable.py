# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on what an archive can be restored to: recoverable windows, and which timeline "latest" follows.

A window belongs to one timeline and counts the base backups of its ancestors, along the history files. All rules want
the base backups of one cluster: WAL itself does not say whose it is.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Tuple, Union

from .._host import _times
from .._postgres._wal import segment_name, segment_number, segment_of
from .._walg import _backups
from . import _wal_path
from ._wal_path import Leg

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._walg._backups import Backup
    from .._walg._inventory import Inventory

#: A place to restore to: an LSN, or a time in RFC 3339 with a zone.
Target = Union[int, str]
_Run = Tuple[int, int]  # the first segment's number, and the number after the last one's


@dataclass(frozen=True)
class Bound:
    """One end of a window. ``timeline`` is the one on which this point lies; ``time`` is RFC 3339.

    *Known* is what the backup's record or the WAL itself says. The others are estimates: ``time`` is when the object was
    uploaded, which is no commit's time, and ``lsn`` is the end of the last segment: no record lies beyond it, but the
    last one may lie before it.
    """

    timeline: int
    lsn: int
    time: str | None = None
    lsn_known: bool = False
    time_known: bool = False


@dataclass(frozen=True)
class Window:
    """Points that a recovery along ``timeline`` can reach: from the end of a base backup to WAL without a gap.

    ``backups``: names of the base backups in it that can be restored, in the order of their ends; the first opens it.
    ``missing``: the segment whose absence ends it; None when it ends with the archive.
    A window that ends before its own timeline begins (``last.timeline`` is an ancestor) is the ancestor's window as well.
    """

    timeline: int
    first: Bound
    last: Bound
    backups: tuple[str, ...]
    segment_size: int
    missing: str | None = None

    def place(self, target: Target) -> str:
        """Say where a target lies: 'below', 'inside', 'above', or 'unknown' when only the WAL's content can tell.

        While the end is an estimate, an LSN is 'unknown' within the last segment, and a time anywhere after the beginning:
        recovery stops at the first commit after it, and there may be none.
        """
        if isinstance(target, int):
            if target < self.first.lsn:
                return "below"
            if target > self.last.lsn or (target == self.last.lsn and not self.last.lsn_known):
                return "above"  # an estimated end is that of a segment, and no record begins there
            sure = self.last.lsn if self.last.lsn_known else self.last.lsn - self.segment_size
            return "inside" if target <= max(sure, self.first.lsn) else "unknown"
        when = _times.moment(target)
        if self.first.time and when < _times.moment(self.first.time):
            return "below"
        if not self.first.time or not self.last.time or not self.last.time_known:
            return "unknown"
        last = _times.moment(self.last.time)
        return "inside" if when < last else "above" if when > last else "unknown"


def windows(
    backups: Iterable[Backup],
    archive: Inventory,
    uploaded: Mapping[str, str] | None = None,
    timelines: Iterable[int] | None = None,
) -> list[Window]:
    """Return the recoverable windows in the order of timelines and LSNs.

    ``backups``: of one cluster. ``uploaded``: when segments were uploaded, by name (RFC 3339), for estimated ends.
    ``timelines``: those in question; their windows include those that end before the timeline itself begins. Without it,
    all timelines, and a window that ends on an ancestor is the ancestor's alone (old drills would repeat it endlessly).
    A gap ends a window; the next begins with the next base backup whose own WAL lies after the gap.
    """
    every = list(backups)
    broken = broken_chains(every)
    usable = _by_timeline(one for one in every if one.name not in broken and one.finish_lsn)
    runs = {timeline: _runs(timeline, archive) for timeline in archive.timelines}
    found = []
    for timeline in sorted({*runs, *usable} if timelines is None else timelines):
        legs = _wal_path.line(timeline, archive)
        joined = (_joined_to_own if timelines is None else _joined)(legs, runs, archive.segment_size)
        found += _along(legs, joined, usable, archive, uploaded or {})
    return found


def missing_ranges(timeline: int, archive: Inventory) -> list[tuple[str, str, int]]:
    """Return what is missing between the first and the last segment of one timeline: (first, last, how many)."""
    runs, size = _runs(timeline, archive), archive.segment_size
    return [
        (segment_name(timeline, before[1], size), segment_name(timeline, after[0] - 1, size), after[0] - before[1])
        for before, after in zip(runs, runs[1:])
    ]


def _by_timeline(backups: Iterable[Backup]) -> dict[int, list[Backup]]:
    """Return the backups of each timeline by their ends."""
    found: dict[int, list[Backup]] = {}
    for backup in sorted(backups, key=lambda one: (one.finish_lsn, one.name)):
        found.setdefault(backup.timeline, []).append(backup)
    return found


def _runs(timeline: int, archive: Inventory) -> list[_Run]:
    """Return the unbroken runs of segments that the storage holds of one timeline."""
    wal, size = archive.timelines[timeline], archive.segment_size
    if not wal.start:
        return []
    runs, begin = [], segment_number(wal.start, size)
    for number in sorted(segment_number(name, size) for name in wal.missing):
        if begin < number:
            runs.append((begin, number))
        begin = number + 1
    end = segment_number(wal.end, size) + 1
    return [*runs, (begin, end)] if begin < end else runs


def _joined(legs: Sequence[Leg], runs: Mapping[int, list[_Run]], size: int) -> list[_Run]:
    """Return the unbroken runs along a line. The segment in which a timeline was left is read from the one that follows."""
    found: list[_Run] = []
    for leg in legs:
        first, end = leg.first // size, None if leg.last is None else leg.last // size
        own = runs.get(leg.timeline, [])
        for begin, after in own[max(bisect_right(own, (first, first)) - 1, 0) :]:
            if end is not None and begin >= end:
                break
            low, high = max(begin, first), after if end is None else min(after, end)
            if found and found[-1][1] == low < high:
                found[-1] = (found[-1][0], high)
            elif low < high:
                found.append((low, high))
    return found


def _joined_to_own(legs: Sequence[Leg], runs: Mapping[int, list[_Run]], size: int) -> list[_Run]:
    """Return those unbroken runs along a line that reach its own timeline."""
    own = _joined([Leg(legs[-1].timeline, legs[-1].first, None)], runs, size)
    if not own or own[0][0] > legs[-1].first // size:
        return own
    begin, after = own[0]
    for leg in reversed(legs[:-1]):
        floor, members = leg.first // size, runs.get(leg.timeline, [])
        if floor >= begin:
            continue  # it was left in the segment in which it began: nothing of it is read
        place = bisect_right(members, (begin, 0)) - 1
        if place < 0 or members[place][1] < begin:
            break
        begin = max(members[place][0], floor)
        if begin > floor:
            break
    return [(begin, after), *own[1:]]


def _last_segment(backup: Backup, size: int) -> int:
    """Return the number of the last segment without which a backup is not consistent."""
    return backup.last_lsn // size


def _along(
    legs: Sequence[Leg],
    present: Sequence[_Run],
    backups: Mapping[int, list[Backup]],
    archive: Inventory,
    uploaded: Mapping[str, str],
) -> list[Window]:
    """Return the windows along one line; ``present``: the unbroken runs of segments to look at."""
    size, timeline = archive.segment_size, legs[-1].timeline
    begins = [run[0] for run in present]
    inside: dict[int, list[Backup]] = {}
    for leg, limit in _wal_path.with_limits(legs):
        for backup in backups.get(leg.timeline, []):
            if limit is not None and backup.finish_lsn > limit:
                break  # it ended after this line had left its timeline
            place = bisect_right(begins, backup.start_lsn // size) - 1
            if place >= 0 and _last_segment(backup, size) < present[place][1]:
                inside.setdefault(place, []).append(backup)
    found = []
    for place in sorted(inside):
        members = sorted(inside[place], key=lambda one: (one.finish_lsn, one.name))
        after, opener = present[place][1], members[0]
        last = _wal_path.name_on(legs, after - 1, size)
        found.append(
            Window(
                timeline,
                Bound(opener.timeline, opener.finish_lsn, opener.finish_time or None, True, bool(opener.finish_time)),
                Bound(_wal_path.timeline_at(legs, after - 1, size), after * size, uploaded.get(last)),
                tuple(one.name for one in members),
                size,
                _wal_path.name_on(legs, after, size) if place + 1 < len(present) else None,
            )
        )
    return found


def broken_chains(backups: Sequence[Backup]) -> dict[str, str]:
    """Return the deltas whose chain is not whole, each with what is missing."""
    segments = _backups.by_segment(backups)
    lost: dict[str, str] = {}
    whole: set[str] = set()
    for backup in backups:
        passed, one = {backup.name}, backup
        while one.delta and one.name not in whole and one.name not in lost:
            base = _backups.base_of(one, segments)
            if base is None or base.name in passed:
                lost[one.name] = f"base_{one.name.rpartition('_D_')[2]}"
            else:
                passed.add(base.name)
                one = base
        if one.name in lost:
            lost.update(dict.fromkeys(passed, lost[one.name]))
        else:
            whole |= passed
    return lost


def unrestorable(backups: Iterable[Backup], archive: Inventory, found: Iterable[Window]) -> dict[str, str]:
    """Return why base backups can't be restored, by name; ``found`` are the windows of the same backups."""
    every = list(backups)
    broken = broken_chains(every)
    fine = {name for window in found for name in window.backups}
    reasons = {}
    for backup in every:
        if backup.name in broken:
            reasons[backup.name] = (
                f"it is a delta, and its chain lacks {broken[backup.name]}, which is not in the storage"
            )
        elif backup.name not in fine:
            reasons[backup.name] = _why(backup, archive)
    return reasons


def _why(backup: Backup, archive: Inventory) -> str:
    size = archive.segment_size
    if not backup.finish_lsn:
        return "its record does not show where it ends"
    missing = segment_of(backup.timeline, backup.start_lsn, size)
    for begin, after in _runs(backup.timeline, archive) if backup.timeline in archive.timelines else []:
        if begin <= backup.start_lsn // size < after:
            missing = segment_name(backup.timeline, after, size)
    return f"of its own WAL, {first_and_last(backup, size)}, {missing} is not in the storage"


def first_and_last(backup: Backup, size: int) -> str:
    """Return the names of the first and the last segment that a backup needs to be consistent."""
    first = segment_of(backup.timeline, backup.start_lsn, size)
    last = segment_name(backup.timeline, _last_segment(backup, size), size)
    return first if first == last else f"{first} to {last}"


def nearest(found: Iterable[Window], target: Target) -> tuple[Bound | None, Bound | None]:
    """Return the nearest reachable points below and above a target that no window holds, for messages.

    Give it the windows of the timeline in question. The point below is where a window ends, the one above where one begins.
    """
    below: list[Bound] = []
    above: list[Bound] = []
    for window in found:
        place = window.place(target)
        if place == "below":
            above.append(window.first)
        elif place in ("above", "unknown") and (isinstance(target, int) or window.last.time):
            below.append(window.last)
    return (
        max(below, key=lambda bound: _order(bound, target), default=None),
        min(above, key=lambda bound: _order(bound, target), default=None),
    )


def _order(bound: Bound, target: Target) -> float:
    return bound.lsn if isinstance(target, int) else _times.moment(bound.time or "").timestamp()
