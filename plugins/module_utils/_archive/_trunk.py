# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which timeline is the cluster's own, and which an old drill or another server has left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .._host import _times
from .._postgres._wal import segment_number
from .._walg import _backups
from .._walg._backups import Backup
from .._walg._inventory import Inventory
from . import _wal_path
from ._recoverable import windows


@dataclass(frozen=True)
class Trunk:
    """The timeline that "latest" follows. ``timeline`` None: it can't be told; ``candidates`` are those in question.

    ``orphans``: timelines that the way to it does not pass: old drills, abandoned branches.
    """

    timeline: int | None
    candidates: tuple[int, ...]
    orphans: tuple[int, ...]
    reason: str


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
        start = _wal_path.line(newest[0].timeline, archive)[0].timeline
    tree = _Tree(archive, counting)
    now, reason = start, "no timeline that continues left it"
    while True:
        rivals = [one for one in tree.successors(now) if one > left]
        if not rivals:
            break
        chosen = tree.decide(rivals)
        if chosen is None:
            names = ", ".join(str(rival) for rival in rivals)
            return Trunk(
                None, tuple(rivals), (), f"timelines {names} left timeline {now}, and nothing shows which one continues"
            )
        now, reason = chosen, f"timeline {now} went over to it"
    on_the_way = {leg.timeline for leg in _wal_path.line(now, archive)}
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
            when = _times.moment(backup.finish_time).timestamp()
            self.own[backup.timeline] = max(self.own.get(backup.timeline, 0.0), when)
        for timeline in sorted(archive.timelines, reverse=True):  # children come before their parents
            wal = archive.timelines[timeline]
            self.newest[timeline] = max(self.newest.get(timeline, 0.0), self.own.get(timeline, 0.0))
            if wal.parent is not None and wal.switch_lsn is not None and wal.parent < timeline:
                self.children.setdefault(wal.parent, []).append(timeline)
                self.left[wal.parent] = max(self.left.get(wal.parent, 0), wal.switch_lsn)
                self.newest[wal.parent] = max(self.newest.get(wal.parent, 0.0), self.newest[timeline])

    def at_the_end(self, child: int) -> bool:
        """Say whether nothing shows that the parent continued to another segment after the child had left it.

        What shows it is a segment in the storage, or another child that left in a later one.
        """
        wal, size = self.archive.timelines[child], self.archive.segment_size
        switch, last = wal.switch_lsn or 0, self.archive.last(wal.parent or 0)
        went_on = last is not None and segment_number(last, size) * size >= switch
        return not went_on and (self.left[wal.parent or 0] - 1) // size <= (switch - 1) // size

    def successors(self, parent: int) -> list[int]:
        """Return the children that may be what the parent continued as."""
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
