# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on what an archive can be restored to: recoverable windows, and which timeline "latest" follows. Private.

A window belongs to one timeline and counts the base backups of its ancestors, along the history files. All rules want
the base backups of one cluster: WAL itself does not say whose it is.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Tuple, Union

from . import _backups
from ._timelines import Leg, segment_name, segment_number, segment_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ._backups import Backup
    from ._timelines import Inventory

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
            if target > self.last.lsn:
                return "above"
            sure = self.last.lsn if self.last.lsn_known else self.last.lsn - self.segment_size
            return "inside" if target <= max(sure, self.first.lsn) else "unknown"
        when = _backups.moment(target)
        if self.first.time and when < _backups.moment(self.first.time):
            return "below"
        if not self.first.time or not self.last.time or not self.last.time_known:
            return "unknown"
        last = _backups.moment(self.last.time)
        return "inside" if when < last else "above" if when > last else "unknown"


@dataclass(frozen=True)
class Trunk:
    """The timeline that "latest" follows. ``timeline`` None: it can't be told; ``candidates`` are those in question.

    ``orphans``: timelines that the way to it does not pass: old drills, abandoned branches.
    """

    timeline: int | None
    candidates: tuple[int, ...]
    orphans: tuple[int, ...]
    reason: str


def line(timeline: int, archive: Inventory) -> list[Leg]:
    """Return the legs of a timeline's history, from its oldest known ancestor (whose ``first`` is 0) to itself."""
    legs = [Leg(timeline, 0, None)]
    while True:
        wal = archive.timelines.get(legs[0].timeline)
        if wal is None or wal.parent is None or wal.switch_lsn is None or wal.parent >= wal.timeline:
            return legs
        legs[0] = Leg(wal.timeline, wal.switch_lsn, legs[0].last)
        legs.insert(0, Leg(wal.parent, 0, wal.switch_lsn))


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
        legs = line(timeline, archive)
        joined = (_joined_to_own if timelines is None else _joined)(legs, runs, archive.segment_size)
        found += _along(legs, joined, usable, archive, uploaded or {})
    return found


def name_at(timeline: int, number: int, archive: Inventory) -> str:
    """Return the name of the segment that a recovery along a timeline reads for a number."""
    return _name_on(line(timeline, archive), number, archive.segment_size)


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
    return max(backup.finish_lsn - 1, backup.start_lsn) // size


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
    for leg in legs:
        for backup in backups.get(leg.timeline, []):
            if leg.last is not None and backup.finish_lsn > leg.last:
                break  # it ended after this line had left its timeline
            place = bisect_right(begins, backup.start_lsn // size) - 1
            if place >= 0 and _last_segment(backup, size) < present[place][1]:
                inside.setdefault(place, []).append(backup)
    found = []
    for place in sorted(inside):
        members = sorted(inside[place], key=lambda one: (one.finish_lsn, one.name))
        after, opener = present[place][1], members[0]
        last = _name_on(legs, after - 1, size)
        found.append(
            Window(
                timeline,
                Bound(opener.timeline, opener.finish_lsn, opener.finish_time or None, True, bool(opener.finish_time)),
                Bound(_leg_of(legs, after - 1, size), after * size, uploaded.get(last)),
                tuple(one.name for one in members),
                size,
                _name_on(legs, after, size) if place + 1 < len(present) else None,
            )
        )
    return found


def _leg_of(legs: Sequence[Leg], number: int, size: int) -> int:
    """Return the timeline from which a segment is read along a line."""
    for leg in legs:
        if leg.last is None or number < leg.last // size:
            return leg.timeline
    return legs[-1].timeline


def _name_on(legs: Sequence[Leg], number: int, size: int) -> str:
    return segment_name(_leg_of(legs, number, size), number, size)


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
        return "its record does not say where it ends"
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
    return bound.lsn if isinstance(target, int) else _backups.moment(bound.time or "").timestamp()


def trunk(
    archive: Inventory, backups: Iterable[Backup], owner_timeline: int | None = None, owner_highest: int = 0
) -> Trunk:
    """Return the timeline that "latest" should follow; ``backups`` of one cluster.

    PostgreSQL's own "latest" is the highest number, which may be an old drill that archived by accident. Here the way
    begins at the owner's timeline (the marker's), else at the oldest ancestor of the newest base backup that counts, and
    climbs to a child that left at the parent's end (a promotion), or whose branch has a base backup that ended later than
    every one on the parent (a restore to an earlier point). Other children are orphans.
    Where several remain, base backups decide; where they can't, ``timeline`` is None.
    ``owner_highest``: the highest timeline that the owner knows of; one up to it that left the owner's was rolled back.
    """
    every = [one for one in backups if one.finish_time]
    counting = _counting(every, archive)
    known = set(archive.timelines) | {one.timeline for one in every}
    start = owner_timeline if owner_timeline in known else None  # nothing of a brand-new timeline may have arrived yet
    left = owner_highest if start is not None else 0
    if start is None:
        newest = _backups.newest_first(counting or every)
        if not newest:
            listed = tuple(sorted(archive.timelines))
            return Trunk(None, listed, (), "there is no base backup from which to tell")
        start = line(newest[0].timeline, archive)[0].timeline
    tree = _Tree(archive, counting)
    now, reason = start, "no timeline that goes on left it"
    while True:
        rivals = [one for one in tree.successors(now) if one > left]
        if not rivals:
            break
        chosen = tree.decide(rivals)
        if chosen is None:
            names = ", ".join(str(rival) for rival in rivals)
            return Trunk(
                None, tuple(rivals), (), f"timelines {names} left timeline {now}, and nothing says which goes on"
            )
        now, reason = chosen, f"timeline {now} went over to it"
    on_the_way = {leg.timeline for leg in line(now, archive)}
    return Trunk(now, (now,), tuple(one for one in sorted(archive.timelines) if one not in on_the_way), reason)


def _counting(backups: Sequence[Backup], archive: Inventory) -> list[Backup]:
    fine = {name for window in windows(backups, archive) for name in window.backups}
    return [one for one in backups if one.name in fine]


class _Tree:
    """Children of timelines, and the newest base backup of each branch (as a time that can be compared, 0 for none)."""

    def __init__(self, archive: Inventory, backups: Iterable[Backup]) -> None:
        self.archive = archive
        self.children: dict[int, list[int]] = {}
        self.left: dict[int, int] = {}  # where the last child left
        self.newest: dict[int, float] = {}
        self.own: dict[int, float] = {}
        for backup in backups:
            when = _backups.moment(backup.finish_time).timestamp()
            self.own[backup.timeline] = max(self.own.get(backup.timeline, 0.0), when)
        for timeline in sorted(archive.timelines, reverse=True):  # children come before their parents
            wal = archive.timelines[timeline]
            self.newest[timeline] = max(self.newest.get(timeline, 0.0), self.own.get(timeline, 0.0))
            if wal.parent is not None and wal.switch_lsn is not None and wal.parent < timeline:
                self.children.setdefault(wal.parent, []).append(timeline)
                self.left[wal.parent] = max(self.left.get(wal.parent, 0), wal.switch_lsn)
                self.newest[wal.parent] = max(self.newest.get(wal.parent, 0.0), self.newest[timeline])

    def at_the_end(self, child: int) -> bool:
        """Say whether nothing shows that the parent went on to another segment after the child had left it.

        What shows it is a segment in the storage, or another child that left in a later one.
        """
        wal, size = self.archive.timelines[child], self.archive.segment_size
        switch, last = wal.switch_lsn or 0, self.archive.last(wal.parent or 0)
        went_on = last is not None and segment_number(last, size) * size >= switch
        return not went_on and (self.left[wal.parent or 0] - 1) // size <= (switch - 1) // size

    def successors(self, parent: int) -> list[int]:
        """Return the children that may be what the parent went on as."""
        own = self.own.get(parent, 0.0)
        children = sorted(self.children.get(parent, []))
        return [one for one in children if self.at_the_end(one) or self.newest[one] > own]

    def decide(self, rivals: Sequence[int]) -> int | None:
        """Return the branch with the newest base backup; None where that says nothing.

        It says nothing if there is none, and where a branch without any left at the parent's very end, but the one with
        the base backup left earlier: the one may be a promotion of today, the other a drill.
        """
        if len(rivals) == 1:
            return rivals[0]
        best = max(rivals, key=lambda rival: self.newest[rival])
        others = [rival for rival in rivals if rival != best]
        if not self.newest[best] or any(self.newest[rival] == self.newest[best] for rival in others):
            return None
        fresh = any(not self.newest[rival] and self.at_the_end(rival) for rival in others)
        return None if fresh and not self.at_the_end(best) else best
