# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A base backup exists: when one is needed, and when one counts. WAL-G and PostgreSQL answer by a script."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _owner, _wal_path
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _memory, _need, _take
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import StorageError, WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _facts, _locks, _times
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _backups
from support.scripted import Call, Scripted
from support.walg_world import IDENTIFIER, SIZE, World, inventory, listed, segment, shown

NOON = "2026-01-02T12:00:00Z"
NAME = f"base_{segment(1, 2)}"


@pytest.fixture(autouse=True)
def _no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of the cluster's hosts is a session of a real server: test_backup_on_standby.py."""
    monkeypatch.setattr(_take._cluster_lock, "held", lambda *_: contextlib.nullcontext())


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One backup of noon in segment 2, and its WAL."""
    return World(tmp_path, [listed(1, 2, NOON)], [shown(1, 1, 5)])


def looked(world: World, **facts: Any) -> list[Call]:
    """With backups and their WAL, up to where it is known whether one is needed."""
    return [world.facts(**facts), world.version(), world.owner(), *world.lists(), world.present(), world.shows()]


def enough(world: World, **facts: Any) -> list[Call]:
    """As looked; none is needed, so it is asked whether what is there leads to the present."""
    return [*looked(world, **facts), world.present(), world.sentinel(NAME)]


def plan(world: World, calls: list[Call], max_age: float | None = None, now: str = NOON) -> _need.BackupPlan:
    runner = Scripted(calls=calls)
    made = _need.plan(runner, world.instance, max_age, _times.moment(now))
    runner.finish()
    return made


@pytest.mark.parametrize(
    ("start", "finish", "held", "expected"),
    [
        (2 * SIZE + 40, 2 * SIZE + 256, (2, 2), True),
        (2 * SIZE + 40, 2 * SIZE + 256, (3, 9), False),
        (2 * SIZE + 40, 3 * SIZE + 1, (2, 2), False),
        (2 * SIZE + 40, 3 * SIZE + 1, (2, 3), True),
        (2 * SIZE + 40, 3 * SIZE, (2, 2), True),  # the finish is the byte after the last one that is needed
        (2 * SIZE, 2 * SIZE, (2, 2), True),
        (2 * SIZE, 2 * SIZE, (1, 1), False),
    ],
)
def test_a_backup_counts_with_all_its_wal(start: int, finish: int, held: tuple[int, int], expected: bool) -> None:
    row = {**listed(1, 2, NOON), "start_lsn": start, "finish_lsn": finish}
    (backup,) = _backups.parse_list(json.dumps([row]))
    assert (not _wal_path.lacking(backup, 1, inventory(shown(1, *held)))) is expected


def test_a_backup_does_not_count_by_another_timelines_wal() -> None:
    (backup,) = _backups.parse_list(json.dumps([listed(1, 2, NOON)]))
    assert _wal_path.lacking(backup, 1, inventory(shown(2, 1, 5)))


@pytest.mark.parametrize(
    ("max_age", "now", "needed"),
    [
        (None, "2027-01-01T00:00:00Z", False),
        (0, NOON, True),
        (0, "2026-01-02T12:00:01Z", True),
        (3600, "2026-01-02T12:59:59Z", False),
        (3600, "2026-01-02T13:00:00Z", True),
        (3600, "2026-01-02T14:59:59+02:00", False),
        (3600, "2026-01-02T11:01:00Z", False),
        (3600, "2026-01-02T10:59:00Z", True),  # it ended in the future: its age is not known
        (None, "2026-01-02T10:59:00Z", False),
    ],
)
def test_age(world: World, max_age: float | None, now: str, needed: bool) -> None:
    made = plan(world, looked(world) if needed else enough(world), max_age, now)
    assert made.needed is needed
    assert made.existing is not None
    assert made.existing.name == NAME
    assert NAME in made.reason


def test_known_damage_on_the_way_to_the_present(world: World) -> None:
    """A full one is needed, however young the newest is; damage before it makes none needed."""
    path = Path(world.instance.files.verification)
    path.parent.mkdir(parents=True, exist_ok=True)
    memory = _memory.Memory()
    memory.doubt(f"wal_005/{segment(1, 1)}.lz4", "cut off", sure=True, now=NOON)
    _memory.save(str(path), memory)
    assert plan(world, enough(world)).needed is False
    memory.doubt(f"wal_005/{segment(1, 4)}.lz4", "cut off", sure=True, now=NOON)
    _memory.save(str(path), memory)
    made = plan(world, looked(world))
    assert (made.needed, made.deltas) == (True, False)
    assert f"wal_005/{segment(1, 4)}.lz4" in made.reason
    assert made.existing is not None


def test_empty_storage(world: World) -> None:
    world.backups = []
    made = plan(world, [world.facts(), world.version(), *world.no_owner(), *world.lists(), world.present()])
    assert (made.needed, made.existing, made.names) == (True, None, frozenset())
    assert made.reason == f"no restorable base backup exists for system identifier {IDENTIFIER}, timeline 1"


def test_first_on_this_timeline(world: World) -> None:
    """After a promotion the old timeline's backup is one of another line."""
    made = plan(world, looked(world, timeline=2)[:-1])
    assert (made.needed, made.existing) == (True, None)
    assert made.names == {NAME}


def test_one_without_its_wal_does_not_count_and_an_older_one_does(world: World) -> None:
    world.backups.append(listed(1, 6, "2026-01-02T13:00:00Z"))
    made = plan(world, enough(world))
    assert made.existing is not None
    assert (made.needed, made.existing.name) == (False, NAME)
    world.wal = [shown(1, 3, 5)]
    assert plan(world, looked(world)).needed is True


def test_foreign_archive(world: World) -> None:
    world.backups.append(listed(1, 3, NOON, identifier="7"))
    with pytest.raises(WalgError, match=r"another cluster \(system identifier 7\)"):
        plan(world, looked(world)[:-2])


def test_a_pair_that_can_not_work_is_refused_before_the_storage_is_asked(world: World) -> None:
    old = world.version("wal-g version v1.1.3-rc\tx\ty\tPostgreSQL\n")
    with pytest.raises(WalgError, match=r"PostgreSQL 15.*WAL-G 2\.0\.1 or newer"):
        plan(world, [world.facts(version_num=150018), old])


def test_a_standby_is_left_to_its_primary(world: World) -> None:
    made = plan(world, [world.facts(in_recovery=True)], max_age=0)
    assert (made.needed, made.existing) == (False, None)
    assert take(world, [world.facts(in_recovery=True)], max_age=0)["changed"] is False


def test_the_wrong_server(world: World) -> None:
    with pytest.raises(WalgError, match="runs on /other"):
        plan(world, [world.facts(data_directory="/other")])


# --- taking one -------------------------------------------------------------------------------------------------------


def take(world: World, calls: list[Call], **options: Any) -> dict[str, Any]:
    runner = Scripted(calls=calls)
    answer = _take.ensure(runner, world.instance, **options)
    runner.finish()
    return answer


def push(world: World, *more: str, **answer: Any) -> list[Call]:
    """The limits and ICU are asked for, then WAL-G is run."""
    limits = world.psql([{"name": "max_connections", "setting": "100"}], stdin="'max_connections'")
    data = {
        "mapswipe_walg": {
            "icu": "153.120",
            "instance": "main",
            "os": _facts.system(),
            "libc": " ".join(platform.libc_ver()).strip(),
            "limits": {"max_connections": "100"},
            "system_identifier": IDENTIFIER,
            "timeline": 1,
            "segment_size": 16 * 1024 * 1024,
            "settings": {"track_commit_timestamp": "on"},
            "withheld": ["archive_command"],
            "altered": [],
            "subscriptions": [],
            "origins": 15,
            "links": {},
            "dead_links": {},
        }
    }
    options = "-c statement_timeout=0 -c idle_session_timeout=0"
    env = {
        "WALG_SENTINEL_USER_DATA": json.dumps(data, sort_keys=True),
        "PGOPTIONS": options,
        "WALG_LOG_LEVEL": "NORMAL",
        "WALG_LOG_DESTINATION": "stderr",
    }
    rows = [
        {"name": "archive_command", "setting": "/bin/x", "vartype": "string", "altered": False},
        {"name": "track_commit_timestamp", "setting": "on", "vartype": "bool", "altered": False},
    ]
    return [
        limits,
        world.psql("153.120\n", stdin="pg_collation_actual_version"),
        world.psql(rows, stdin="pg_settings"),
        world.psql("", stdin="pg_subscription"),
        world.psql("15\n", stdin="pg_replication_origin"),
        world.walg("backup-push", str(world.data_dir), *more, env=env, **answer),
    ]


def answers(world: World) -> Call:
    """After a failure: does the storage answer?"""
    return world.walg("st", "ls", stdout="type size\n")


SECOND = listed(1, 6, "2026-01-03T12:00:00Z", segments=1)


def second(world: World) -> Call:
    """The list when a second backup is in it, whose WAL goes to segment 7."""
    return world.walg("backup-list", "--detail", "--json", stdout=json.dumps([*world.backups, SECOND]))


def wal_of(world: World, rows: list[dict[str, Any]]) -> Call:
    return world.walg("wal-show", "--detailed-json", "--without-backups", stdout=json.dumps(rows))


def test_one_that_is_young_enough_stays(world: World) -> None:
    answer = take(world, enough(world))
    assert (answer["changed"], answer["backup"]["name"]) == (False, NAME)


@pytest.mark.parametrize(("full", "more"), [(False, []), (True, ["--full"])])
def test_a_backup_is_taken_and_its_wal_waited_for(world: World, full: bool, more: list[str]) -> None:
    calls = [
        *looked(world),
        *push(world, *more, stderr="INFO: Wrote backup"),
        second(world),
        wal_of(world, [shown(1, 1, 6)]),
        wal_of(world, [shown(1, 1, 7)]),
        world.sentinel(f"base_{segment(1, 6)}"),
    ]
    answer = take(world, calls, max_age=0, full=full, timeout=77)
    assert (answer["changed"], answer["backup"]["name"]) == (True, f"base_{segment(1, 6)}")
    assert answer["log"] == "INFO: Wrote backup"
    progress = json.loads(Path(world.instance.state_dir, "progress.json").read_text())
    assert (progress["what"], progress["phase"]) == ("backup", "done")


def test_the_time_out_is_the_instances_unless_given(world: World) -> None:
    for given, wanted in ((None, 86400), (77.0, 77.0)):
        runner = Scripted(calls=[*looked(world), *push(world, rc=1), answers(world)])
        with pytest.raises(WalgError):
            _take.ensure(runner, world.instance, max_age=0, timeout=given)
        assert runner.timeouts[-2] == wanted


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"rc": 1, "stderr": "ERROR: connection refused\n"}, "ended with 1: ERROR: connection refused"),
        ({"rc": -9, "timed_out": True}, "did not end within 86400 s.*pg_stat_archiver"),
    ],
)
def test_a_failing_push(world: World, answer: dict[str, Any], text: str) -> None:
    with pytest.raises(WalgError, match=text):
        take(world, [*looked(world), *push(world, **answer), answers(world)], max_age=0)


def test_a_push_fails_since_the_storage_does(world: World) -> None:
    silent = world.walg("st", "ls", rc=1, stderr="ERROR: dial tcp: connection refused\n")
    with pytest.raises(StorageError, match=r"ended with 1: ERROR: broken.*connection refused"):
        take(world, [*looked(world), *push(world, rc=1, stderr="ERROR: broken\n"), silent], max_age=0)


def test_success_without_a_new_backup_is_none(world: World) -> None:
    """A standby's second backup within one checkpoint has the first one's name and silently replaces it."""
    with pytest.raises(WalgError, match="lists no new base backup"):
        take(world, [*looked(world), *push(world), *world.lists()], max_age=0)


def test_a_backup_whose_wal_never_comes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_take, "WAL_TIMEOUT", 0.0)
    late = wal_of(world, [shown(1, 1, 6)])
    with pytest.raises(WalgError, match=rf"but its WAL is not: {segment(1, 7)} missing") as caught:
        take(world, [*looked(world), *push(world), second(world), late, late], max_age=0)
    assert caught.value.fields == {"missing": [segment(1, 7)]}


def test_a_second_run_at_the_same_time_is_refused(world: World) -> None:
    path = os.path.join(world.instance.state_dir, "backup.lock")
    with _locks.locked(path, "x"), pytest.raises(_locks.LockedError, match="'main'"):
        take(world, looked(world), max_age=0)


def test_nothing_to_do_needs_no_lock(world: World) -> None:
    """A check or a second play is no failure while the job runs."""
    with _locks.locked(os.path.join(world.instance.state_dir, "backup.lock"), "x"):
        assert take(world, enough(world))["changed"] is False


def test_now_is_in_the_backups_zone(world: World) -> None:
    made = _need.plan(Scripted(calls=enough(world)), world.instance, 60.0, datetime(2026, 1, 2, 12, 0, 59, tzinfo=UTC))
    assert made.needed is False


# --- whose archive it is ----------------------------------------------------------------------------------------------


def put(world: World) -> Call:
    source = os.path.join(world.instance.state_dir, _owner.OBJECT)
    return world.walg("st", "put", source, _owner.OBJECT, "-f", "--no-compress", "--no-encrypt")


def test_another_writer_s_archive_is_left_alone_and_the_wrapper_asks_again(world: World) -> None:
    """As an old primary's job learns after a failover: what was confirmed for it holds no longer."""
    note = Path(world.instance.files.push_owner)
    note.write_text("confirmed")
    with pytest.raises(_owner.ForeignError, match="walg_backup_take_over"):
        take(world, [world.facts(), world.version(), world.owner(writer="w1")], max_age=0)
    assert not note.exists()


def test_another_failure_leaves_the_wrapper_s_note(world: World) -> None:
    note = Path(world.instance.files.push_owner)
    note.write_text("confirmed")
    with pytest.raises(WalgError):
        take(world, [world.facts(), world.version("broken\n")], max_age=0)
    assert note.exists()


def test_the_marker_follows_a_failover_before_the_first_backup(world: World) -> None:
    """The new primary's job may come before the role. Looking alone writes nothing."""
    world.backups = []
    before = [world.facts(timeline=2), world.version(), world.owner(writer="w1"), *world.lists(), world.present()]
    stale = world.owner(writer="w1")  # here the storage keeps the old one, which must not go unnoticed
    with pytest.raises(WalgError, match="reads differently"):
        take(world, [*before, put(world), stale])
    owner = plan(world, before).owner
    assert owner is not None
    assert owner.after is not None
    assert (owner.after.data_dir, owner.after.timeline) == (str(world.data_dir), 2)


def test_a_backup_marks_no_archive_that_has_no_marker(world: World) -> None:
    """Only the role does, after its checks. The first of a timeline is a full one: a delta would build on another's."""
    world.backups = []
    before = [world.facts(), world.version(), *world.no_owner(), *world.lists(), world.present()]
    with pytest.raises(WalgError, match="ended with 1"):
        take(world, [*before, *push(world, "--full", rc=1), answers(world)])
