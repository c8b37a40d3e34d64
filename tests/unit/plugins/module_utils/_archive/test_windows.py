# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recoverable windows and the trunk: tables written by hand, and random histories against a model that goes segment by segment."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import (
    _choose_backup,
    _recoverable,
    _trunk,
    _wal_path,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._recoverable import Bound, Window
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._trunk import Trunk
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._wal_path import Leg
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._wal import format_lsn
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _backups
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._backups import Backup
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._inventory import Inventory, TimelineWal
from hypothesis import given, settings
from hypothesis import strategies as st

SIZE = 16 * 1024 * 1024


def name(timeline: int, number: int) -> str:
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def wal(
    timeline: int, first: int, last: int, parent: int | None = None, switch: int | None = None, *lost: int
) -> TimelineWal:
    missing = frozenset(name(timeline, number) for number in lost)
    return TimelineWal(timeline, name(timeline, first), name(timeline, last), parent, switch, missing)


def stored(*timelines: TimelineWal) -> Inventory:
    return Inventory({one.timeline: one for one in timelines})


def clock(hour: float) -> str:
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour)).isoformat()


def base(timeline: int, number: int, hour: float | None = None, *, segments: int = 0, on: str = "") -> Backup:
    """A backup that begins in segment ``number`` and ends ``segments`` later; an hour is the number unless given."""
    return Backup(
        f"base_{name(timeline, number)}" + (f"_D_{on}" if on else ""),
        clock(0),
        clock(number if hour is None else hour),
        number * SIZE + 40,
        (number + segments) * SIZE + 256,
        "7",
        140023,
        "/d",
        "h",
        10,
        1,
        False,
    )


def brief(found: list[Window]) -> list[tuple[int, int, int, int, str | None]]:
    """(timeline, first segment, number after the last, backups, missing)"""
    return [(one.timeline, one.first.lsn // SIZE, one.last.lsn // SIZE, len(one.backups), one.missing) for one in found]


PROMOTED = 5 * SIZE + 160
TABLE = [
    # (what, backups, archive, windows as (timeline, first, after, backups, missing))
    ("nothing at all", [], stored(), []),
    ("WAL without a base backup", [], stored(wal(1, 1, 6)), []),
    ("a base backup without WAL", [base(1, 2)], stored(), []),
    ("one of each", [base(1, 2)], stored(wal(1, 1, 6)), [(1, 2, 7, 1, None)]),
    ("the backup's segment is the last", [base(1, 2)], stored(wal(1, 2, 2)), [(1, 2, 3, 1, None)]),
    ("its first segment is missing", [base(1, 2, segments=2)], stored(wal(1, 3, 6)), []),
    ("its last segment is missing", [base(1, 2, segments=2)], stored(wal(1, 1, 9, None, None, 4)), []),
    ("its last segment is not there yet", [base(1, 2, segments=2)], stored(wal(1, 1, 3)), []),
    (
        "a gap, and nothing after it",
        [base(1, 2)],
        stored(wal(1, 1, 9, None, None, 5, 6)),
        [(1, 2, 5, 1, name(1, 5))],
    ),
    (
        "a gap, and a base backup after it",
        [base(1, 2), base(1, 3), base(1, 7)],
        stored(wal(1, 1, 9, None, None, 5)),
        [(1, 2, 5, 2, name(1, 5)), (1, 7, 10, 1, None)],
    ),
    (
        "a gap within a base backup: it opens nothing, the next one does",
        [base(1, 2), base(1, 4, segments=2), base(1, 8)],
        stored(wal(1, 1, 9, None, None, 5)),
        [(1, 2, 5, 1, name(1, 5)), (1, 8, 10, 1, None)],
    ),
    (
        "WAL between two gaps without a base backup is no window",
        [base(1, 2), base(1, 9)],
        stored(wal(1, 1, 9, None, None, 4, 7)),
        [(1, 2, 4, 1, name(1, 4)), (1, 9, 10, 1, None)],
    ),
    (
        "a promotion: the parent's last segment is only .partial, the child's copy of it is read",
        [base(1, 2)],
        stored(wal(1, 1, 4), wal(2, 5, 8, 1, PROMOTED)),
        [(1, 2, 5, 1, None), (2, 2, 9, 1, None)],
    ),
    (
        "a backup that ended in the segment of the switch: on its own timeline it has no WAL",
        [base(1, 4, segments=1)],
        stored(wal(1, 1, 4), wal(2, 5, 8, 1, PROMOTED + 4096)),
        [(2, 5, 9, 1, None)],
    ),
    (
        "a backup of the parent from after the switch counts for the parent alone",
        [base(1, 6)],
        stored(wal(1, 1, 9), wal(2, 5, 8, 1, PROMOTED)),
        [(1, 6, 10, 1, None)],
    ),
    (
        "the segment of the switch never arrived on the child",
        [base(1, 2), base(2, 7)],
        stored(wal(1, 1, 5), wal(2, 6, 8, 1, PROMOTED)),
        [(1, 2, 6, 1, None), (2, 7, 9, 1, None)],
    ),
    (
        "a gap on the parent before the switch",
        [base(1, 2), base(2, 6)],
        stored(wal(1, 1, 4, None, None, 3), wal(2, 5, 8, 1, PROMOTED)),
        [(1, 2, 3, 1, name(1, 3)), (2, 6, 9, 1, None)],
    ),
    (
        "what the parent lacks after the switch is no gap of the child",
        [base(1, 2)],
        stored(wal(1, 1, 9, None, None, 6), wal(2, 5, 8, 1, PROMOTED)),
        [(1, 2, 6, 1, name(1, 6)), (2, 2, 9, 1, None)],
    ),
    (
        "a history that is not in the archive: own backups alone",
        [base(1, 2), base(4, 7)],
        stored(wal(1, 1, 5), wal(4, 6, 8)),
        [(1, 2, 6, 1, None), (4, 7, 9, 1, None)],
    ),
    (
        "a timeline that is its own parent is followed nowhere",
        [base(2, 6)],
        stored(wal(2, 5, 8, 2, PROMOTED)),
        [(2, 6, 9, 1, None)],
    ),
    (
        "a delta whose base is missing opens nothing",
        [base(1, 4, on=name(1, 2))],
        stored(wal(1, 1, 6)),
        [],
    ),
    (
        "a delta needs its base's files, not its base's WAL",
        [base(1, 2), base(1, 4, on=name(1, 2))],
        stored(wal(1, 4, 6)),
        [(1, 4, 7, 1, None)],
    ),
    (
        "two deltas that rest on each other",
        [base(1, 3, on=name(1, 4)), base(1, 4, on=name(1, 3))],
        stored(wal(1, 1, 6)),
        [],
    ),
]


@pytest.mark.parametrize(
    ("backups", "archive", "expected"), [row[1:] for row in TABLE], ids=[row[0].replace(" ", "-") for row in TABLE]
)
def test_windows(
    backups: list[Backup], archive: Inventory, expected: list[tuple[int, int, int, int, str | None]]
) -> None:
    assert brief(_recoverable.windows(backups, archive)) == expected
    assert brief(_recoverable.windows(backups[::-1], archive)) == expected


def test_bounds_say_what_is_known() -> None:
    archive = stored(wal(1, 1, 4), wal(2, 5, 8, 1, PROMOTED))
    found = _recoverable.windows([base(1, 2)], archive, {name(1, 4): clock(30), name(2, 8): clock(40)})
    assert [one.last for one in found] == [Bound(1, 5 * SIZE, clock(30)), Bound(2, 9 * SIZE, clock(40))]
    assert [one.first for one in found] == [Bound(1, 2 * SIZE + 256, clock(2), True, True)] * 2
    assert _recoverable.windows([base(1, 2)], archive)[0].last.time is None


def test_windows_of_one_timeline_include_those_that_end_before_it() -> None:
    archive = stored(wal(1, 1, 4, None, None, 3), wal(2, 5, 8, 1, PROMOTED), wal(3, 8, 9, 1, PROMOTED))
    backups = [base(1, 2), base(2, 6)]
    assert brief(_recoverable.windows(backups, archive, None, [2])) == [(2, 2, 3, 1, name(1, 3)), (2, 6, 9, 1, None)]
    assert brief(_recoverable.windows(backups, archive, None, [3])) == [(3, 2, 3, 1, name(1, 3))]
    assert brief(_recoverable.windows(backups, archive, None, [9])) == []


def test_why_a_backup_cant_be_restored() -> None:
    backups = [
        base(1, 2, segments=2),
        base(1, 6),
        base(1, 7, on=name(1, 5)),
        base(1, 8, on=name(1, 7)),
        base(3, 9),
        Backup("base_" + name(1, 9), "", "", 0, 0, "7", 0, "", "", 0, 0, False),
    ]
    archive = stored(wal(1, 1, 9, None, None, 3))
    found = _recoverable.windows(backups, archive)
    lost = f"it is a delta, and its chain lacks base_{name(1, 5)}, which is not in the storage"
    assert _recoverable.unrestorable(backups, archive, found) == {
        backups[0].name: f"of its own WAL, {name(1, 2)} to {name(1, 4)}, {name(1, 3)} is not in the storage",
        backups[2].name: lost,
        backups[3].name: lost,
        backups[4].name: f"of its own WAL, {name(3, 9)}, {name(3, 9)} is not in the storage",
        backups[5].name: "its record does not show where it ends",
    }


WINDOW = Window(
    1, Bound(1, 2 * SIZE + 256, clock(2), True, True), Bound(1, 5 * SIZE, clock(5)), ("base_" + name(1, 2),), SIZE
)
READ = Window(1, WINDOW.first, Bound(1, 5 * SIZE - 800, clock(4.9), True, True), WINDOW.backups, SIZE)
TIMELESS = Window(1, Bound(1, 40, None, True), Bound(1, SIZE), WINDOW.backups, SIZE)


@pytest.mark.parametrize(
    ("window", "target", "place"),
    [
        (WINDOW, 0, "below"),
        (WINDOW, 2 * SIZE + 255, "below"),
        (WINDOW, 2 * SIZE + 256, "inside"),
        (WINDOW, 4 * SIZE, "inside"),
        (WINDOW, 4 * SIZE + 1, "unknown"),
        (WINDOW, 5 * SIZE - 1, "unknown"),
        (WINDOW, 5 * SIZE, "above"),  # no record begins at the end of the last segment
        (WINDOW, 5 * SIZE + 1, "above"),
        (READ, 5 * SIZE - 800, "inside"),
        (READ, 5 * SIZE - 799, "above"),
        (WINDOW, clock(1), "below"),
        (WINDOW, clock(2), "unknown"),
        (WINDOW, clock(4), "unknown"),
        (WINDOW, clock(6), "unknown"),
        (READ, clock(4), "inside"),
        (READ, clock(4.9), "unknown"),
        (READ, clock(5), "above"),
        (READ, "2026-01-01T06:00:00+02:00", "inside"),
        (TIMELESS, clock(4), "unknown"),
        (TIMELESS, 40, "inside"),
        (TIMELESS, 41, "unknown"),
    ],
)
def test_place_of_a_target(window: Window, target: int | str, place: str) -> None:
    assert window.place(target) == place


def test_nearest_points() -> None:
    archive = stored(wal(1, 1, 12, None, None, 5, 9))
    times = {name(1, number): clock(number + 0.9) for number in range(1, 13)}
    one, two, three = _recoverable.windows([base(1, 2), base(1, 7), base(1, 11)], archive, times)
    found = [two, three, one]
    assert _recoverable.nearest(found, 6 * SIZE) == (one.last, two.first)
    assert _recoverable.nearest(found, 10 * SIZE) == (two.last, three.first)
    assert _recoverable.nearest(found, SIZE) == (None, one.first)
    assert _recoverable.nearest(found, 99 * SIZE) == (three.last, None)
    assert _recoverable.nearest(found, clock(6)) == (one.last, two.first)
    assert _recoverable.nearest(found, clock(1)) == (None, one.first)
    assert _recoverable.nearest(found, clock(99)) == (three.last, None)
    assert _recoverable.nearest([], 6 * SIZE) == (None, None)
    assert _recoverable.nearest(_recoverable.windows([base(1, 2)], archive), clock(9)) == (
        None,
        None,
    )  # no upload times


def test_line() -> None:
    archive = stored(wal(1, 1, 4), wal(2, 5, 8, 1, PROMOTED), wal(3, 8, 9, 2, 8 * SIZE), wal(9, 1, 2))
    assert _wal_path.line(3, archive) == [Leg(1, 0, PROMOTED), Leg(2, PROMOTED, 8 * SIZE), Leg(3, 8 * SIZE, None)]
    assert _wal_path.line(9, archive) == [Leg(9, 0, None)]
    assert _wal_path.line(12, archive) == [Leg(12, 0, None)]


ONE = base(1, 2)
TRUNKS = [
    # (what, archive, backups, owner's timeline, trunk, candidates, orphans)
    ("nothing", stored(), [], None, None, (), ()),
    ("WAL without backups", stored(wal(1, 1, 4)), [], None, None, (1,), ()),
    ("one timeline", stored(wal(1, 1, 4)), [ONE], None, 1, (1,), ()),
    ("a promotion without a backup yet", stored(wal(1, 1, 4), wal(2, 5, 8, 1, PROMOTED)), [ONE], None, 2, (2,), ()),
    (
        "a promotion, the parent's last segment complete",
        stored(wal(1, 1, 5), wal(2, 5, 8, 1, PROMOTED)),
        [ONE],
        None,
        2,
        (2,),
        (),
    ),
    (
        "a promotion at a segment's beginning",
        stored(wal(1, 1, 4), wal(2, 5, 8, 1, 5 * SIZE)),
        [ONE],
        None,
        2,
        (2,),
        (),
    ),
    (
        "a drill at a segment's beginning, the parent has that segment too",
        stored(wal(1, 1, 5), wal(2, 5, 8, 1, 5 * SIZE)),
        [ONE],
        None,
        1,
        (1,),
        (2,),
    ),
    ("a drill that archived", stored(wal(1, 1, 9), wal(2, 5, 8, 1, PROMOTED)), [ONE], None, 1, (1,), (2,)),
    (
        "a drill that was backed up, then the parent again",
        stored(wal(1, 1, 9), wal(2, 5, 8, 1, PROMOTED)),
        [ONE, base(2, 6), base(1, 7)],
        None,
        1,
        (1,),
        (2,),
    ),
    (
        "a restore to an earlier point: the parent's future is abandoned",
        stored(wal(1, 1, 9), wal(2, 5, 8, 1, PROMOTED)),
        [ONE, base(1, 7, 7), base(2, 6, 20)],
        None,
        2,
        (2,),
        (),
    ),
    (
        "the newest backup can't be restored and does not count",
        stored(wal(1, 1, 9), wal(2, 5, 8, 1, PROMOTED, 6)),
        [ONE, base(1, 7, 7), base(2, 6, 20)],
        None,
        1,
        (1,),
        (2,),
    ),
    (
        "the owner is on the child: its backups don't matter",
        stored(wal(1, 1, 9), wal(2, 5, 8, 1, PROMOTED)),
        [ONE, base(1, 7)],
        2,
        2,
        (2,),
        (),
    ),
    (
        "the owner was promoted since",
        stored(wal(1, 1, 4), wal(2, 5, 7, 1, PROMOTED), wal(3, 8, 9, 2, 8 * SIZE + 8), wal(4, 6, 7, 2, 6 * SIZE + 8)),
        [ONE],
        2,
        3,
        (3,),
        (4,),
    ),
    ("nothing of the owner's timeline has arrived", stored(wal(1, 1, 4)), [ONE], 5, 1, (1,), ()),
    (
        "two children at the end, neither with a backup",
        stored(wal(1, 1, 4), wal(2, 5, 8, 1, PROMOTED), wal(3, 5, 6, 1, PROMOTED + 80)),
        [ONE],
        None,
        None,
        (2, 3),
        (),
    ),
    (
        "of two children without a backup one left later: the parent had gone on after the other",
        stored(wal(1, 1, 5), wal(2, 5, 8, 1, PROMOTED), wal(3, 6, 6, 1, 6 * SIZE + 80)),
        [ONE],
        None,
        3,
        (3,),
        (2,),
    ),
    (
        "a drill left at the end of a segment, the promotion came within the next",
        stored(wal(1, 1, 4), wal(2, 5, 8, 1, 5 * SIZE), wal(3, 5, 6, 1, 5 * SIZE + 80)),
        [ONE],
        None,
        3,
        (3,),
        (2,),
    ),
    (
        "two children at the end, one with a backup",
        stored(wal(1, 1, 4), wal(2, 5, 8, 1, PROMOTED), wal(3, 5, 6, 1, PROMOTED + 80)),
        [ONE, base(2, 7)],
        None,
        2,
        (2,),
        (3,),
    ),
    (
        "a backup on a child's child",
        stored(
            wal(1, 1, 4),
            wal(2, 5, 8, 1, PROMOTED),
            wal(3, 5, 6, 1, PROMOTED + 80),
            wal(4, 7, 9, 3, 7 * SIZE + 8),
        ),
        [ONE, base(4, 8)],
        None,
        4,
        (4,),
        (2,),
    ),
    (
        "a child at the end without a backup, and one from before with: a promotion of today and a drill look like this",
        stored(wal(1, 1, 6), wal(2, 5, 8, 1, PROMOTED), wal(3, 7, 9, 1, 7 * SIZE + 8)),
        [ONE, base(2, 7)],
        None,
        None,
        (2, 3),
        (),
    ),
    (
        "the parent's WAL is deleted, an old drill of it is not",
        stored(wal(2, 5, 8, 1, PROMOTED), wal(3, 4, 5, 1, 4 * SIZE + 8)),
        [base(2, 6)],
        None,
        2,
        (2,),
        (3,),
    ),
    ("a timeline without a history", stored(wal(1, 1, 6), wal(7, 5, 8)), [ONE], None, 1, (1,), (7,)),
]


@pytest.mark.parametrize(
    ("archive", "backups", "owner", "timeline", "candidates", "orphans"),
    [row[1:] for row in TRUNKS],
    ids=[row[0].replace(" ", "-") for row in TRUNKS],
)
def test_trunk(
    archive: Inventory,
    backups: list[Backup],
    owner: int | None,
    timeline: int | None,
    candidates: tuple[int, ...],
    orphans: tuple[int, ...],
) -> None:
    found = _trunk.trunk(archive, backups, owner)
    assert found == Trunk(timeline, candidates, orphans, found.reason)
    assert found.reason


# --- random histories -----------------------------------------------------------------------------------------------


@dataclass
class Simulated:
    """A cluster that writes, is backed up, promoted, drilled and restored; LSNs in eighths of a segment."""

    draw: st.DataObject
    hour: int = 0
    production: int = 1
    spans: dict[int, list[int]] = field(default_factory=lambda: {1: [8, 8]})  # first LSN, next LSN
    parents: dict[int, tuple[int, int]] = field(default_factory=dict)
    lost: dict[int, set[int]] = field(default_factory=dict)
    backups: list[Backup] = field(default_factory=list)

    def number(self, low: int, high: int) -> int:
        return self.draw.draw(st.integers(low, high))

    def write(self, timeline: int, eighths: int) -> None:
        self.spans[timeline][1] += eighths

    def back_up(self, timeline: int) -> None:
        self.hour += 1
        start = self.spans[timeline][1]
        self.write(timeline, self.number(1, 20))
        finish = self.spans[timeline][1]
        self.write(timeline, 8 - finish % 8)  # PostgreSQL switches WAL at the end, so that it can be archived
        on = ""
        mine = [one for one in self.backups if one.timeline == timeline]
        if mine and self.number(0, 2) == 0:
            on = mine[-1].name.split("_")[1]
        row = base(timeline, start // 8, self.hour, on=on)
        start_lsn, finish_lsn = start * SIZE // 8, finish * SIZE // 8
        self.backups.append(
            Backup(row.name, row.start_time, row.finish_time, start_lsn, finish_lsn, "7", 140023, "", "", 0, 0, False)
        )

    def leave(self, timeline: int, at: int) -> int:
        new = max(self.spans) + 1
        self.parents[new] = (timeline, at)
        self.spans[new] = [at, at]
        self.write(new, 8 - at % 8)
        return new

    def archive(self) -> Inventory:
        """What has been archived: whole segments, the first one as a copy of the parent's."""
        found = {}
        for timeline, (first, after) in self.spans.items():
            numbers = [one for one in range(first // 8, after // 8) if one not in self.lost.get(timeline, ())]
            if numbers:
                parent, at = self.parents.get(timeline, (None, 0))
                gone = set(range(numbers[0], numbers[-1])) - set(numbers)
                switch = at * SIZE // 8 if parent else None
                found[timeline] = wal(timeline, numbers[0], numbers[-1], parent, switch, *gone)
        return Inventory(found)


def model(timeline: int, backups: list[Backup], archive: Inventory) -> set[tuple[int, int]]:
    """(first LSN, last LSN) of the windows of a timeline, segment by segment."""

    def read_from(number: int) -> int:
        now = timeline
        while now in archive.timelines:
            wal_of = archive.timelines[now]
            if not wal_of.parent or number >= (wal_of.switch_lsn or 0) // SIZE:
                return now
            now = wal_of.parent
        return now

    def there(number: int) -> bool:
        return archive.has(name(read_from(number), number))

    line = {timeline: 2**64}
    now = timeline
    while now in archive.timelines and archive.timelines[now].parent:
        line[archive.timelines[now].parent or 0] = archive.timelines[now].switch_lsn or 0
        now = archive.timelines[now].parent or 0
    names = {one.name.split("_")[1]: one for one in backups}
    ends: dict[int, int] = {}
    for backup in backups:
        base_of = backup
        while base_of.delta:
            base_of = names[base_of.name.rpartition("_D_")[2]]
        if backup.finish_lsn > line.get(backup.timeline, -1):
            continue
        if not all(there(number) for number in range(backup.start_lsn // SIZE, (backup.finish_lsn - 1) // SIZE + 1)):
            continue
        number = backup.start_lsn // SIZE
        while there(number):
            number += 1
        ends[number] = min(ends.get(number, 2**64), backup.finish_lsn)
    return {(first, after * SIZE) for after, first in ends.items()}


EVENTS = ("write", "back up", "promote", "promote and back up", "drill", "restore", "lose")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(EVENTS), max_size=14), st.data())
def test_windows_of_random_histories(events: list[str], data: st.DataObject) -> None:
    world = simulate(events, data)
    archive = world.archive()
    found = _recoverable.windows(world.backups, archive, None, sorted(archive.timelines))
    own = _recoverable.windows(world.backups, archive)
    assert own == [one for one in found if one.last.timeline == one.timeline]
    for timeline in archive.timelines:
        mine = [one for one in found if one.timeline == timeline]
        assert {(one.first.lsn, one.last.lsn) for one in mine} == model(timeline, world.backups, archive)
        assert mine == sorted(mine, key=lambda one: one.first.lsn)
    refused = _recoverable.unrestorable(world.backups, archive, own)
    assert {one.name for one in world.backups} == {name for one in found for name in one.backups} | set(refused)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(EVENTS[:-1]), max_size=14), st.data())
def test_trunk_of_random_histories(events: list[str], data: st.DataObject) -> None:
    """It is production, whatever drills left behind; where a promotion was never backed up it may be undecided, never wrong."""
    world = simulate(events, data)
    archive = world.archive()
    found = _trunk.trunk(archive, world.backups)
    if "promote" in events and found.timeline is None:
        assert set(found.candidates) & {leg.timeline for leg in _wal_path.line(world.production, archive)}
    else:
        assert found.timeline == world.production
        passed = {leg.timeline for leg in _wal_path.line(world.production, archive)}
        assert set(found.orphans) == set(archive.timelines) - passed
    assert _trunk.trunk(archive, world.backups, world.production).timeline == world.production


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(EVENTS), max_size=14), st.integers(-1, 1), st.data())
def test_a_base_backup_is_chosen_exactly_where_a_window_holds_the_target(
    events: list[str], beside: int, data: st.DataObject
) -> None:
    """What walg_backup_info shows and what walg_restore does are one answer."""
    world = simulate(events, data)
    archive = world.archive()
    timeline = data.draw(st.sampled_from([*sorted(archive.timelines), 99]))
    highest = max((after for _first, after in world.spans.values()), default=8)
    lsn = max(data.draw(st.integers(0, highest + 9)) * SIZE // 8 + beside, 0)
    found = _recoverable.windows(world.backups, archive, None, [timeline])
    holding = [one for one in found if one.place(lsn) in ("inside", "unknown")]
    view = _choose_backup.ArchiveView("file:///s", _backups.newest_first(world.backups), archive)
    try:
        chosen = _choose_backup.pick(view, Target("lsn", format_lsn(lsn)), timeline).backup
    except WalgError:
        assert holding == []
        return
    (window,) = holding
    ends = {one.name: one.finish_lsn for one in world.backups if one.name in window.backups}
    assert chosen.finish_lsn == max(end for end in ends.values() if end <= lsn)
    assert chosen.name in ends


def test_a_backup_that_ended_in_the_segment_of_a_promotion() -> None:
    """The old timeline's copy of that segment was never archived whole; recovery reads the new one's."""
    archive = stored(wal(1, 1, 4), wal(2, 5, 8, 1, 5 * SIZE + 800))
    made = base(1, 4, segments=1)
    view = _choose_backup.ArchiveView("file:///s", [made], archive)
    assert _choose_backup.pick(view, Target(), 2).backup == made
    assert brief(_recoverable.windows([made], archive, None, [2])) == [(2, 5, 9, 1, None)]
    with pytest.raises(WalgError, match="WAL that each of them needs is missing"):
        _choose_backup.pick(view, Target(), 1)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(EVENTS), max_size=14), st.sampled_from(["latest", "immediate"]), st.data())
def test_without_a_point_it_is_a_backup_of_the_last_window(events: list[str], kind: str, data: st.DataObject) -> None:
    world = simulate(events, data)
    archive = world.archive()
    timeline = data.draw(st.sampled_from([*sorted(archive.timelines), 99]))
    found = _recoverable.windows(world.backups, archive, None, [timeline])
    view = _choose_backup.ArchiveView("file:///s", _backups.newest_first(world.backups), archive)
    told = ""
    try:
        chosen = _choose_backup.pick(view, Target(kind), timeline)
    except WalgError as exc:
        told = exc.msg
    if told:
        assert not found or (kind == "latest" and "The archive has a gap" in told)
        return
    assert chosen.backup.name in found[-1].backups
    assert not _wal_path.gaps(chosen.needed, archive)


def simulate(events: list[str], data: st.DataObject) -> Simulated:
    world = Simulated(data)
    world.back_up(1)
    for event in events:
        now = world.production
        first, after = world.spans[now]
        if event == "write":
            world.write(now, world.number(1, 30))
        elif event == "back up":
            world.back_up(now)
        elif event.startswith("promote"):
            world.production = world.leave(now, after)
            if event == "promote and back up":
                world.back_up(world.production)
        elif event == "drill":
            drill = world.leave(now, world.number(first + 1, after) if after > first else after)
            world.write(drill, world.number(0, 20))
            world.write(now, 16)  # production goes on
        elif event == "restore":
            there = world.number(first + 1, after)
            world.production = world.leave(now, there)
            world.back_up(world.production)
        else:
            timeline = world.draw.draw(st.sampled_from(sorted(world.spans)))
            low, high = world.spans[timeline]
            world.lost.setdefault(timeline, set()).add(world.number(low // 8, max(high // 8 - 1, low // 8)))
    return world
