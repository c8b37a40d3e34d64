# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job: site, loss, restore, and every row is back. Steps of one story, in order."""

from __future__ import annotations

import fcntl
import shlex
import shutil
from pathlib import Path

import pytest
from locations import pg_major
from support import cron
from support.majors import refusal
from support.observe import snapshot
from support.sandbox import Cluster, Sandbox

STORY = """
CREATE TABLE ledger (id int PRIMARY KEY, note text, raw bytea, at timestamptz);
CREATE SEQUENCE numbers;
"""
REFUSED = refusal(pg_major())
ROWS = "INSERT INTO ledger SELECT g, md5(g::text) || ' käse', decode(md5(g::text), 'hex'), now() FROM generate_series({0}, {1}) g"

pytestmark = pytest.mark.skipif(bool(REFUSED), reason=REFUSED)


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    made = sandbox.cluster("main")
    sandbox.storage("main")
    return made


@pytest.fixture(scope="module")
def storage(sandbox: Sandbox) -> Path:
    return sandbox.storage_dir / "main"


def test_site_sets_everything_up(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    play = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster))
    assert play.rc == 0, play.stdout
    assert cluster.sql("SHOW archive_mode") == "on"
    assert "wal-push" in cluster.sql("SHOW archive_command")
    assert play.of("walg_backup")[-1]["backup"]["system_identifier"] == cluster.system_identifier()
    assert list(storage.glob("basebackups_005/*_backup_stop_sentinel.json"))
    settings = sandbox.host / "config" / "main.json"
    assert settings.stat().st_mode & 0o777 == 0o600
    assert settings.owner() == sandbox.user


def test_the_second_site_changes_nothing(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    before = snapshot(sandbox, cluster, storage)
    play = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster))
    assert play.rc == 0, play.stdout
    assert play.changed() == []
    assert play.of("walg_instance")[0]["storage"]["asked"] is False, "what is proved is not tried again"
    ran = [line["action"].rpartition(".")[2] for line in play.results if line["status"] != "skipped"]
    assert [name for name in ran if name.startswith("walg_")] == [
        "walg_instance",
        "walg_archive",
        "walg_backup",
        "walg_schedule",
    ]
    assert snapshot(sandbox, cluster, storage) == before


def test_check_mode_says_so_too(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    before = snapshot(sandbox, cluster, storage)
    play = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster), "--check", "--diff")
    assert play.rc == 0, play.stdout
    assert play.changed() == []
    assert snapshot(sandbox, cluster, storage) == before


def test_the_scheduled_command_takes_a_base_backup(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    cluster.sql(STORY + ROWS.format(1, 500))
    there = len(list(storage.glob("basebackups_005/*.json")))
    user, command = cron.backup_of((sandbox.host / "cron" / "mapswipe-walg-main").read_text())
    assert user == sandbox.user
    bare = {"PATH": "/usr/bin:/bin", "HOME": "/", "SHELL": "/bin/sh", "WALG_FILE_PREFIX": "/stray"}
    done = sandbox.run(["/bin/sh", "-c", command], user=user, env=bare)
    assert (done.returncode, done.stdout) == (0, "")
    assert len(list(storage.glob("basebackups_005/*.json"))) == there + 1
    assert "base backup done" in (sandbox.host / "log" / "main" / "job.log").read_text()


def test_two_jobs_do_not_run_at_once(sandbox: Sandbox) -> None:
    _user, command = cron.backup_of((sandbox.host / "cron" / "mapswipe-walg-main").read_text())
    with open(sandbox.host / "state" / "main" / "backup.lock", "a", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = sandbox.run(["/bin/sh", "-c", command], user=sandbox.user, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 75
    assert "already running" in done.stdout


def test_the_job_runs_without_ansible(sandbox: Sandbox) -> None:
    _user, command = cron.backup_of((sandbox.host / "cron" / "mapswipe-walg-main").read_text())
    words = shlex.split(command)
    python = sandbox.tools["public_python"]
    bare = {"PATH": "/usr/bin:/bin"}
    assert sandbox.run([python, "-I", "-c", "import ansible"], env=bare).returncode == 1, "this Python has Ansible"
    done = sandbox.run([python, "-I", *words, "--max-age", "3600"], user=sandbox.user, env=bare)
    assert (done.returncode, done.stdout) == (0, "")


def test_loss_and_restore(sandbox: Sandbox, cluster: Cluster) -> None:
    cluster.sql(ROWS.format(501, 900) + "; SELECT setval('numbers', 42)")  # after the base backup
    cluster.ship()
    rows = cluster.rows("ledger")
    cluster.kill()
    shutil.rmtree(cluster.data_dir)
    play = sandbox.play(
        "mapswipe.walg.restore", sandbox.variables(cluster, walg_restore_request="first"), "-e", "walg_hosts=db"
    )
    assert play.rc == 0, play.stdout
    assert cluster.rows("ledger") == rows
    assert 42 <= int(cluster.sql("SELECT last_value FROM numbers")) <= 42 + 32
    done = play.of("walg_restore")[0]["restore"]
    assert done["timeline"] == 2
    assert done["kept_as"] is None
    assert cluster.sql("SELECT pg_is_in_recovery()") == "f"
    assert cluster.sql("SHOW archive_mode") == "on"
    assert play.of("walg_backup")[-1]["backup"]["timeline"] == 2, "the new timeline has its base backup"


def test_the_same_request_again_does_nothing(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    cluster.sql(ROWS.format(901, 950))
    rows, before = cluster.rows("ledger"), snapshot(sandbox, cluster, storage)
    play = sandbox.play(
        "mapswipe.walg.restore", sandbox.variables(cluster, walg_restore_request="first"), "-e", "walg_hosts=db"
    )
    assert play.rc == 0, play.stdout
    assert play.changed() == []
    assert cluster.rows("ledger") == rows
    assert snapshot(sandbox, cluster, storage) == before


def test_a_running_server_is_not_restored_over(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    before = snapshot(sandbox, cluster, storage)
    answer = sandbox.module("walg_restore", {**sandbox.instance(), "request": "second"})
    assert answer["failed"]
    assert "walg_restore_stop_running" in answer["msg"]
    assert snapshot(sandbox, cluster, storage) == before


def test_a_second_restore_of_a_stopped_cluster_keeps_the_old_directory(sandbox: Sandbox, cluster: Cluster) -> None:
    cluster.ship()
    rows = cluster.rows("ledger")
    plan = sandbox.module("walg_restore", {**sandbox.instance(), "request": "second", "stop_running": True}, check=True)
    assert plan["changed"]
    assert cluster.pid(), "check mode stopped the server"
    answer = sandbox.module("walg_restore", {**sandbox.instance(), "request": "second", "stop_running": True})
    assert answer.get("changed"), answer
    assert answer["restore"]["timeline"] == 3
    assert cluster.rows("ledger") == rows
    kept = Path(answer["restore"]["kept_as"])
    assert (kept / "PG_VERSION").exists()
    assert not list(cluster.data_dir.parent.glob("*.restore-*"))


def test_a_missing_segment_is_refused_and_nothing_is_touched(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    assert sandbox.module("walg_backup", sandbox.instance())["changed"]
    for start in (1000, 2000, 3000):
        cluster.sql(ROWS.format(start, start + 10))
        cluster.ship()
    cluster.stop()
    victim = sorted(storage.glob("wal_005/00000003*.lz4"))[-2]
    aside = sandbox.root / victim.name
    shutil.move(victim, aside)
    before = sorted(path.name for path in cluster.data_dir.parent.iterdir())
    answer = sandbox.module("walg_restore", {**sandbox.instance(), "request": "third"})
    assert answer["failed"]
    assert victim.name.split(".")[0] in answer["msg"]
    assert sorted(path.name for path in cluster.data_dir.parent.iterdir()) == before
    shutil.move(aside, victim)


def test_a_damaged_segment_stops_recovery_before_the_swap(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    victim = sorted(storage.glob("wal_005/00000003*.lz4"))[-2]
    good = victim.read_bytes()
    victim.write_bytes(good[: len(good) // 2])
    pg_control = (cluster.data_dir / "global" / "pg_control").read_bytes()
    answer = sandbox.module("walg_restore", {**sandbox.instance(), "request": "fourth"})
    assert answer["failed"]
    assert "was not touched" in answer["msg"]
    assert (cluster.data_dir / "global" / "pg_control").read_bytes() == pg_control
    assert sandbox.servers() == []
    victim.write_bytes(good)
    rows = 950 + 3 * 11
    again = sandbox.module("walg_restore", {**sandbox.instance(), "request": "fourth"})
    assert again.get("changed"), again
    assert len(cluster.rows("ledger")) == rows


def test_lost_again_needs_a_new_request(sandbox: Sandbox, cluster: Cluster) -> None:
    cluster.kill()
    shutil.rmtree(cluster.data_dir)
    answer = sandbox.module("walg_restore", {**sandbox.instance(), "request": "fourth"})
    assert answer["failed"]
    assert "new walg_restore_request" in answer["msg"]


def test_an_empty_storage_is_refused(sandbox: Sandbox, cluster: Cluster) -> None:
    empty = sandbox.storage("empty")
    variables = sandbox.variables(cluster, walg_storage=empty, walg_restore_request="fifth")
    play = sandbox.play("mapswipe.walg.restore", variables, "-e", "walg_hosts=db")
    assert play.rc != 0
    assert "holds no base backup" in play.failure()
    assert not cluster.data_dir.exists()
