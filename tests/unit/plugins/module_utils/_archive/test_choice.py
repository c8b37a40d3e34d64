# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which base backup and which WAL lead to a target, and what is refused with the nearest point."""

from __future__ import annotations

import json

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _choose_backup
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _backups
from hypothesis import given
from hypothesis import strategies as st
from support.walg_world import SIZE, inventory, listed, segment, shown

NUMBERS = (2, 5, 8)
LAST = 10


def name(number: int) -> str:
    return f"base_{segment(1, number)}"


def situation(
    missing: tuple[int, ...] = (), uploaded: dict[str, str] | None = None, *, more: bool = False
) -> _choose_backup.ArchiveView:
    """Base backups of three days, and WAL from 1 to 10."""
    rows = [listed(1, number, f"2026-01-0{number}T00:00:00Z") for number in NUMBERS]
    mine = sorted(_backups.parse_list(json.dumps(rows)), key=lambda one: -one.start_lsn)
    return _choose_backup.ArchiveView(
        "file:///s", mine, inventory(shown(1, 1, LAST, missing=missing)), uploaded or {}, more
    )


def lsn(number: int, offset: int = 0x1000) -> Target:
    return Target("lsn", f"0/{number * SIZE + offset:X}")


@pytest.mark.parametrize(
    ("target", "number"),
    [
        (Target(), 8),
        (Target("immediate"), 8),
        (Target("xid", "740"), 8),
        (Target("name", "x"), 8),
        (lsn(9), 8),
        (lsn(8, 256), 8),
        (lsn(8, 255), 5),
        (lsn(4), 2),
        (Target("time", "2026-01-08T00:00:00Z"), 8),
        (Target("time", "2026-01-07T23:59:59Z"), 5),
    ],
)
def test_the_newest_that_finished_before(target: Target, number: int) -> None:
    assert _choose_backup.pick(situation(), target, 1).backup.name == name(number)


LATE = {segment(1, LAST): "2026-01-09T00:00:00Z"}


@pytest.mark.parametrize(
    ("target", "missing", "uploaded", "text"),
    [
        (lsn(1), (), {}, r"earliest point .* LSN 0/2000100, time 2026-01-02"),
        (Target("time", "2026-01-01T00:00:00Z"), (), {}, "is before the end of the first base backup"),
        (lsn(11), (), {}, "ends at 0/B000000"),
        (Target("time", "2026-01-10T00:00:00Z"), (), LATE, "the state at that time is the latest one"),
        (Target(), (9,), {}, r"has a gap: .*Nearest reachable points: LSN 0/9000000"),
        (lsn(7), (6,), {}, r"LSN 0/6000000 before it; LSN 0/8000100 .* after it"),
    ],
)
def test_what_is_out_of_reach(target: Target, missing: tuple[int, ...], uploaded: dict[str, str], text: str) -> None:
    with pytest.raises(WalgError, match=text):
        _choose_backup.pick(situation(missing, uploaded), target, 1)


def test_more_wal_than_the_archives_has_no_known_end() -> None:
    assert _choose_backup.pick(situation(more=True), lsn(11), 1).backup.name == name(8)


def test_a_named_backup() -> None:
    assert _choose_backup.pick(situation(), lsn(9), 1, name(2)).backup.name == name(2)
    for wanted, text in [("base_x", "There is no base backup base_x"), (name(8), "is before the end")]:
        with pytest.raises(WalgError, match=text):
            _choose_backup.pick(situation(), lsn(4), 1, wanted)


@given(st.integers(SIZE, 11 * SIZE - 1), st.sets(st.integers(2, 9), max_size=3))
def test_a_choice_finished_before_and_lacks_nothing(wanted: int, missing: set[int]) -> None:
    target = Target("lsn", f"0/{wanted:X}")
    try:
        choice = _choose_backup.pick(situation(tuple(sorted(missing))), target, 1)
    except WalgError:
        return
    assert choice.backup.finish_lsn <= wanted
    assert not missing.intersection(range(choice.backup.start_lsn // SIZE, wanted // SIZE + 1))
