# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Green means restorable: what ends well has an archive that leads to what the server holds; what does not, says so or mends it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.restoring import archived, backup, done, moved_away, until
from support.sandbox import Cluster, Sandbox


def wanted(sandbox: Sandbox, **options: Any) -> dict[str, Any]:
    """Ask for a base backup if one is needed, as site does."""
    return sandbox.module("walg_backup", {**sandbox.instance(), **options})


def restarted(cluster: Cluster, *settings: str) -> None:
    cluster.stop()
    options = [word for setting in settings for word in ("-c", setting)]
    cluster.start(*options)


def job(sandbox: Sandbox) -> tuple[int, str]:
    """Run the job as cron does, if none is younger than a day."""
    program, config = sandbox.host / "program" / "walg-job", str(sandbox.host / "config")
    argv = [str(program), "backup", "--instance", "main", "--config-dir", config, "--max-age", "86400"]
    ended = sandbox.run(argv, user=sandbox.user)
    return ended.returncode, ended.stdout


def info(sandbox: Sandbox) -> dict[str, Any]:
    found = sandbox.module("walg_backup_info", sandbox.instance())
    assert not found.get("failed"), found
    return found


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return make_sandbox()


@pytest.mark.parametrize("crossing", [False, True])
def test_an_hour_of_wal_level_minimal(sandbox: Sandbox, crossing: bool) -> None:
    """COPY and CREATE TABLE AS write no WAL then; within one segment no segment is missing afterwards."""
    history = archived(sandbox)
    cluster = history.cluster
    history.ship(2)
    first = str(info(sandbox)["backups"][0]["name"])
    assert wanted(sandbox)["changed"] is False
    restarted(cluster, "wal_level=minimal", "archive_mode=off", "max_wal_senders=0")
    refusal = wanted(sandbox)
    assert "archive_mode is off" in str(refusal.get("msg")), refusal
    cluster.sql("CREATE TABLE skipped AS SELECT g FROM generate_series(1, 1000) g")
    if crossing:
        cluster.sql("SELECT pg_switch_wal()")
        cluster.sql("INSERT INTO t VALUES (1000)")
    restarted(cluster)
    answer = wanted(sandbox)
    assert answer.get("changed"), answer
    assert not answer["backup"]["delta"]
    answer = info(sandbox)
    assert len(answer["backups"]) == 2, "a new base backup was taken"
    cluster.sql("INSERT INTO t VALUES (2000)")
    cluster.ship()
    answer = info(sandbox)
    windows = answer["windows"]
    assert [first in window["backups"] for window in windows] == [True, False], windows
    assert windows[0]["missing"]
    assert windows[0]["last"]["lsn_int"] < windows[1]["first"]["lsn_int"]
    assert wanted(sandbox)["changed"] is False
    done(sandbox, "after", stop_running=True)
    assert cluster.sql("SELECT count(*) FROM skipped") == "1000"
    assert cluster.sql("SELECT count(*) FROM t WHERE id = 2000") == "1"


def test_segments_that_went_nowhere(sandbox: Sandbox) -> None:
    """archive_command was /bin/true for a while, and is ours again: also before a later segment shows the gap."""
    history = archived(sandbox)
    cluster = history.cluster
    command = cluster.sql("SHOW archive_command")
    cluster.sql("ALTER SYSTEM SET archive_command = '/bin/true'; SELECT pg_reload_conf()")
    assert "archive_command is '/bin/true'" in str(wanted(sandbox).get("msg"))
    assert job(sandbox)[0] == 1
    history.ship(2)
    cluster.sql("ALTER SYSTEM RESET archive_command; SELECT pg_reload_conf()")
    assert cluster.sql("SHOW archive_command") == command
    answer = wanted(sandbox)
    assert answer.get("changed"), answer
    assert "the archive has a gap after" in answer["reason"]
    assert wanted(sandbox)["changed"] is False


def test_the_archiver_fails_and_the_newest_base_backup_is_young(sandbox: Sandbox) -> None:
    history = archived(sandbox)
    cluster = history.cluster
    wrapper = sandbox.host / "program" / "wal-push"
    kept = wrapper.read_text()
    wrapper.write_text("#!/bin/sh\nexit 1\n")
    history.step()
    cluster.sql("SELECT pg_switch_wal()")
    for _turn in range(100):
        if int(cluster.sql("SELECT failed_count FROM pg_stat_archiver")):
            break
        cluster.sql("SELECT pg_sleep(0.1)")
    code, said = job(sandbox)
    assert (code, "Archiving to" in said, "does not work" in said) == (1, True, True), said
    assert sandbox.module("walg_archive_check", sandbox.instance(), check=True)["changed"] is True, "its proof is void"
    wrapper.write_text(kept)
    cluster.ship()
    assert job(sandbox)[0] == 0


def test_a_data_directory_of_yesterday_under_today_s_archive(sandbox: Sandbox) -> None:
    """A file system snapshot is put back: same timeline, other content to come."""
    history = archived(sandbox)
    cluster = history.cluster
    cluster.stop()
    kept = cluster.data_dir.with_name("snapshot")
    subprocess.run(["cp", "-a", str(cluster.data_dir), str(kept)], check=True)
    cluster.start()
    history.ship(3)
    cluster.stop()
    shutil.rmtree(cluster.data_dir)
    kept.rename(cluster.data_dir)
    cluster.start()
    for options in ({}, {"max_age": 0}):
        refusal = str(wanted(sandbox, **options).get("msg"))
        assert "is ahead of the server" in refusal


def test_a_chain_without_its_full_base_backup_is_none(sandbox: Sandbox) -> None:
    history = archived(sandbox, walg={"WALG_DELTA_MAX_STEPS": "3"})
    history.ship(1)
    second = backup(sandbox)
    assert second["delta"], second
    first = second["name"].rpartition("_D_")[2]
    for path in (sandbox.storage_dir / "main" / "basebackups_005").glob(f"base_{first}_backup_stop_sentinel.json"):
        path.unlink()
    answer = wanted(sandbox)
    assert answer.get("changed"), answer
    assert not answer["backup"]["delta"]


@pytest.mark.parametrize("below", ["", "/deeper/main"])
def test_a_share_that_is_not_mounted(sandbox: Sandbox, below: str) -> None:
    """What is there then is the empty directory below: push, job and site fail, and nothing is written to it."""
    share = sandbox._own("storage/share")
    prefix = Path(f"{share}{below}")
    sandbox.run(["mkdir", "-p", str(prefix)], user=sandbox.user)
    history = archived(sandbox, storage=f"file://{prefix}")
    cluster = history.cluster
    if not below:  # as on a real mount point, beside which another file system is
        (share.parent / "share.owner" / "mapswipe_walg_owner.json").rename(share / "mapswipe_walg_owner.json")
        (share.parent / "share.owner").rmdir()
        cluster.stop()
        cluster.start()
        history.ship(1)
    with moved_away(share):
        sandbox._own("storage/share")
        failed = int(cluster.sql("SELECT failed_count FROM pg_stat_archiver"))
        history.step()
        cluster.sql("SELECT pg_switch_wal()")
        until(lambda: int(cluster.sql("SELECT failed_count FROM pg_stat_archiver")) > failed)
        assert "Is the share mounted?" in cluster.log.read_text()
        code, said = job(sandbox)
        assert (code, "Is the share mounted?" in said) == (1, True), said
        variables = sandbox.variables(cluster, walg_storage=f"file://{prefix}")
        play = sandbox.play("mapswipe.walg.site", variables)
        assert play.rc != 0
        assert "Is the share mounted?" in play.stdout
        assert list(share.rglob("*")) == []
    history.ship(1)
    assert job(sandbox)[0] == 0
