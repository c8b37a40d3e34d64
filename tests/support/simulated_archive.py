# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive that lives in memory, segment by segment: what is archived, lost, promoted, restored and deleted in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ansible_collections.mapswipe.walg.plugins.module_utils._archive._notes import BackupNote, Notes
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _retention
from ansible_collections.mapswipe.walg.plugins.module_utils._backup._keep import Known
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import Retention
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._backups import Backup
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._inventory import Inventory, TimelineWal
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._objects import Object

SIZE = 16 * 1024 * 1024
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_DAY = 86400.0


def name(timeline: int, number: int) -> str:
    """A segment's name."""
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def clock(day: float) -> str:
    """What a clock says so many days after the beginning."""
    return (_BEGIN + timedelta(days=day)).isoformat()


@dataclass
class Taken:
    """A base backup as it truly is; ``first`` and ``last``: numbers of its segments; ``day``: when it truly ended."""

    backup: Backup
    first: int
    last: int
    day: float
    base: str | None
    objects: list[str] = field(default_factory=list)


@dataclass
class Archive:
    """The server is on ``timeline`` and writes the segment ``at``; ``day`` is the true time, its clock is ahead by ``ahead`` days."""

    timeline: int = 1
    at: int = 1
    day: float = 0.0
    ahead: float = 0.0
    wal: dict[tuple[int, int], float] = field(default_factory=dict)
    left: dict[int, tuple[int, int]] = field(default_factory=dict)  # parent and LSN, by timeline: the truth
    known: set[int] = field(default_factory=lambda: {1})  # timelines whose history is archived
    taken: dict[str, Taken] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)

    def write(self, segments: int, lost: bool = False) -> None:
        """Archive segments; of those that are lost none arrives."""
        for _turn in range(segments):
            if not lost:
                self.wal[self.timeline, self.at] = self.day
            self.at += 1

    def take(self, *, delta: bool, segments: int, corrupt: bool, permanent: bool) -> None:
        """Take a base backup. It begins in a new segment, as PostgreSQL sees to it."""
        self.write(1)
        first, last = self.at, self.at + segments
        mine = [one for one in self.taken.values() if self.reach(one, self.timeline)]
        base = max(mine, key=lambda one: one.last) if delta and mine else None
        title = f"base_{name(self.timeline, first)}"
        title += f"_D_{base.backup.name.split('_')[1]}" if base else ""
        self.write(segments + 1)
        said = clock(self.day + self.ahead)
        backup = Backup(
            title, said, said, first * SIZE + 40, last * SIZE + 256, "7", 140000, "/d", "h", 1, 1, permanent
        )
        self.taken[title] = Taken(backup, first, last, self.day, base.backup.name if base else None)
        while base and permanent:  # as WAL-G does
            base.backup = Backup(**{**vars(base.backup), "permanent": True})
            base = self.taken.get(base.base or "")
        if corrupt:
            self.notes = self.notes.with_backup(title, BackupNote(None, {"base/1/1": 2}))

    def promote(self, known: bool = True) -> None:
        """Go over to a new timeline within the segment that is written."""
        self._branch(self.timeline, self.at, known)

    def restore(self, choice: int, where: int, known: bool = True) -> None:
        """Restore one base backup to a point that can be reached from it, and continue from there."""
        ways = [(one, line) for one in self.taken.values() for line in self.lines() if self.reach(one, line)]
        if ways:
            one, line = ways[choice % len(ways)]
            end = self.reach(one, line) or 0
            number = one.last + where % (end - one.last)
            self._branch(self.on(line, number), number, known)

    def _branch(self, parent: int, number: int, known: bool) -> None:
        self.timeline, self.at = max(self.lines()) + 1, number
        self.left[self.timeline] = (parent, number * SIZE + 512)
        if known and parent in self.known:
            self.known.add(self.timeline)

    def lines(self) -> list[int]:
        """All timelines that there ever were."""
        return [1, *self.left]

    def legs(self, timeline: int) -> list[tuple[int, int]]:
        """The true way to a timeline: each with the LSN where it began."""
        found = [(timeline, self.left[timeline][1] if timeline in self.left else 0)]
        while found[0][0] in self.left:
            parent = self.left[found[0][0]][0]
            found.insert(0, (parent, self.left[parent][1] if parent in self.left else 0))
        return found

    def on(self, line: int, number: int) -> int:
        """The timeline from which a recovery along a line reads a segment."""
        found = self.legs(line)[0][0]
        for timeline, begin in self.legs(line):
            if begin // SIZE <= number:
                found = timeline
        return found

    def whole(self, one: Taken) -> bool:
        """Say whether all that it is based on is there."""
        while one.base is not None:
            if one.base not in self.taken:
                return False
            one = self.taken[one.base]
        return True

    def reach(self, one: Taken, line: int) -> int | None:
        """The number after the last segment that a recovery along a line reads; None if it can't be restored along it."""
        legs = self.legs(line)
        places = [place for place, (timeline, _begin) in enumerate(legs) if timeline == one.backup.timeline]
        later = [begin for _timeline, begin in legs[places[0] + 1 :]] if places else []
        if not places or not self.whole(one) or any(begin < one.backup.finish_lsn for begin in later):
            return None
        number = one.first
        while (self.on(line, number), number) in self.wal:
            number += 1
        return number if number > one.last else None

    def inventory(self) -> Inventory:
        """What WAL-G's listing makes of it, with the ancestors that history files name."""
        found: dict[int, TimelineWal] = {}
        numbers: dict[int, list[int]] = {}
        for timeline, number in self.wal:
            numbers.setdefault(timeline, []).append(number)
        for timeline, there in numbers.items():
            first, last = min(there), max(there)
            missing = frozenset(name(timeline, one) for one in set(range(first, last)) - set(there))
            found[timeline] = TimelineWal(timeline, name(timeline, first), name(timeline, last), missing=missing)
        for timeline in sorted(self.left, reverse=True):  # children come before their parents
            if timeline in found and timeline in self.known:
                parent, switch = self.left[timeline]
                one = found[timeline]
                found[timeline] = TimelineWal(timeline, one.start, one.end, parent, switch, one.missing)
                found.setdefault(parent, TimelineWal(parent, "", ""))
        return Inventory(found, SIZE)

    def objects(self) -> tuple[list[Object], list[Object]]:
        """What is in WAL-G's two folders."""
        begin = _BEGIN.timestamp()
        wal = [Object(f"{name(*key)}.lz4", 100, begin + day * _DAY) for key, day in self.wal.items()]
        wal += [Object(f"{one:08X}.history.lz4", 10, begin) for one in self.known]
        files = []
        for title, one in self.taken.items():
            rests = (_retention.SENTINEL, "/metadata.json", "/tar_partitions/part_001.tar.lz4")
            one.objects = [f"basebackups_005/{title}{rest}" for rest in rests]
            files += [Object(f"{title}{rest}", 50, begin + one.day * _DAY) for rest in rests]
        return wal, files

    def plan(self, policy: Retention) -> _retention.Plan:
        """Plan what goes, with a clock that is right today."""
        wal, files = self.objects()
        written = {title: _BEGIN.timestamp() + one.day * _DAY for title, one in self.taken.items()}
        known = Known(
            [one.backup for one in self.taken.values()], self.inventory(), [self.timeline], written, self.notes
        )
        return _retention.plan(policy, known, wal, files, _BEGIN + timedelta(days=self.day))

    def delete(self, plan: _retention.Plan, most: int = 10**9) -> None:
        """Do what a plan says, up to ``most`` objects of it: then the run is killed."""
        every = [one for drop in (*plan.drop, *plan.leftovers) for one in drop.objects]
        for path in [*every, *plan.wal][:most]:
            folder, _slash, rest = path.partition("/")
            if folder == "wal_005":
                digits = rest[:24]
                del self.wal[int(digits[:8], 16), int(digits[8:16], 16) * 256 + int(digits[16:], 16)]
            elif rest.endswith(_retention.SENTINEL):
                del self.taken[rest[: -len(_retention.SENTINEL)]]
