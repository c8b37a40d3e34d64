# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Segments, LSNs and timelines: arithmetic as in xlog_internal.h, and which WAL a recovery would read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _wal_path
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._wal_path import Leg
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _wal
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _inventory
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._inventory import Inventory, TimelineWal
from hypothesis import given
from hypothesis import strategies as st

DATA = Path(__file__).resolve().parents[3] / "data"
MIB = 1024 * 1024
SIZE = 16 * MIB
SIZES = st.sampled_from([1 << power for power in range(20, 31)])  # 1 MiB to 1 GiB, as initdb --wal-segsize allows
LSNS = st.integers(0, 2**64 - 1)
TIMELINES = st.integers(1, 2**32 - 1)


def name(timeline: int, number: int) -> str:
    """A segment's name by hand: at 16 MiB, 256 segments share the middle eight digits."""
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def wal(
    timeline: int, first: int, last: int, parent: int | None = None, switch: int | None = None, *lost: int
) -> TimelineWal:
    """The WAL of a timeline by segment numbers."""
    missing = frozenset(name(timeline, number) for number in lost)
    return TimelineWal(timeline, name(timeline, first), name(timeline, last), parent, switch, missing)


def stored(*timelines: TimelineWal) -> Inventory:
    return Inventory({one.timeline: one for one in timelines})


@pytest.mark.parametrize(
    ("text", "lsn"),
    [
        ("0/0", 0),
        ("0/3000148", 0x3000148),
        ("1/0", 1 << 32),
        ("16/B374D848", 0x16B374D848),
        ("FFFFFFFF/FFFFFFFF", 2**64 - 1),
        ("a/b", 0xA0000000B),
        (" 0/10\n", 0x10),
    ],
)
def test_lsn(text: str, lsn: int) -> None:
    assert _wal.parse_lsn(text) == lsn
    assert _wal.format_lsn(lsn) == text.strip().upper()


@pytest.mark.parametrize("text", ["", "0", "0/", "/0", "0/123456789", "0-1", "0/G", "1/2/3", "0/ 1", "-1/0", "0x1/0"])
def test_not_an_lsn(text: str) -> None:
    with pytest.raises(WalgError, match="Not an LSN") as caught:
        _wal.parse_lsn(text)
    assert repr(text) in caught.value.msg


@given(LSNS)
def test_lsn_round_trip(lsn: int) -> None:
    assert _wal.parse_lsn(_wal.format_lsn(lsn)) == lsn


@pytest.mark.parametrize(
    ("timeline", "lsn", "size", "expected"),
    [
        (1, 0x2000028, SIZE, "000000010000000000000002"),
        (1, 0x2FFFFFF, SIZE, "000000010000000000000002"),
        (1, 0x3000000, SIZE, "000000010000000000000003"),
        (10, 0xFF000000, SIZE, "0000000A00000000000000FF"),
        (1, 0x100000000, SIZE, "000000010000000100000000"),
        (1, 0xFFF00000, MIB, "000000010000000000000FFF"),
        (1, 0x100000000, MIB, "000000010000000100000000"),
        (1, 0xC0000000, 1024 * MIB, "000000010000000000000003"),
        (1, 0x100000000, 1024 * MIB, "000000010000000100000000"),
    ],
)
def test_segment_of(timeline: int, lsn: int, size: int, expected: str) -> None:
    """What pg_walfile_name says, wrap-around of the last eight digits included."""
    assert _wal.segment_of(timeline, lsn, size) == expected


@given(TIMELINES, LSNS, SIZES)
def test_segment_round_trip(timeline: int, lsn: int, size: int) -> None:
    made = _wal.segment_of(timeline, lsn, size)
    assert _wal.SEGMENT_NAME.match(made)
    assert _wal.timeline_of(made) == timeline
    assert _wal.segment_number(made, size) * size <= lsn < (_wal.segment_number(made, size) + 1) * size
    assert _wal.segment_name(timeline, _wal.segment_number(made, size), size) == made


@given(TIMELINES, st.integers(0, 2**33), SIZES)
def test_names_sort_like_numbers(timeline: int, number: int, size: int) -> None:
    """Inventory.has compares names."""
    assert _wal.segment_name(timeline, number, size) < _wal.segment_name(timeline, number + 1, size)


@pytest.mark.parametrize(
    "given_name",
    [
        "base_0000002A0000000000000004",
        "base_0000002A0000000000000004_D_000000010000000000000002",
        "0000002A0000000000000004",
    ],
)
def test_timeline_of(given_name: str) -> None:
    assert _wal.timeline_of(given_name) == 42


def newest(start: int, consistent: int, start_timeline: int, archive: Inventory) -> list[Leg]:
    """The way to the highest timeline that holds WAL and can be reached; else along the own one."""
    held = sorted(one for one in archive.timelines if archive.last(one))
    ways = (_wal_path.path_to(one, start, consistent, start_timeline, archive) for one in [start_timeline, *held])
    return [way for way in ways if way is not None][-1]


def test_inventory_of_a_recorded_archive() -> None:
    """WAL-G 1.1.3 after a promotion at 0/70000A0."""
    found = _inventory.inventory(json.loads((DATA / "walg-1.1.3" / "wal-show.json").read_text()))
    assert found.timelines == {1: wal(1, 1, 6), 2: wal(2, 7, 8, 1, 0x70000A0)}
    assert found.segment_size == SIZE
    assert newest(0x2000028, 0x2000100, 1, found) == [
        Leg(1, 0x2000028, 0x70000A0),
        Leg(2, 0x70000A0, None),
    ]


def test_inventory_of_a_recorded_archive_with_a_gap() -> None:
    found = _inventory.inventory(json.loads((DATA / "walg-1.1.3" / "wal-show-gap.json").read_text()))
    assert found.timelines[1] == wal(1, 1, 6, None, None, 3)
    assert not found.has(name(1, 3))
    assert _wal_path.gaps(newest(0x2000028, 0x2000100, 1, found), found) == [name(1, 3)]


def test_inventory_without_the_optional_keys() -> None:
    shown = [{"id": 3, "start_segment": name(3, 1), "end_segment": name(3, 2), "missing_segments": None}]
    assert _inventory.inventory(shown, MIB) == Inventory({3: wal(3, 1, 2)}, MIB)


def test_has() -> None:
    archive = stored(wal(1, 2, 5, None, None, 4))
    assert [number for number in range(8) if archive.has(name(1, number))] == [2, 3, 5]
    assert not archive.has(name(2, 3))
    assert archive.last(1) == name(1, 5)
    assert archive.last(2) is None


@pytest.mark.parametrize(
    ("first", "last", "missing"),
    [
        (2 * SIZE, 2 * SIZE, []),
        (2 * SIZE, 4 * SIZE - 1, []),
        (2 * SIZE, 4 * SIZE, [4]),  # the byte at the boundary lies in the next segment
        (4 * SIZE - 1, 5 * SIZE, [4]),
        (SIZE, 2 * SIZE, [1]),
        (5 * SIZE, 7 * SIZE, [6, 7]),
    ],
)
def test_missing_between(first: int, last: int, missing: list[int]) -> None:
    archive = stored(wal(1, 2, 5, None, None, 4))
    legs = _wal_path.cut([Leg(1, first, None)], last, SIZE)
    assert _wal_path.gaps(legs, archive) == [name(1, number) for number in missing]


# --- ways through timelines ---------------------------------------------------------------------------------------

START = 2 * SIZE + 40  # where a base backup in segment 2 of timeline 1 begins

WAYS = [
    # (what, archive, legs as (timeline, first, last), gaps, last listed)
    ("straight line", stored(wal(1, 1, 6)), [(1, START, None)], [], [(1, 6)]),
    ("backup at the start of its segment, which is the last", stored(wal(1, 2, 2)), [(1, START, None)], [], [(1, 2)]),
    (
        "switch inside a segment: the follower's copy is read",
        stored(wal(1, 1, 4), wal(2, 5, 8, 1, 5 * SIZE + 160)),
        [(1, START, 5 * SIZE + 160), (2, 5 * SIZE + 160, None)],
        [],
        [(1, 4), (2, 8)],
    ),
    (
        "switch exactly at a boundary: the parent's last whole segment is still needed",
        stored(wal(1, 1, 4), wal(2, 5, 8, 1, 5 * SIZE)),
        [(1, START, 5 * SIZE), (2, 5 * SIZE, None)],
        [],
        [(1, 4), (2, 8)],
    ),
    (
        "switch in the backup's own segment: nothing of the parent is read",
        stored(wal(1, 1, 1), wal(2, 2, 3, 1, START + 400)),
        [(1, START, START + 400), (2, START + 400, None)],
        [],
        [(2, 3)],
    ),
    (
        "timeline that left before the backup is not followed",
        stored(wal(1, 1, 6), wal(2, 1, 9, 1, SIZE + 8)),
        [(1, START, None)],
        [],
        [(1, 6)],
    ),
    ("orphan timeline without a history", stored(wal(1, 1, 6), wal(7, 1, 9)), [(1, START, None)], [], [(1, 6)]),
    (
        "history file of the timeline in between is missing",
        stored(wal(1, 1, 6), wal(3, 6, 9, 2, 6 * SIZE + 8)),
        [(1, START, None)],
        [],
        [(1, 6)],
    ),
    (
        "a timeline that is its own parent",
        stored(wal(1, 1, 6), wal(2, 6, 9, 2, 6 * SIZE)),
        [(1, START, None)],
        [],
        [(1, 6)],
    ),
    (
        "two timelines that name each other",
        stored(wal(1, 1, 6), wal(2, 6, 9, 3, 6 * SIZE), wal(3, 6, 9, 2, 6 * SIZE)),
        [(1, START, None)],
        [],
        [(1, 6)],
    ),
    (
        "two promotions",
        stored(wal(1, 1, 3), wal(2, 4, 6, 1, 4 * SIZE + 8), wal(3, 7, 9, 2, 7 * SIZE + 8)),
        [(1, START, 4 * SIZE + 8), (2, 4 * SIZE + 8, 7 * SIZE + 8), (3, 7 * SIZE + 8, None)],
        [],
        [(1, 3), (2, 6), (3, 9)],
    ),
    (
        "two promotions in one segment: only the newest copy of it is read",
        stored(wal(1, 1, 3), wal(2, 4, 4, 1, 4 * SIZE + 8), wal(3, 4, 9, 2, 4 * SIZE + 800)),
        [(1, START, 4 * SIZE + 8), (2, 4 * SIZE + 8, 4 * SIZE + 800), (3, 4 * SIZE + 800, None)],
        [],
        [(1, 3), (3, 9)],
    ),
    (
        "of two children the younger is followed",
        stored(wal(1, 1, 6), wal(2, 4, 9, 1, 4 * SIZE + 8), wal(3, 5, 7, 1, 5 * SIZE + 8)),
        [(1, START, 5 * SIZE + 8), (3, 5 * SIZE + 8, None)],
        [],
        [(1, 4), (3, 7)],
    ),
    (
        "missing before the switch",
        stored(wal(1, 1, 4, None, None, 3), wal(2, 5, 8, 1, 5 * SIZE + 160)),
        [(1, START, 5 * SIZE + 160), (2, 5 * SIZE + 160, None)],
        [(1, 3)],
        [(1, 4), (2, 8)],
    ),
    (
        "the parent's last segment before the switch never arrived",
        stored(wal(1, 1, 3), wal(2, 5, 8, 1, 5 * SIZE + 160)),
        [(1, START, 5 * SIZE + 160), (2, 5 * SIZE + 160, None)],
        [(1, 4)],
        [(1, 4), (2, 8)],
    ),
    (
        "the segment of the switch never arrived on the new timeline",
        stored(wal(1, 1, 5), wal(2, 6, 8, 1, 5 * SIZE + 160)),
        [(1, START, 5 * SIZE + 160), (2, 5 * SIZE + 160, None)],
        [(2, 5)],
        [(1, 4), (2, 8)],
    ),
    (
        "missing after the switch",
        stored(wal(1, 1, 4), wal(2, 5, 8, 1, 5 * SIZE + 160, 7)),
        [(1, START, 5 * SIZE + 160), (2, 5 * SIZE + 160, None)],
        [(2, 7)],
        [(1, 4), (2, 8)],
    ),
    (
        "missing where nobody reads: before the backup and after the switch",
        stored(wal(1, 0, 9, None, None, 1, 6), wal(2, 5, 8, 1, 5 * SIZE + 160)),
        [(1, START, 5 * SIZE + 160), (2, 5 * SIZE + 160, None)],
        [],
        [(1, 4), (2, 8)],
    ),
    ("no WAL of that timeline at all", stored(), [(1, START, None)], [], []),
    ("WAL that ends before the backup", stored(wal(1, 0, 1)), [(1, START, None)], [], []),
]


@pytest.mark.parametrize(
    ("archive", "legs", "lost", "listed"), [row[1:] for row in WAYS], ids=[row[0].replace(" ", "-") for row in WAYS]
)
def test_newest_way(
    archive: Inventory,
    legs: list[tuple[int, int, int | None]],
    lost: list[tuple[int, int]],
    listed: list[tuple[int, int]],
) -> None:
    found = newest(START, START, 1, archive)
    assert found == [Leg(*leg) for leg in legs]
    assert _wal_path.gaps(found, archive) == [name(*one) for one in lost]
    assert _wal_path.last_listed(found, archive) == [name(*one) for one in listed]


def test_backup_on_a_later_timeline() -> None:
    """The way begins on the backup's own timeline, not on the first."""
    archive = stored(wal(1, 1, 4), wal(2, 5, 8, 1, 5 * SIZE + 160), wal(3, 8, 9, 2, 8 * SIZE + 8))
    found = newest(6 * SIZE, 6 * SIZE, 2, archive)
    assert found == [Leg(2, 6 * SIZE, 8 * SIZE + 8), Leg(3, 8 * SIZE + 8, None)]
    assert _wal_path.path_to(1, 6 * SIZE, 6 * SIZE, 2, archive) is None


def test_path_to_the_own_timeline_needs_no_history() -> None:
    assert _wal_path.path_to(1, START, START, 1, stored()) == [Leg(1, START, None)]


@given(st.lists(st.integers(3, 40), min_size=1, max_size=6, unique=True), st.data())
def test_any_lost_segment_on_the_way_is_a_gap(switches: list[int], data: st.DataObject) -> None:
    """A line of promotions, one segment of it lost: it is named, and it alone; with none lost there is no gap."""
    points = sorted(switches)
    bounds = [1, *points, points[-1] + 3]
    whole = []
    for place in range(len(bounds) - 1):
        switch = bounds[place] * SIZE + 8 if place else None
        whole.append(wal(place + 1, bounds[place], bounds[place + 1] - 1, place or None, switch))
    complete = stored(*whole)
    legs = newest(START, START, 1, complete)
    assert len(legs) == len(whole)
    assert _wal_path.gaps(legs, complete) == []
    lost = data.draw(st.integers(2, bounds[-1] - 1))
    timeline = next(place for place in range(len(points), -1, -1) if bounds[place] <= lost) + 1
    holed = [
        TimelineWal(one.timeline, one.start, one.end, one.parent, one.switch_lsn, frozenset({name(timeline, lost)}))
        if one.timeline == timeline
        else one
        for one in whole
    ]
    assert _wal_path.gaps(legs, stored(*holed)) == [name(timeline, lost)]


# --- history files and upload times ---------------------------------------------------------------------------------

HISTORY = (DATA / "archive-00000004-history.out").read_text()
EVERY = ["1.1.3", "2.0.1", "3.0.7", "3.0.8", "3.0.9"]


def shown(version: str) -> Inventory:
    return _inventory.inventory(json.loads((DATA / f"walg-{version}" / "archive-wal.json").read_text()))


def test_history_of_a_real_server() -> None:
    assert _wal.parse_history(HISTORY) == [(1, 0x80000A0), (2, 0xB000090), (3, 0xB000238)]
    assert _wal.parse_history("# nothing\n\n1 0/10 a reason of several words\n") == [(1, 16)]


@pytest.mark.parametrize("text", ["<html>", "1", "x\t0/1\tr", "1\t01\tr"])
def test_not_a_history(text: str) -> None:
    with pytest.raises(WalgError):
        _wal.parse_history(text)


@pytest.mark.parametrize("version", EVERY)
def test_two_promotions_in_one_segment(version: str) -> None:
    """Timeline 3 has but a .partial, so wal-show of no version lists it, and 4 would not be reached from 1."""
    found = shown(version)
    assert sorted(found.timelines) == [1, 2, 4, 5]
    assert _inventory.cut_off(found) == [4]
    assert _wal_path.path_to(4, START, START, 1, found) is None
    whole = _inventory.with_history(found, 4, HISTORY)
    assert whole.timelines[3] == TimelineWal(3, "", "", 2, 0xB000090)
    assert {**whole.timelines, 3: None} == {**found.timelines, 3: None}
    assert whole.last(3) is None
    assert not whole.has(name(3, 11))
    assert _inventory.cut_off(whole) == []
    legs = [
        Leg(1, START, 0x80000A0),
        Leg(2, 0x80000A0, 0xB000090),
        Leg(3, 0xB000090, 0xB000238),
        Leg(4, 0xB000238, None),
    ]
    assert _wal_path.path_to(4, START, START, 1, whole) == legs
    assert _wal_path.gaps(legs, whole) == [name(1, 6)]


@pytest.mark.parametrize(
    ("archive", "others", "expected"),
    [
        (stored(wal(1, 1, 4), wal(2, 5, 6, 1, 5 * SIZE)), [], []),
        (stored(wal(2, 5, 6, 1, 5 * SIZE)), [], []),  # what was before is deleted
        (stored(wal(2, 5, 6, 1, 5 * SIZE)), [2], []),
        (stored(wal(3, 5, 6, 2, 5 * SIZE)), [1], [3]),
        (stored(wal(1, 1, 4), wal(3, 5, 6, 2, 5 * SIZE), wal(6, 5, 6, 4, 5 * SIZE)), [], [3, 6]),
        (stored(), [1], []),
    ],
)
def test_timelines_that_hang_in_the_air(archive: Inventory, others: list[int], expected: list[int]) -> None:
    assert _inventory.cut_off(archive, others) == expected


@pytest.mark.parametrize("version", EVERY)
def test_upload_times_of_every_version(version: str) -> None:
    """The clock of the host that listed stood in Newfoundland; a .partial and a .backup are no segments."""
    listing = (DATA / f"walg-{version}" / "archive-objects.out").read_text()
    wanted = {name(1, 1), name(1, 2), name(1, 8), name(4, 11), name(9, 9)}
    assert _inventory.upload_times(listing, wanted) == {
        name(1, 1): "2026-11-24T14:11:12.872785Z",
        name(1, 2): "2026-11-24T14:11:14.220785Z",
        name(4, 11): "2026-11-24T14:11:25.092784Z",
    }


@pytest.mark.parametrize(
    ("row", "time"),
    [
        ("obj 5 2026-01-01 00:30:00 +0000 UTC {}.lz4", "2026-01-01T00:30:00Z"),
        ("obj 5 2026-01-01 00:30:00.5 +0545 +0545 {}", "2025-12-31T18:45:00.5Z"),
        ("obj  5  2026-01-01 00:30:00 +0000 UTC {}.zst   ", "2026-01-01T00:30:00Z"),
        ("obj 5 2026-01-01 00:30:00 +0000 UTC {}.lz4 3sL4kqtJlcpXroDTDmJ LATEST", "2026-01-01T00:30:00Z"),
        ("obj 0 2026-01-01 00:30:00 +0000 UTC {}.lz4 3sL4kqtJlcpXroDTDmJ LATEST DELETE", None),
        ("dir 0 0001-01-01 00:00:00 +0000 UTC {}", None),
        ("obj 5 2026-01-01T00:30:00Z {}.lz4", None),
        ("obj 5 2026-01-01 00:30:00 +0000 UTC {}.partial", None),
        ("obj 5 2026-01-01 00:30:00 +0000 UTC {}.00000028.backup.lz4", None),
        ("obj 5 2026-01-01 00:30:00 +0000 UTC copy of {}.lz4", None),
    ],
)
def test_rows_of_other_forms(row: str, time: str | None) -> None:
    found = _inventory.upload_times(f"type size last modified name\n{row.format(name(1, 1))}\n", {name(1, 1)})
    assert found == ({name(1, 1): time} if time else {})


def test_of_several_versions_the_newest_counts() -> None:
    rows = [f"obj 5 2026-01-0{day} 00:30:00 +0000 UTC {name(1, 1)}.lz4 v{day}\n" for day in (2, 3, 1)]
    assert _inventory.upload_times("".join(rows), {name(1, 1)}) == {name(1, 1): "2026-01-03T00:30:00Z"}


@pytest.mark.parametrize("version", ["1.1.3", "2.0.1", "3.0.7", "3.0.8", "3.0.9"])
def test_names_tell_what_wal_show_would(version: str) -> None:
    """Of one timeline: an archive as it was listed, with a hole, of which the rest of the recorded one is left out."""
    table = (DATA / f"walg-{version}" / "archive-objects.out").read_text()
    every = _inventory.names_in(table)
    assert every is not None
    assert _inventory.of_names(every, SIZE) is None  # only history files tell how its timelines hang together
    shown = json.loads((DATA / f"walg-{version}" / "archive-wal.json").read_text())
    first = [one for one in every if one.startswith("00000001") and "partial" not in one]
    assert _inventory.of_names(first, SIZE) == _inventory.inventory([one for one in shown if one["id"] == 1], SIZE)
    assert [one["missing_segments"] for one in shown if one["id"] == 1] == [[name(1, 6)]]


@given(st.sets(st.integers(0, 40), min_size=1), SIZES)
def test_what_names_tell_is_what_is_there(numbers: set[int], size: int) -> None:
    found = _inventory.of_names([f"{_wal.segment_name(1, one, size)}.lz4" for one in numbers], size)
    assert found is not None
    assert {one for one in range(50) if found.has(_wal.segment_name(1, one, size))} == numbers


@pytest.mark.parametrize(
    "strange",
    [
        "00000002.history.lz4",
        f"{name(2, 9)}.lz4",
        f"{name(1, 9)}.partial.lz4",
        f"{name(1, 9)[:-8]}00000100.lz4",
        f"{name(1, 9)}.lz4.x",
        "x",
    ],
)
def test_names_do_not_tell_of_anything_else(strange: str) -> None:
    names = [f"{name(1, 8)}.lz4", f"{name(1, 8)}.00000028.backup.lz4"]
    assert _inventory.of_names(names, SIZE) == stored(wal(1, 8, 8))
    assert _inventory.of_names([*names, strange], SIZE) is None
    assert _inventory.of_names([], SIZE) is None
    assert _inventory.of_names([name(1, 0), name(1, 1_000_000)], SIZE) is None  # too many to name


@pytest.mark.parametrize("row", ["obj 3 2026-01-01 00:00:00 +0000 UTC a version", "obj 3 a", "what a b c d e f"])
def test_a_table_of_another_form_tells_no_names(row: str) -> None:
    head = "type size last modified name\n"
    fine = "dir 0 0001-01-01 00:00:00 +0000 UTC x/\nobj 3 2026-01-01 00:00:00 +0000 UTC a \n"
    assert _inventory.names_in(head + fine) == ["a"]
    assert _inventory.names_in(head + fine + row) is None
