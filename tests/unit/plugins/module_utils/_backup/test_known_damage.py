# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damage that cuts the way from the newest base backup to the present, and damage that does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _known_damage, _memory
from ansible_collections.mapswipe.walg.plugins.module_utils._backup._known_damage import KnownDamage
from support.walg_world import SIZE, segment

FULL, DELTA = f"base_{segment(1, 4)}", f"base_{segment(1, 8)}_D_{segment(1, 4)}"
OLDER, LATER = f"base_{segment(1, 2)}", f"base_{segment(1, 9)}"
EVERY = (OLDER, FULL, DELTA)
PARTS = "basebackups_005/{}/tar_partitions/part_001.tar.lz4"


@pytest.mark.parametrize(
    ("path", "cut"),
    [
        (f"wal_005/{segment(1, 8)}.lz4", True),
        (f"wal_005/{segment(1, 300)}.zst", True),
        (f"wal_005/{segment(1, 7)}.lz4", False),
        (f"wal_005/{segment(2, 9)}.lz4", False),
        (f"wal_005/{segment(1, 9)}.00000028.backup.lz4", False),
        ("wal_005/00000001.history.lz4", False),
        (PARTS.format(DELTA), True),
        (PARTS.format(FULL), True),
        (PARTS.format(OLDER), False),
        (PARTS.format(LATER), True),  # it does not count, but WAL-G would base a delta on it
        (PARTS.format(f"base_{segment(2, 9)}"), False),
        (f"basebackups_005/{FULL}_backup_stop_sentinel.json", True),
        (f"basebackups_005/{DELTA}/metadata.json", True),
        ("elsewhere", False),
    ],
)
def test_what_cuts_the_way(path: str, cut: bool) -> None:
    why = KnownDamage((path,)).cuts(DELTA, 8 * SIZE + 40, EVERY, SIZE)
    assert bool(why) is cut
    assert not cut or path in why


def test_a_base_backup_after_the_damage_ends_it() -> None:
    known = KnownDamage((f"wal_005/{segment(1, 8)}.lz4", PARTS.format(DELTA)))
    assert known.cuts(LATER, 9 * SIZE, [*EVERY, LATER], SIZE) == ""


def archive(*names: str, timeline: int = 1) -> dict[str, Any]:
    """What a check keeps of base backups, in the order of their ends."""
    rows = [
        {
            "name": name,
            "timeline": 1,
            "foreign": False,
            "restorable": True,
            "start_lsn_int": (lsn := int(name[21:29], 16) * SIZE),
            "finish_lsn_int": lsn + 300,
        }
        for name in names
    ]
    return {"backups": rows, "trunk": {"timeline": timeline}, "segment_size": SIZE}


def test_what_a_check_saw_is_judged_by_lsn_not_by_time() -> None:
    """A base backup of a clock that was ahead stays the last by time; without this, one would be taken in each run."""
    known = KnownDamage((f"wal_005/{segment(1, 8)}.lz4",))
    assert segment(1, 8) in known.cuts_seen(archive(OLDER, FULL, DELTA))
    assert known.cuts_seen(archive(LATER, FULL)) == ""
    assert known.cuts_seen(archive(FULL, timeline=2)) == ""
    broken = archive(FULL, LATER)
    broken["backups"][1]["restorable"] = False
    assert known.cuts_seen(broken)


@pytest.mark.parametrize("archive", [None, [], {}, {"backups": 5}, {"backups": [5], "trunk": [], "segment_size": 0}])
def test_facts_that_are_damaged_say_nothing(archive: Any) -> None:
    assert KnownDamage((f"wal_005/{segment(1, 8)}.lz4",)).cuts_seen(archive) == ""


def test_what_is_known_comes_from_the_verifications_state(tmp_path: Path) -> None:
    """Its last answer, and what a run that was killed had found; what the storage did not deliver once is no damage."""
    path = str(tmp_path / "verification.json")
    assert _known_damage.load(path) == KnownDamage()
    memory = _memory.Memory(last={"damaged": [{"object": "wal_005/b"}, 5]})
    memory.doubt("wal_005/a", "what", sure=True, now="2026-01-02T12:00:00Z")
    memory.doubt("wal_005/c", "what", sure=False, now="2026-01-02T12:00:00Z")
    _memory.save(path, memory)
    assert _known_damage.load(path).objects == ("wal_005/a", "wal_005/b")
