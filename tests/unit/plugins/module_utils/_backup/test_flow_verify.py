# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of a verification over simulated days, against a storage in memory: pace, cursor, doubt, death, and what is remembered."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _reread, _survey, _verify
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import StorageError, WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _locks
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import Verification
from ansible_collections.mapswipe.walg.plugins.module_utils._report import _facts, _verdict
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._stored import Reader
from support import reported
from support.observe import files
from support.shelf import SIZE, Shelf, wal
from support.walg_world import segment

DAY0 = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
PARTS, RECORDS = 3, 3


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reread, "_PAUSE", 0.0)
    monkeypatch.setattr(_survey, "_PATIENCE", 0.0)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf.of(tmp_path, 57)


def verify(shelf: Shelf, day: float = 0.0, days: int = 30, **options: Any) -> dict[str, Any]:
    assert shelf.world is not None
    return _verify.run(shelf, shelf.world.instance, Verification(days), DAY0 + timedelta(days=day), **options)


def state(shelf: Shelf) -> dict[str, Any]:
    assert shelf.world is not None
    told: dict[str, Any] = json.loads(Path(shelf.world.instance.files.verification).read_text())
    return told


def test_a_share_each_day_and_each_object_once_in_a_cycle(shelf: Shelf) -> None:
    each = []
    for day in range(30):
        before = len(shelf.read)
        answer = verify(shelf, day)
        assert (answer["sound"], answer["reread"]["behind"]) == (True, 0.0)
        each.append(len(shelf.read) - before)
    assert sorted(shelf.read) == sorted(set(shelf.read))
    assert len(shelf.read) == 57 + PARTS
    assert max(each) <= 3
    assert state(shelf)["last_cycle"]["objects"] == 60 + RECORDS
    assert state(shelf)["memory"]["cycle"] is None
    verify(shelf, 30)
    assert shelf.read[60] == shelf.read[0]


def test_a_second_run_on_one_day_reads_nothing_more(shelf: Shelf) -> None:
    verify(shelf)
    before = len(shelf.read)
    assert 0 < before < 5
    assert verify(shelf, 0.01)["reread"]["objects"] <= 1 + RECORDS
    assert len(shelf.read) <= before + 1


def test_downtime_is_caught_up_and_a_clock_set_back_is_borne(shelf: Shelf) -> None:
    verify(shelf)
    verify(shelf, 10)
    assert 20 <= len(shelf.read) <= 24
    before = len(shelf.read)
    verify(shelf, -5)  # the cycle begins at this moment; what was read stays read
    assert before <= len(shelf.read) <= before + 2
    verify(shelf, 400)
    assert sorted(set(shelf.read)) == sorted(shelf.read)
    assert len(shelf.read) == 60


def test_new_objects_come_in_this_cycle_or_the_next(shelf: Shelf) -> None:
    for day in range(5):
        shelf.put_segment(58 + day)
        verify(shelf, day, 5)
    assert len(shelf.read) == 60 + 5
    behind = "wal_005/" + segment(1, 1) + ".zst"
    for day in range(5, 10):
        if day == 8:
            shelf.objects[behind] = (1000, wal(segment(1, 1)))
        verify(shelf, day, 5)
    assert behind not in shelf.read
    for day in range(10, 15):
        verify(shelf, day, 5)
    assert shelf.read.count(behind) == 1


def test_everything_and_none(shelf: Shelf) -> None:
    assert verify(shelf, days=0)["reread"]["objects"] == 0
    assert verify(shelf, days=0, everything=True)["reread"]["done_share"] == 1.0
    assert len(shelf.read) == 60
    verify(shelf, everything=True)
    assert len(shelf.read) == 120


def test_check_mode_writes_nothing(shelf: Shelf) -> None:
    assert shelf.world is not None
    before = files(shelf.world.root)
    answer = verify(shelf, dry=True)
    assert (answer["reread"]["objects"], shelf.read, files(shelf.world.root)) == (0, [], before)
    assert 0 < answer["reread"]["planned"] < 10000


def test_damage_of_the_last_segment_cuts_what_will_follow(shelf: Shelf) -> None:
    path = max(one for one in shelf.objects if one.startswith("wal_005/"))
    shelf.objects[path] = (1000, wal(segment(1, 2)))
    (window,) = verify(shelf, everything=True)["chain"]["left"]
    assert window["missing"] == path[8:32]


def test_damage_stays_until_it_is_well_or_gone(shelf: Shelf) -> None:
    path = f"wal_005/{segment(1, 40)}.lz4"
    well = shelf.objects[path]
    shelf.objects[path] = (1000, wal(segment(1, 41)))
    answer = verify(shelf, everything=True)
    assert answer["sound"] is False
    (entry,) = answer["damaged"]
    assert (entry["object"], entry["backups"]) == (path, [])
    assert "another segment" in entry["what"]
    assert "recovery along timeline 1 ends before it, at 0/2800000" in entry["costs"]
    assert "until there is a new base backup" in entry["costs"]
    assert "walg-job backup" in entry["remedy"]
    assert [(one["last_lsn"], one["missing"]) for one in answer["chain"]["left"]] == [("0/2800000", path[8:32])]
    shelf.read.clear()
    again = verify(shelf, 1)
    assert (again["sound"], shelf.read[0], again["damaged"][0]["since"]) == (False, path, entry["since"])
    shelf.objects[path] = well
    assert verify(shelf, 2)["sound"] is True
    shelf.objects[path] = (1000, b"")
    assert verify(shelf, 3, everything=True)["sound"] is False
    del shelf.objects[path]
    left = verify(shelf, 4)
    assert (left["damaged"], left["sound"]) == ([], False)
    assert left["chain"]["gaps"][0]["open"] is True


def test_pg_wal_still_has_it(shelf: Shelf) -> None:
    assert shelf.world is not None
    name = segment(1, 40)
    shelf.objects[f"wal_005/{name}.lz4"] = (1000, b"")
    (shelf.world.data_dir / "pg_wal").mkdir(parents=True)
    (shelf.world.data_dir / "pg_wal" / name).write_bytes(b"x")
    remedy = verify(shelf, everything=True)["damaged"][0]["remedy"]
    assert f"st rm wal_005/{name}.lz4 && " in remedy
    assert remedy.endswith(f"wal-push {shelf.world.data_dir}/pg_wal/{name}")


def test_one_bad_answer_is_no_damage(shelf: Shelf) -> None:
    path = f"wal_005/{segment(1, 7)}.lz4"
    shelf.broken[path] = ["unexpected EOF"]
    assert verify(shelf, everything=True)["sound"] is True
    assert shelf.read.count(path) == 2


def test_what_a_storage_does_not_deliver_is_unknown_at_first_and_damaged_then(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"wal_005/{segment(1, 7)}.lz4"
    failing = Result(["x"], 1, "", "ERROR: 500\n")
    monkeypatch.setattr(Reader, "transferred", lambda _self, _path, _pace=0.0: (10, failing))
    shelf.broken[path] = ["unexpected EOF"] * 4
    answer = verify(shelf, everything=True)
    assert (answer["sound"], answer["damaged"], answer["chain"]["doubtful"]) == (None, [], [path])
    assert "could not be read" in answer["text"]
    answer = verify(shelf, 1)
    assert (answer["sound"], answer["damaged"][0]["object"]) == (False, path)


def test_a_storage_that_dies_in_the_midst_is_unknown_and_keeps_the_cursor(shelf: Shelf) -> None:
    def die(count: int) -> None:
        if count == 20:
            shelf.dead = "dial tcp: connection refused"

    shelf.after = die
    with pytest.raises(StorageError, match="connection refused"):
        verify(shelf, everything=True)
    told = state(shelf)
    assert told["last"]["sound"] is None
    assert "connection refused" in told["last"]["text"]
    assert told["memory"]["cycle"]["objects"] == 19 + RECORDS
    shelf.after, shelf.dead = None, ""
    assert verify(shelf, 1, everything=True)["sound"] is True
    assert len(shelf.read) == 61  # the twentieth was tried


def test_a_killed_run_is_continued(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_verify, "_SAVE_EVERY", 0.0)

    class KilledError(BaseException):
        """As SIGKILL: nothing that catches errors sees it."""

    def kill(count: int) -> None:
        if count == 20:
            raise KilledError

    shelf.after = kill
    with pytest.raises(KilledError):
        verify(shelf, everything=True)
    shelf.after = None
    shelf.read.clear()
    assert verify(shelf, 1, everything=True)["sound"] is True
    assert len(shelf.read) == 60 - 19


def test_what_is_removed_meanwhile_is_no_damage(shelf: Shelf) -> None:
    path = f"wal_005/{segment(1, 1)}.lz4"

    def remove(_count: int) -> None:
        shelf.objects.pop(path, None)

    shelf.after = remove
    assert verify(shelf, everything=True)["sound"] is True


def test_what_is_missing_of_a_base_backup(shelf: Shelf) -> None:
    place = f"basebackups_005/base_{segment(1, 2)}"
    for name in ("tar_partitions/part_002.tar.lz4", "tar_partitions/pg_control.tar.lz4", "metadata.json"):
        kept = shelf.objects.pop(f"{place}/{name}")
        answer = verify(shelf, everything=True)
        assert answer["sound"] is False
        assert [one["object"].removesuffix(".lz4") for one in answer["damaged"]] == [
            f"{place}/{name}".removesuffix(".lz4")
        ]
        assert "nothing in this archive can be restored" in answer["damaged"][0]["costs"]
        assert "full: true" in answer["damaged"][0]["remedy"]
        assert answer["chain"]["left"] == []
        shelf.objects[f"{place}/{name}"] = kept
    assert verify(shelf)["sound"] is True


def test_a_base_backup_smaller_than_recorded_is_read_at_once(shelf: Shelf) -> None:
    shelf.rows[0]["compressed_size"] = 10_000_000
    verify(shelf)
    assert len([path for path in shelf.read if "tar_partitions" in path]) == PARTS
    assert verify(shelf, 1)["chain"]["smaller"] == []
    assert len(shelf.read) <= 8
    assert verify(shelf, 0.5, dry=True)["sound"] is True


@pytest.mark.parametrize("name", ["thumbs.db", "part_001.tar."])
def test_a_foreign_object_among_the_parts(shelf: Shelf, name: str) -> None:
    """WAL-G 1.1.3 and 3.0.8 try for ever to restore it (wal-g 165, 2227)."""
    path = f"basebackups_005/base_{segment(1, 2)}/tar_partitions/{name}"
    shelf.objects[path] = (100, b"")
    (entry,) = verify(shelf)["damaged"]
    assert (entry["object"], "can't be restored" in entry["costs"]) == (path, True)
    assert entry["remedy"].endswith(f"st rm {path}")
    del shelf.objects[path]
    assert verify(shelf)["sound"] is True


def test_a_base_backup_that_is_gone_as_a_whole(shelf: Shelf) -> None:
    """Named once (pgbackrest 2723: nobody was told)."""
    verify(shelf)
    row = shelf.rows.pop()
    assert verify(shelf)["chain"]["gone"] == [row["backup_name"]]
    assert verify(shelf)["chain"]["gone"] == []


def test_a_hole_before_the_oldest_base_backup_costs_nothing(shelf: Shelf) -> None:
    """wal-g 2141: an exporter called that an error."""
    shelf.put_segment(0)
    del shelf.objects[f"wal_005/{segment(1, 1)}.lz4"]
    answer = verify(shelf)
    assert (answer["sound"], [one["open"] for one in answer["chain"]["gaps"]]) == (True, [False])


def test_parts_that_were_not_recorded(shelf: Shelf) -> None:
    place = f"basebackups_005/base_{segment(1, 2)}"
    shelf.objects.pop(f"{place}/files_metadata.json")
    answer = verify(shelf)
    assert [one["object"] for one in answer["damaged"]] == [f"{place}/files_metadata.json"]
    shelf.objects[f"{place}_backup_stop_sentinel.json"] = (30, b'{"FilesMetadataDisabled": true}')
    assert state(shelf)["memory"]["parts"] == {f"base_{segment(1, 2)}": None}
    assert shelf.world is not None
    Path(shelf.world.instance.files.verification).unlink()
    assert verify(shelf)["sound"] is True
    shelf.rows[0]["compressed_size"] = 10_000_000
    (entry,) = verify(shelf)["damaged"]
    assert entry["what"] == "its parts have 5100 bytes, WAL-G recorded 10000000"


def test_an_object_too_small_is_read_at_once(shelf: Shelf) -> None:
    path = f"wal_005/{segment(1, 50)}.lz4"
    shelf.objects[path] = (1, b"x")
    answer = verify(shelf)
    assert [one["object"] for one in answer["damaged"]] == [path]


def test_a_gap_that_a_later_base_backup_heals(shelf: Shelf) -> None:
    del shelf.objects[f"wal_005/{segment(1, 30)}.lz4"]
    assert verify(shelf)["sound"] is False
    later = dict(
        shelf.rows[0], backup_name=f"base_{segment(1, 40)}", start_lsn=40 * SIZE + 40, finish_lsn=40 * SIZE + 256
    )
    shelf.rows.append(later)
    for path in [path for path in shelf.objects if segment(1, 2) in path and path.startswith("base")]:
        shelf.objects[path.replace(segment(1, 2), segment(1, 40))] = shelf.objects[path]
    answer = verify(shelf)
    assert (answer["sound"], [one["open"] for one in answer["chain"]["gaps"]]) == (True, [False])


def test_no_base_backup_is_unknown(shelf: Shelf) -> None:
    shelf.rows.clear()
    assert verify(shelf)["sound"] is None


def test_a_key_that_opens_nothing_is_no_damage(shelf: Shelf) -> None:
    shelf.broken = {path: ["openpgp: incorrect key"] * 9 for path in shelf.objects}
    with pytest.raises(WalgError, match="Is it the key"):
        verify(shelf, everything=True)
    assert state(shelf)["last"]["sound"] is None


def test_a_storage_that_lists_but_does_not_deliver(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Result(["x"], 1, "", "ERROR: 500\n")
    monkeypatch.setattr(Reader, "transferred", lambda _self, _path, _pace=0.0: (0, failing))
    shelf.broken = {path: ["unexpected EOF"] * 9 for path in shelf.objects}
    with pytest.raises(StorageError, match="lists its objects, but does not deliver them"):
        verify(shelf, everything=True)


def test_another_run(shelf: Shelf) -> None:
    assert shelf.world is not None
    with _locks.locked(shelf.world.instance.files.verify_lock, "x"), pytest.raises(_locks.LockedError):
        verify(shelf)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 1}',
        '{"format": 1, "time": "x", "last_cycle": {}, "memory": {"cycle": 5}}',
        '{"format": 1, "time": "x", "last_cycle": {}, "last": {}, "memory": {"cycle": null, "doubts": {"a": {}}}}',
    ],
)
def test_a_damaged_state_costs_a_cycle(shelf: Shelf, text: str) -> None:
    assert shelf.world is not None
    Path(shelf.world.instance.files.verification).write_text(text)
    assert verify(shelf)["sound"] is True
    assert state(shelf)["format"] == 1


def test_what_was_found_is_told_by_whoever_reports(shelf: Shelf) -> None:
    """Facts read the same file: damage reaches the verdict, and a cycle that ended well is a proof."""
    assert shelf.world is not None
    verify(shelf, everything=True)
    fine = _facts.verification(shelf.world.instance)
    assert fine is not None
    assert (fine["last"]["sound"], set(fine)) == (True, {"time", "last_cycle", "last"})
    assert _facts.proved(shelf.world.instance, "1")["proved_by"] == "verification"
    shelf.broken = {f"wal_005/{segment(1, 20)}.lz4": ["unexpected EOF"] * 9}
    verify(shelf, 1, everything=True)
    known = {**reported.facts(10), "verification": _facts.verification(shelf.world.instance)}
    assert "damage" in [one.code for one in _verdict.judge(known, reported.NOW).reasons]


@pytest.mark.parametrize("record", [b"", b'{"LSN": 1', b"[]"])
def test_the_newest_record_is_read_in_each_run(shelf: Shelf, record: bytes) -> None:
    """WAL-G 1.1.3 lists a base backup whose record is cut off, and can't restore it; the cursor may be a month away from it."""
    assert verify(shelf)["sound"] is True
    path = f"basebackups_005/base_{segment(1, 2)}_backup_stop_sentinel.json"
    shelf.objects[path] = (40, record)
    answer = verify(shelf, 1)
    assert answer["sound"] is False
    assert [(one["object"], one["backups"]) for one in answer["damaged"]] == [(path, [f"base_{segment(1, 2)}"])]
