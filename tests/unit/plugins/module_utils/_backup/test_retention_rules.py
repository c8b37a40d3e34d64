# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention's rules one by one, and how other tools' retention went wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._notes import BackupNote, Notes
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _needed_wal
from ansible_collections.mapswipe.walg.plugins.module_utils._backup._keep import Known
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import Retention
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._backups import Backup
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._inventory import Inventory, TimelineWal
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._objects import Object
from support.simulated_archive import SIZE, Archive, clock, name

NOTHING = Retention(days=0, minimum_backups=0, minimum_days=0)


def nightly(nights: int, *, deltas: int = 0) -> Archive:
    """An archive with a base backup and some WAL each day."""
    archive = Archive()
    for night in range(nights):
        archive.day += 1
        archive.take(delta=deltas > 0 and night % (deltas + 1) > 0, segments=0, corrupt=False, permanent=False)
        archive.write(2)
    return archive


def names(archive: Archive) -> list[str]:
    return list(archive.taken)


def kept(archive: Archive, policy: Retention) -> list[str]:
    return [one.name for one in archive.plan(policy).keep]


def test_the_default_keeps_two_weeks() -> None:
    archive = nightly(30)
    assert kept(archive, Retention()) == names(archive)[-14:]


def test_weeks_and_months_without_later_wal() -> None:
    archive = nightly(100)
    plan = archive.plan(replace(NOTHING, minimum_backups=1, weekly=3, monthly=2))
    alone = [one.name for one in plan.keep if one.alone]
    assert len(plan.keep) in (4, 5)
    assert len(alone) == len(plan.keep) - 1
    assert [len(window.backups) for window in plan.after] == [1] * len(plan.keep)


def test_corrupt_blocks_never_push_out_a_good_one() -> None:
    archive = nightly(4)
    for title in names(archive)[-2:]:
        archive.notes = archive.notes.with_backup(title, BackupNote(None, {"base/1/1": 1}))
    first, second, third, fourth = names(archive)
    assert kept(archive, replace(NOTHING, backups=2)) == [first, second, fourth]
    assert kept(archive, replace(NOTHING, minimum_backups=1)) == [second, fourth]
    assert third not in kept(archive, replace(NOTHING, backups=2, weekly=1))


def test_a_delta_on_corrupt_blocks_is_corrupt() -> None:
    archive = nightly(2, deltas=1)
    archive.notes = Notes({names(archive)[0]: BackupNote(None, {"a": 1})})
    known = Known([one.backup for one in archive.taken.values()], archive.inventory(), [1], {}, archive.notes)
    assert known.spoiled == set(names(archive))


def test_a_clock_that_was_set_back_makes_none_older() -> None:
    archive = nightly(3)
    archive.ahead = -300
    archive.day += 1
    archive.take(delta=False, segments=0, corrupt=False, permanent=False)
    assert names(archive)[-1] in kept(archive, replace(NOTHING, days=1, minimum_backups=1))
    assert kept(archive, replace(NOTHING, days=3)) == names(archive)[-3:]


@pytest.mark.parametrize("days", [1, 10, 4000])
def test_a_clock_that_was_set_forward_leaves_the_rails(days: int) -> None:
    """By it all that was there is old. The minimum stays, and the window of the minimum's days, whatever the ages look like."""
    archive = nightly(20)
    before = names(archive)
    archive.ahead = days
    archive.day += 1
    archive.take(delta=False, segments=0, corrupt=False, permanent=False)
    archive.day += days
    stay = kept(archive, Retention())
    assert set(stay) >= set(names(archive)[-2:])
    assert set(stay) & set(before)
    assert len(kept(archive, Retention(minimum_backups=5))) >= 5


def test_a_timeline_of_unknown_origin_keeps_all_its_wal() -> None:
    """And so does one that left from it; what nobody can follow any more goes."""
    wal = {
        1: TimelineWal(1, name(1, 1), name(1, 20)),
        2: TimelineWal(2, name(2, 5), name(2, 9), 1, 5 * SIZE + 100),
        7: TimelineWal(7, name(7, 3), name(7, 9)),
        8: TimelineWal(8, name(8, 6), name(8, 9), 7, 6 * SIZE + 100),
    }
    one = Backup(
        f"base_{name(1, 8)}", clock(1), clock(1), 8 * SIZE + 40, 8 * SIZE + 200, "7", 14, "/d", "h", 1, 1, False
    )
    need = _needed_wal.needed([one], [], Inventory(wal, SIZE))
    assert (need.whole, need.floors) == ({7, 8}, {1: 8})
    files = [Object(f"{name(line, number)}.lz4", 1, 0.0) for line in wal for number in range(1, 21)]
    files += [Object(f"{name(1, 3)}.partial.lz4", 1, 0.0), Object(f"{name(1, 9)}.partial.lz4", 1, 0.0)]
    files += [Object(f"{name(1, 2)}.00000028.backup.lz4", 1, 0.0), Object("00000002.history.lz4", 1, 0.0)]
    files += [
        Object("notes.txt", 1, 0.0),
        Object(f"{name(1, 2)}.lz4_chunks/chunk0", 1, 0.0),
        Object(f"{name(99, 2)}.lz4", 1, 0.0),
    ]
    gone = [found.name for found in _needed_wal.unneeded(files, need, Inventory(wal, SIZE), 1.0).objects]
    assert {found[:8] for found in gone} == {"00000001", "00000002"}
    assert f"{name(1, 3)}.partial.lz4" in gone
    assert f"{name(1, 2)}.lz4_chunks/chunk0" in gone
    assert not [found for found in gone if found.startswith("00000001") and int(found[16:24], 16) >= 8]
    assert not {f"{name(1, 9)}.partial.lz4", "00000002.history.lz4", "notes.txt", f"{name(99, 2)}.lz4"} & set(gone)


def test_wal_that_is_young_stays_whatever_the_rules_say() -> None:
    archive = nightly(10)
    archive.wal = dict.fromkeys(archive.wal, archive.day)  # as in a bucket that was copied
    plan = archive.plan(Retention(days=0, backups=1, minimum_days=1))
    assert (len(plan.drop), plan.wal) == (8, [])


def test_what_can_not_be_meant() -> None:
    archive = nightly(2)
    for policy, text in (
        (NOTHING, "keeps nothing"),
        (Retention(days=-1), "whole number"),
        (Retention(days=10**9), "whole number"),
    ):
        with pytest.raises(WalgError, match=text):
            archive.plan(policy)


# What other tools' users reported; each ends here as it should.


def test_a_delta_keeps_the_wal_after_it() -> None:
    """pgbackrest/pgbackrest#748: WAL after incremental backups was removed, so that they led to their ends only."""
    archive = nightly(6, deltas=2)
    plan = archive.plan(replace(NOTHING, backups=5))
    base, window = plan.after
    assert (len(base.backups), len(window.backups)) == (1, 5)
    assert window.missing is None


def test_wal_goes_with_backups_that_somebody_deleted_by_hand() -> None:
    """pgbackrest/pgbackrest#2383, #2525: WAL stayed for months where base backups had gone in another way."""
    archive = nightly(6)
    for title in names(archive)[:3]:
        del archive.taken[title]
    plan = archive.plan(replace(NOTHING, backups=3))
    assert (plan.drop, plan.ranges[0]["first"]) == ([], name(1, 1))
    assert plan.segments() == archive.taken[names(archive)[0]].first - 1


def test_a_minimum_never_counts_a_delta_without_its_base() -> None:
    """EnterpriseDB/barman#1081: incremental backups filled the minimum, and the full one that they need was deleted."""
    archive = nightly(4, deltas=3)
    assert kept(archive, replace(NOTHING, minimum_backups=1)) == names(archive)
    archive.take(delta=False, segments=0, corrupt=False, permanent=False)
    archive.write(1)
    archive.day += 2
    del archive.taken[names(archive)[0]]
    plan = archive.plan(replace(NOTHING, minimum_backups=2))
    assert [one.name for one in plan.keep] == names(archive)[-1:], "deltas whose base is gone count for nothing"


def test_a_permanent_one_does_not_stop_the_rest() -> None:
    """wal-g/wal-g#1152: with one permanent base backup nothing was deleted."""
    archive = Archive()
    archive.take(delta=False, segments=1, corrupt=False, permanent=True)
    permanent = archive.taken[names(archive)[0]]
    for _night in range(5):
        archive.day += 1
        archive.take(delta=False, segments=0, corrupt=False, permanent=False)
    archive.write(1)
    plan = archive.plan(replace(NOTHING, backups=2))
    assert len(plan.drop) == 3
    archive.delete(plan)
    assert archive.reach(permanent, 1) == permanent.last + 1
