# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive holds, from what WAL-G of several versions printed of one archive, and from segments of real servers.

That archive: a full backup, a delta, a permanent one, another cluster's; a promotion with a backup after it, two more
within one segment, a drill that archived; segment 6 of timeline 1 was removed.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _info
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._owner import Owner, render
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner
from support.walg_world import World, listed, segment, shown

DATA = Path(__file__).resolve().parents[3] / "data"
NOW = datetime(2026, 11, 24, 14, 20, tzinfo=UTC)
OWN, OTHER = "7711740351080696874", "7310203040506070809"
EVERY = ["1.1.3", "2.0.1", "3.0.7", "3.0.8", "3.0.9"]
FIRST, DELTA = f"base_{segment(1, 2)}", f"base_{segment(1, 4)}_D_{segment(1, 2)}"
PERMANENT, FOREIGN, SECOND = f"base_{segment(1, 5)}", f"base_{segment(1, 3)}", f"base_{segment(2, 9)}"


@dataclass
class Storage(Runner):
    """Answers for WAL-G: three lists, and files that wal-fetch finds. ``asked``: the commands, in order."""

    backups: str = "[]"
    wal: str = "[]"
    objects: str = "type size last modified name\n"
    files: dict[str, Path | bytes] = field(default_factory=dict)
    marker: str = ""
    asked: list[str] = field(default_factory=list)

    def run(self, argv: Sequence[str], **_options: Any) -> Result:
        command = list(argv[3:])
        if command[:2] == ["st", "cat"]:
            return Result(list(argv), 0 if self.marker else 1, self.marker)
        if command == ["st", "ls"]:
            return Result(list(argv), 0, "type size last modified name\n")
        self.asked.append(" ".join(command[:2]))
        answers = {"backup-list": self.backups, "wal-show": self.wal, "st": self.objects}
        if command[0] in answers:
            return Result(list(argv), 0, answers[command[0]])
        found = self.files.get(command[1])
        if isinstance(found, Path):
            shutil.copy(found, command[2])
        elif found is not None:
            Path(command[2]).write_bytes(found)
        return Result(list(argv), 1 if found is None else 0, "", "" if found else "ERROR: Archive does not exist\n")


def recorded(version: str) -> Storage:
    folder = DATA / f"walg-{version}"
    return Storage(
        backups=(folder / "archive-backups.json").read_text(),
        wal=(folder / "archive-wal.json").read_text(),
        objects=(folder / "archive-objects.out").read_text(),
        files={"00000004.history": DATA / "archive-00000004-history.out"},
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, system_identifier=OWN)


def windows(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (one["timeline"], one["first"]["lsn"], one["last"]["lsn"], one["last"]["time"], one["missing"])
        for one in answer["windows"]
        if one["system_identifier"] == OWN
    ]


@pytest.mark.parametrize("version", EVERY)
def test_recorded_archive(world: World, version: str) -> None:
    storage = recorded(version)
    answer = _info.read(storage, world.instance, NOW)
    assert storage.asked == ["backup-list --detail", "st ls", "wal-show --detailed-json", "wal-fetch 00000004.history"]
    assert answer == _info.read(recorded("1.1.3"), world.instance, NOW)
    assert (answer["system_identifiers"], answer["foreign"]) == ([OTHER, OWN], [OTHER])
    assert [one["name"] for one in answer["backups"]] == [FIRST, FOREIGN, DELTA, PERMANENT, SECOND]
    assert all(one["restorable"] for one in answer["backups"])
    assert [one["timeline"] for one in answer["timelines"] if one["orphan"]] == [5]
    assert [one["timeline"] for one in answer["timelines"]] == [1, 2, 3, 4, 5]
    assert answer["timelines"][0]["gaps"] == [{"first": segment(1, 6), "last": segment(1, 6), "segments": 1}]
    assert answer["timelines"][2]["last_segment"] is None
    assert (answer["trunk"]["timeline"], answer["trunk"]["candidates"]) == (4, [4])
    assert windows(answer) == [
        (1, "0/2000100", "0/6000000", "2026-11-24T14:11:17.808784Z", segment(1, 6)),
        (2, "0/9000100", "0/B000000", "2026-11-24T14:11:22.880784Z", None),
        (4, "0/9000100", "0/C000000", "2026-11-24T14:11:25.092784Z", None),
        (5, "0/9000100", "0/C000000", "2026-11-24T14:11:22.880784Z", None),
    ]
    assert answer["ages"] == {"backup": pytest.approx(517.691, abs=0.001), "wal": pytest.approx(514.907, abs=0.001)}


def test_a_backup_in_full(world: World) -> None:
    answer = _info.read(recorded("1.1.3"), world.instance, NOW)
    (delta,) = (one for one in answer["backups"] if one["name"] == DELTA)
    (foreign,) = (one for one in answer["backups"] if one["name"] == FOREIGN)
    (permanent,) = (one for one in answer["backups"] if one["name"] == PERMANENT)
    assert delta.pop("user_data")["mapswipe_walg"]["instance"] == "main"
    assert delta == {
        "name": DELTA,
        "start_time": "2026-11-24T14:11:16.371802Z",
        "finish_time": "2026-11-24T14:11:17.407192Z",
        "age": pytest.approx(522.593, abs=0.001),
        "timeline": 1,
        "start_lsn": "0/4000028",
        "start_lsn_int": 0x4000028,
        "finish_lsn": "0/4000100",
        "finish_lsn_int": 0x4000100,
        "system_identifier": OWN,
        "foreign": False,
        "pg_version": 140023,
        "hostname": "db1",
        "data_dir": "/var/lib/postgresql/14/main",
        "uncompressed_size": 41259,
        "compressed_size": 3254,
        "permanent": False,
        "delta": True,
        "delta_base": FIRST,
        "restorable": True,
        "reason": None,
    }
    assert (foreign["foreign"], foreign["system_identifier"]) == (True, OTHER)
    assert (permanent["permanent"], permanent["delta_base"], permanent["user_data"]) == (True, None, None)
    assert answer["chains"][0] == {
        "full": FIRST,
        "deltas": [DELTA],
        "system_identifier": OWN,
        "uncompressed_size": 26582596,
        "compressed_size": 4827233,
    }
    json.dumps(answer)  # a module's answer


def test_the_owners_timeline_decides(world: World) -> None:
    storage = recorded("1.1.3")
    owner = Owner(OWN, "w1", "db1", "/data", 5, 5, "2026-11-24T14:15:00Z")
    storage.marker = render(owner)
    answer = _info.read(storage, world.instance, NOW)
    assert answer["owner"] == asdict(owner)
    assert answer["trunk"]["timeline"] == 5
    assert [one["timeline"] for one in answer["timelines"] if one["orphan"]] == [3, 4]


def test_another_clusters_marker_does_not_decide(world: World) -> None:
    storage = recorded("1.1.3")
    storage.marker = render(Owner(OTHER, "w1", "db1", "/data", 5, 5, "2026-11-24T14:15:00Z"))
    assert _info.read(storage, world.instance, NOW)["trunk"]["timeline"] == 4


def test_a_damaged_marker_is_told_and_hides_nothing(world: World) -> None:
    storage = recorded("1.1.3")
    storage.marker = "{"
    answer = _info.read(storage, world.instance, NOW)
    assert answer["owner"] is None
    assert "can't be read" in answer["owner_problem"]
    assert answer["trunk"]["timeline"] == 4


@pytest.mark.parametrize("text", ["", "[]"])
def test_empty_archive(world: World, text: str) -> None:
    storage = Storage(backups=text, wal=text)
    answer = _info.read(storage, world.instance, NOW, read_last_commit=True)
    assert "st ls" not in storage.asked
    assert answer["trunk"] == {
        "timeline": None,
        "candidates": [],
        "reason": "there is no base backup from which to tell",
    }
    lists = ("system_identifiers", "foreign", "backups", "chains", "timelines", "windows", "last_commits")
    assert {name: answer[name] for name in lists} == {name: [] for name in lists}
    assert answer["ages"] == {"backup": None, "wal": None}


def test_a_foreign_archive_is_shown(tmp_path: Path) -> None:
    world = World(tmp_path, system_identifier="42")
    storage = recorded("3.0.8")
    answer = _info.read(storage, world.instance, NOW)
    assert answer["foreign"] == [OTHER, OWN]
    assert all(one["foreign"] for one in answer["backups"])
    assert len(windows(answer)) == 4
    assert answer["trunk"]["timeline"] is None


def test_a_lost_cluster_is_the_archives_only_one(tmp_path: Path) -> None:
    """The record does not know the identifier, as on a new host: the archive's is taken if it is the only one."""
    world = World(tmp_path, system_identifier="")
    rows = [listed(1, 2, "2026-11-24T10:00:00Z", identifier=OWN)]
    answer = _info.read(Storage(backups=json.dumps(rows), wal=json.dumps([shown(1, 1, 4)])), world.instance, NOW)
    assert (answer["foreign"], answer["backups"][0]["foreign"]) == ([], False)
    assert answer["trunk"]["timeline"] == 1
    assert windows(answer) == [(1, "0/2000100", "0/5000000", None, None)]  # a listing without times


def test_a_history_that_cant_be_read_is_an_error(world: World) -> None:
    storage = recorded("1.1.3")
    storage.files = {}
    with pytest.raises(
        WalgError, match=r"wal-fetch 00000004.history.*file:///storage ended with 1: ERROR: Archive does not"
    ):
        _info.read(storage, world.instance, NOW)


# --- the last commit ------------------------------------------------------------------------------------------------

MIB = 1024 * 1024


def written(*numbers: int) -> dict[str, Path | bytes]:
    """Segments of the recorded server, by their numbers (it had 1 MiB segments)."""
    return {
        f"0000000100000000{number:08X}": gzip.decompress(
            (DATA / "wal" / f"pg18-0000000100000000{number:08X}.gz").read_bytes()
        )
        for number in numbers
    }


def small(world: World, last: int, *numbers: int) -> Storage:
    """An archive of 1 MiB segments up to ``last``, of which some can be fetched."""
    settings = {"WALG_FILE_PREFIX": "/storage", "WALG_PG_WAL_SIZE": "1"}
    Path(world.instance.settings_file).write_text(json.dumps(settings))
    row = {
        **listed(1, 2, "2026-11-24T10:00:00Z", identifier=OWN),
        "start_lsn": 2 * MIB + 40,
        "finish_lsn": 2 * MIB + 256,
    }
    wal = {**shown(1, 1, 1), "end_segment": f"0000000100000000{last:08X}"}
    return Storage(backups=json.dumps([row]), wal=json.dumps([wal]), files=written(*numbers))


def test_the_last_commit_makes_the_bound_known(world: World) -> None:
    storage = small(world, 13, 13)
    answer = _info.read(storage, world.instance, NOW, read_last_commit=True)
    last = {"timeline": 1, "time": "2026-11-24T14:17:02.789917Z", "lsn": "0/D1E7D0", "lsn_int": 0xD1E7D0}
    assert answer["last_commits"] == [{**last, "segments_read": 1}]
    assert answer["windows"][0]["last"] == {
        **last,
        "lsn": "0/D1E978",  # the last record's
        "lsn_int": 0xD1E978,
        "lsn_known": True,
        "time_known": True,
    }
    assert answer["segment_size"] == MIB


def test_a_segment_without_a_commit_sends_it_back(world: World) -> None:
    storage = small(world, 12, 11, 12)
    answer = _info.read(storage, world.instance, NOW, read_last_commit=True)
    assert answer["last_commits"][0]["lsn"] == "0/BAF260"
    assert answer["last_commits"][0]["segments_read"] == 2
    assert answer["windows"][0]["last"]["lsn"] == "0/BAF260"


def test_without_any_commit_the_bound_stays_an_estimate(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_info, "_READ_BACK", 1)
    answer = _info.read(small(world, 12, 11, 12), world.instance, NOW, read_last_commit=True)
    assert answer["last_commits"] == [{"timeline": 1, "time": None, "lsn": None, "lsn_int": None, "segments_read": 1}]
    assert answer["windows"][0]["last"]["lsn_known"] is False


def test_nothing_is_fetched_unless_asked(world: World) -> None:
    storage = small(world, 13, 13)
    answer = _info.read(storage, world.instance, NOW)
    assert answer["last_commits"] == []
    assert [one for one in storage.asked if one.startswith("wal-fetch")] == []


def test_a_segment_that_cant_be_fetched_is_an_error(world: World) -> None:
    with pytest.raises(WalgError, match="wal-fetch 00000001000000000000000D"):
        _info.read(small(world, 13), world.instance, NOW, read_last_commit=True)


def test_a_wrong_segment_is_an_error(world: World) -> None:
    storage = small(world, 13)
    storage.files = {f"0000000100000000{13:08X}": next(iter(written(12).values()))}
    with pytest.raises(WalgError, match="not the segment that begins at 0xd00000"):
        _info.read(storage, world.instance, NOW, read_last_commit=True)
