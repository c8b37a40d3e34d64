# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention on a real archive: steps of one story, in order. What is gone is what the plan named, and what stays can be restored."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import Retention
from support.expiring import SENTINEL, age, backups, expire, named_by, options, stored
from support.restoring import until
from support.sandbox import Cluster, Sandbox

TWO = Retention(days=0, backups=2, minimum_backups=1, minimum_days=0)
ONE = Retention(days=0, backups=1, minimum_backups=1, minimum_days=0)


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    """A cluster that archives; deltas are allowed."""
    made = sandbox.cluster("main", archive_mode="on", autovacuum="off")
    sandbox.configure(made)
    settings = sandbox.host / "config" / "main.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "WALG_DELTA_MAX_STEPS": "3"}))
    sandbox.module("walg_archive", sandbox.instance())
    made.sql("CREATE TABLE t (i serial, at timestamptz DEFAULT now())")
    return made


@pytest.fixture(scope="module")
def storage(sandbox: Sandbox) -> Path:
    return sandbox.storage_dir / "main"


def take(sandbox: Sandbox, cluster: Cluster, full: bool = True) -> str:
    """Take a base backup, and write on; returns its name."""
    cluster.sql("INSERT INTO t DEFAULT VALUES")
    cluster.ship()
    answer = sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0, "full": full})
    assert answer.get("changed"), answer
    cluster.sql("INSERT INTO t DEFAULT VALUES")
    cluster.ship()
    return str(answer["backup"]["name"])


def fine(answer: dict[str, Any]) -> dict[str, Any]:
    assert "error" not in answer, answer["error"]
    assert not answer.get("failed"), answer
    return answer


def whole(sandbox: Sandbox) -> list[str]:
    """The base backups that can be restored."""
    listed = sandbox.module("walg_backup_info", sandbox.instance())["backups"]
    return [one["name"] for one in listed if one["restorable"]]


def test_a_plan_is_shown_before_it_is_carried_out(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    first, second, third = (take(sandbox, cluster) for _turn in range(3))
    call = {**sandbox.instance(), **options(TWO)}
    before = stored(storage)
    for check in (True, False):
        shown = fine(sandbox.module("walg_retention", call, check=check))
        assert (shown["changed"], shown["shown_only"], stored(storage) == before) == (False, True, True)
        assert [one["name"] for one in shown["plan"]["delete"]] == [first]
    assert first in shown["diff"]["before"]
    assert first not in shown["diff"]["after"]
    assert len(shown["plan"]["windows_after"]) == 1
    foretold = fine(sandbox.module("walg_retention", {**call, "confirmed": True}, check=True))
    assert (foretold["changed"], foretold["shown_only"], stored(storage) == before) == (True, False, True)
    done = fine(sandbox.module("walg_retention", {**call, "confirmed": True}))
    assert (done["changed"], done["plan"]) == (True, foretold["plan"])
    assert before - stored(storage) == named_by(foretold["plan"], before)
    assert backups(storage) == whole(sandbox) == [second, third]
    assert done["plan"]["wal"]["segments"] > 0
    rests = stored(storage)
    for check in (True, False):
        again = fine(sandbox.module("walg_retention", call, check=check))
        assert (again["changed"], again["shown_only"], again["text"]) == (False, False, "nothing to delete")
    assert stored(storage) == rests


def test_a_later_run_carries_a_shown_plan_out(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    before = stored(storage)
    assert fine(expire(sandbox, ONE, confirmed=False))["shown_only"]
    assert fine(expire(sandbox, ONE, confirmed=False, later=timedelta(hours=19)))["shown_only"]
    assert stored(storage) == before
    done = fine(expire(sandbox, ONE, confirmed=False, later=timedelta(hours=21)))
    assert (done["changed"], done["shown_only"], len(backups(storage))) == (True, False, 1)


def test_killed_at_each_step(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    """Before the first object, after the record, among parts, among WAL: what is kept is never hurt, and the last run finds the rest."""
    stays = take(sandbox, cluster)
    before = stored(storage)
    plan = fine(expire(sandbox, ONE, dry=True))["plan"]
    wanted, files = named_by(plan, before), plan["delete"][0]["objects"]
    gone: set[str] = set()
    for most in (0, 1, 2, files - 2):
        assert "error" in expire(sandbox, ONE, most=most)
        assert len(before - stored(storage)) == len(gone) + most
        gone = before - stored(storage)
        assert gone <= wanted
        assert whole(sandbox)[-1] == stays
    assert [one for one in gone if one.startswith("wal_005/")], "the last kill was among WAL"
    assert fine(expire(sandbox, ONE))["changed"]
    assert before - stored(storage) == wanted
    assert backups(storage) == whole(sandbox) == [stays]
    again = fine(expire(sandbox, ONE))
    assert (again["changed"], again["text"]) == (False, "nothing to delete")


def test_deltas_keep_what_they_are_based_on(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    base = take(sandbox, cluster)
    delta = take(sandbox, cluster, full=False)
    assert "_D_" in delta
    done = fine(expire(sandbox, ONE))
    assert [one["name"] for one in done["plan"]["keep"]] == [base, delta]
    assert backups(storage) == whole(sandbox) == [base, delta]
    full = take(sandbox, cluster)
    done = fine(expire(sandbox, ONE))
    assert [one["name"] for one in done["plan"]["delete"]] == [delta, base], "deltas before their bases"
    assert backups(storage) == whole(sandbox) == [full]


def test_permanent_until_a_time(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    (kept,) = backups(storage)
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    mark = {**sandbox.instance(), "name": kept, "until": until}
    assert fine(sandbox.module("walg_backup_mark", mark, check=True))["marked"] == [kept]
    assert fine(sandbox.module("walg_backup_mark", mark))["permanent"] == [{"name": kept, "until": until}]
    assert fine(sandbox.module("walg_backup_mark", mark))["changed"] is False
    newest = take(sandbox, cluster)
    done = fine(expire(sandbox, ONE))
    assert backups(storage) == whole(sandbox) == [kept, newest]
    assert [one["backups"] for one in done["plan"]["windows_after"]] == [1, 1], "the permanent one without later WAL"
    late = fine(expire(sandbox, ONE, later=timedelta(days=2)))
    assert ([one["name"] for one in late["plan"]["delete"]], backups(storage)) == ([kept], [newest])
    forever = {**sandbox.instance(), "name": newest}
    fine(sandbox.module("walg_backup_mark", forever))
    assert fine(sandbox.module("walg_backup_mark", {**forever, "permanent": False}))["permanent"] == []
    assert fine(sandbox.module("walg_backup_mark", {**forever, "permanent": False}))["changed"] is False
    refused = sandbox.module("walg_backup_mark", {**forever, "name": "base_none"})
    assert "There is no base backup 'base_none'" in refused["msg"]


def test_by_age_with_a_window(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    """Of four, 40, 9, 4 and 0 days old: the one of 9 days opens the window of 7; what is older goes with its WAL."""
    (old,) = backups(storage)
    age(storage, old, 31)
    opener = take(sandbox, cluster)
    age(storage, old, 5)
    age(storage, opener, 5)
    middle = take(sandbox, cluster)
    for name in (old, opener, middle):
        age(storage, name, 4)
    newest = take(sandbox, cluster)
    done = fine(expire(sandbox, Retention(days=1, minimum_backups=1, minimum_days=7)))
    assert [one["name"] for one in done["plan"]["delete"]] == [old, middle]
    assert backups(storage) == whole(sandbox) == [opener, newest]
    (window,) = done["plan"]["windows_after"]
    assert datetime.fromisoformat(window["first_time"]) < datetime.now(UTC) - timedelta(days=7)
    assert done["plan"]["wal"]["segments"] > 0


def test_clocks_and_policies_that_would_leave_nothing(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    before = stored(storage)
    nothing = Retention(days=0, minimum_backups=0, minimum_days=0)
    assert "keeps nothing" in expire(sandbox, nothing)["error"]
    assert "The clocks disagree" in expire(sandbox, ONE, later=timedelta(hours=-3))["error"]
    assert "days old; at most 2.5 are allowed" in expire(sandbox, ONE, later=timedelta(days=3))["error"]
    assert "days old; at most 2.5 are allowed" in expire(sandbox, ONE, later=timedelta(days=900))["error"]
    newest = backups(storage)[-1]
    record = storage / "basebackups_005" / f"{newest}{SENTINEL}"
    when = record.stat().st_mtime
    os.utime(record, (when + 7200, when + 7200))
    assert "The clocks disagree" in expire(sandbox, ONE)["error"]
    os.utime(record, (when, when))
    assert stored(storage) == before


def test_a_shared_prefix_is_rejected(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    before = stored(storage)
    for place in ("other/wal_005", "wal_005/other/basebackups_005"):
        directory = storage / place
        directory.mkdir(parents=True)
        (directory / "000000010000000000000001.lz4").write_text("x")
        assert "which is not WAL-G's" in expire(sandbox, ONE)["error"]
        shutil.rmtree(directory.parent)
    assert stored(storage) == before


def test_what_a_killed_backup_has_left(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    """It goes after a day in which the storage has moved on; files of strangers stay for ever."""
    left = storage / "basebackups_005" / "base_000000010000000500000099" / "tar_partitions"
    left.mkdir(parents=True)
    (left / "part_001.tar.lz4").write_text("x")
    for path in (left.parent, left):
        shutil.chown(path, sandbox.user)
    stranger = storage / "basebackups_005" / "notes.txt"
    stranger.write_text("x")
    (storage / "wal_005" / "notes.txt").write_text("x")
    assert fine(expire(sandbox, TWO))["plan"]["leftovers"] == []
    long_ago = (storage / "wal_005").stat().st_mtime - 90000
    os.utime(left / "part_001.tar.lz4", (long_ago, long_ago))
    done = fine(expire(sandbox, TWO))
    assert [one["name"] for one in done["plan"]["leftovers"]] == [left.parent.name]
    assert (list(left.glob("*")), stranger.exists()) == ([], True)
    stranger.unlink()
    (storage / "wal_005" / "notes.txt").unlink()


def test_the_oldest_that_is_kept_can_be_restored(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    """By WAL-G and PostgreSQL alone, to the latest state."""
    oldest = backups(storage)[0]
    rows = cluster.rows("t")
    copy = sandbox.idle_cluster("copy")
    argv = [str(sandbox.walg), "--config", str(sandbox.host / "config" / "main.json")]
    fetched = sandbox.run([*argv, "backup-fetch", str(copy.data_dir), oldest], user=sandbox.user)
    assert fetched.returncode == 0, fetched.stdout
    with open(copy.data_dir / "postgresql.auto.conf", "a", encoding="utf-8") as stream:
        stream.write(f"port = {copy.port}\nunix_socket_directories = '{copy.socket_dir}'\narchive_mode = off\n")
        stream.write(f"restore_command = '{' '.join(argv)} wal-fetch %f %p'\nrecovery_target_action = promote\n")
    (copy.data_dir / "recovery.signal").touch()
    copy.start()
    until(lambda: copy.sql("SELECT pg_is_in_recovery()") == "f")
    assert copy.rows("t") == rows
    copy.stop()


def test_a_second_cluster_in_the_prefix(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    """As after pg_upgrade: WAL-G's own deletion would take the new one's base backups for the oldest; ours does not touch the prefix."""
    newer = sandbox.cluster("newer", archive_mode="on", autovacuum="off")
    settings = json.loads((sandbox.host / "config" / "main.json").read_text())
    config = sandbox.host / "config" / "newer.json"
    config.write_text(json.dumps({**settings, "PGHOST": str(newer.socket_dir), "PGPORT": str(newer.port)}))
    shutil.copystat(sandbox.host / "config" / "main.json", config)
    shutil.chown(config, sandbox.user)
    argv = [str(sandbox.walg), "--config", str(config)]
    newer.sql(
        f"ALTER SYSTEM SET archive_command = '{' '.join(argv)} wal-push {newer.data_dir}/%p'; SELECT pg_reload_conf()"
    )
    pushed = sandbox.run([*argv, "backup-push", str(newer.data_dir), "--full"], user=sandbox.user)
    assert pushed.returncode == 0, pushed.stdout
    new = backups(storage)[-1]
    before = stored(storage)
    told = sandbox.run([*argv, "delete", "retain", "FULL", "1"], user=sandbox.user).stdout
    assert f"{new}{SENTINEL}" in told, "WAL-G would delete the newest base backup"
    answer = expire(sandbox, ONE)
    assert "another cluster" in answer["error"]
    assert stored(storage) == before
