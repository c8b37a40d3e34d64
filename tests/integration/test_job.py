# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job's days: all is well; a storage that is gone; a hole, which a new full base backup closes; who is told of what, and what is kept.

What may be lost in any of it: nothing.
"""

from __future__ import annotations

import json
import shutil
import threading
import time

import pytest
from support.job_host import Host, Receiver, hook_of
from support.sandbox import Sandbox


@pytest.fixture(scope="module")
def host(sandbox: Sandbox, receiver: Receiver) -> Host:
    cluster = sandbox.cluster("main", initdb=["--data-checksums"])
    sandbox.storage("main")
    cluster.sql("CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 100)")
    variables = sandbox.variables(
        cluster,
        walg_backup_failure_command=[str(hook_of(sandbox))],
        walg_backup_webhook=f"{receiver.address}/a-secret",
        walg_backup_ping=f"{receiver.address}/ping",
        walg_backup_archive_timeout=60,
    )
    done = sandbox.play("mapswipe.walg.site", variables)
    assert done.rc == 0, done.stdout
    return Host(sandbox, cluster, receiver)


def test_a_check_of_a_ready_host_is_silent_and_leaves_facts_and_metrics(host: Host) -> None:
    done = host.job("check", "--scheduled")
    assert (done.rc, done.stdout, done.stderr) == (0, "", ""), host.facts()["verdict"]
    facts = host.facts()
    assert facts["verdict"]["restorable"] == "yes"
    assert facts["health"]["server"] == "primary"
    assert facts["health"]["heartbeat"]
    assert host.receiver.pings == ["/ping"]
    assert host.receiver.messages == []
    metrics = (host.state / "metrics.prom").read_text()
    assert 'walg_job_last_exit_code{walg_instance="main",verb="check"} 0' in metrics
    assert [run["code"] for run in host.runs("check")] == [0]


def test_what_is_due_is_done_once(host: Host) -> None:
    first = host.job("run", "--scheduled")
    assert (first.rc, first.stderr) == (0, ""), first.stdout
    # The base backup that the play took is younger than half a day, so none is needed; a slice of the storage is read back.
    assert [(run["code"], run["changed"]) for run in host.runs("backup")] == [(0, False)]
    assert [run["code"] for run in host.runs("verify")] == [0]
    assert host.runs("expire") == []
    second = host.job("run", "--scheduled")
    assert (second.rc, second.stderr) == (0, "")
    assert len(host.runs("backup")) == len(host.runs("verify")) == 1
    assert host.runs("run")[-1]["text"] == "nothing is due"


def test_a_base_backup_by_hand_and_retention_after_it(host: Host) -> None:
    done = host.job("backup")
    assert (done.rc, done.stdout, done.stderr) == (0, "", "")
    assert host.runs("backup")[-1]["changed"]
    due = host.job("run", "--scheduled")
    assert (due.rc, due.stderr) == (0, "")
    assert host.runs("expire")[-1]["details"]["deleted"] == []


def test_status_and_page(host: Host) -> None:
    shown = host.job("status")
    assert shown.rc == 0, shown.stdout + shown.stderr
    assert "yes" in shown.stdout.splitlines()[0]
    told = json.loads(host.job("status", "--json").stdout)
    assert told["verdict"]["restorable"] == "yes"
    page = host.job("report")
    assert page.rc == 0
    assert page.stdout.lstrip().startswith("<!DOCTYPE html>")
    assert "a-secret" not in page.stdout + json.dumps(told)
    watched = host.job("status", "--watch")
    assert (watched.rc, watched.stdout) == (0, "nothing runs\n")


def test_a_storage_that_is_gone_is_told_once_and_then_its_return(host: Host) -> None:
    away = host.storage.with_name("away")
    messages = len(host.receiver.messages)
    host.storage.rename(away)
    try:
        first = host.job("check", "--scheduled")
        assert first.rc == 7, first.stderr
        assert first.stderr.startswith("walg-job[main]: ")
        assert len(host.receiver.messages) == messages + 1
        told = host.receiver.messages[-1]
        assert told["text"].startswith("[PROBLEM] walg check of main on ")
        assert "a-secret" not in json.dumps(told)
        again = host.job("check", "--scheduled")
        assert (again.rc, again.stderr) == (7, "")
        assert len(host.receiver.messages) == messages + 1
        assert host.told()[-1]["code"] == 7
    finally:
        away.rename(host.storage)
    back = host.job("check", "--scheduled")
    assert (back.rc, back.stderr) == (0, "")
    assert host.receiver.messages[-1]["text"].startswith("[OK] walg check of main on ")


def test_a_hole_in_the_archive_is_told_and_closed_by_a_full_base_backup(host: Host) -> None:
    for number in range(3):
        host.cluster.sql(f"INSERT INTO t VALUES ({1000 + number})")
        host.cluster.ship()
    host.segments()[-2].unlink()
    found = host.job("check", "--scheduled")
    assert found.rc == 6, found.stderr
    assert "gap" in host.codes()
    backups = len(host.runs("backup"))
    closed = host.job("run", "--scheduled")
    assert closed.rc == 0, closed.stderr
    assert len(host.runs("backup")) == backups + 1
    assert "gap" in host.runs("backup")[-1]["details"]["reason"]
    assert host.job("check", "--scheduled").rc == 0


def test_a_webhook_that_hangs_holds_nothing_up_and_is_an_alarm(host: Host) -> None:
    host.receiver.seconds = 30.0
    lost = host.segments()[-1]
    shutil.move(lost, host.storage.parent / lost.name)
    try:
        started = time.monotonic()
        done = host.job("check")
        assert time.monotonic() - started < 28
        assert done.rc == 6
        assert "The webhook failed: 127.0.0.1 did not answer within 10 s." in done.stderr
        assert "a-secret" not in done.stderr
    finally:
        host.receiver.seconds = 0.0
        shutil.move(host.storage.parent / lost.name, lost)
    again = host.job("check")  # the archive is well again, and whoever is to be told hears that the webhook was not
    assert again.rc == 5
    assert "The webhook failed" in again.stderr
    assert host.job("check").rc == 0


def test_two_runs_at_once_do_the_work_once(host: Host) -> None:
    before = len([run for run in host.runs("backup") if run["changed"]])
    results: list[int] = []

    def start() -> None:
        results.append(host.job("backup").rc)

    threads = [threading.Thread(target=start) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 75]
    assert len([run for run in host.runs("backup") if run["changed"]]) == before + 1


def test_a_full_disk_for_what_is_kept_stops_no_base_backup(host: Host) -> None:
    history = host.state / "history.jsonl"
    kept = history.read_bytes()
    history.unlink()
    history.mkdir()  # as good as a full disk: it can't be written
    try:
        done = host.job("backup")
        assert done.rc == 8, done.stderr
        assert "history.jsonl" in done.stderr
    finally:
        history.rmdir()
        history.write_bytes(kept)
        shutil.chown(history, host.sandbox.user)
    assert host.job("check").rc == 0


def test_corrupt_blocks_are_named_and_lose_no_base_backup(host: Host) -> None:
    host.cluster.sql("CREATE TABLE c AS SELECT repeat('x', 500) AS t FROM generate_series(1, 100); CHECKPOINT")
    path = host.cluster.data_dir / host.cluster.sql("SELECT pg_relation_filepath('c')")
    host.cluster.stop()
    with path.open("r+b") as stream:
        stream.seek(8192 + 4000)
        stream.write(b"damage")
    host.cluster.start()
    done = host.job("backup")
    assert done.rc == 5, done.stderr
    assert str(path.relative_to(host.cluster.data_dir)) in done.stderr
    assert host.runs("backup")[-1]["details"]["corrupt_blocks"] == {
        str(path.relative_to(host.cluster.data_dir)): 1,
    }
    host.cluster.sql("DROP TABLE c")


def test_wal_is_given_up_only_on_request_and_the_archive_heals(host: Host) -> None:
    """What may be lost: the segments that are named, from the archive; of the cluster, nothing."""
    spec = host.sandbox.host / "config" / "main.job.json"
    before = spec.read_text()
    told = {**json.loads(before), "wal_pressure": "drop", "pressure_limit": 1024 * 1024}
    spec.write_text(json.dumps(told))
    away = host.storage.with_name("away")
    host.storage.rename(away)
    host.storage.write_text("no directory")
    try:
        host.cluster.sql("INSERT INTO t SELECT generate_series(5000, 5010); SELECT pg_switch_wal()")
        deadline = time.monotonic() + 60
        while host.job("check").rc and not (host.state / "give-up").exists():
            assert time.monotonic() < deadline, host.facts()["health"]
            time.sleep(1)
        while not (host.state / "given-up").exists():
            assert time.monotonic() < deadline + 60
            time.sleep(0.5)
        assert host.job("check").rc == 6
        assert "dropped" in host.codes()
    finally:
        host.storage.unlink()
        away.rename(host.storage)
        spec.write_text(before)
    assert host.job("check", "--scheduled").rc == 6
    assert not (host.state / "give-up").exists()
    healed = host.job("run", "--scheduled")
    assert healed.rc == 0, healed.stderr
    assert not (host.state / "given-up").exists()
    notes = json.loads((host.storage.parent / "main.owner" / "mapswipe_walg_notes.json").read_text())
    assert len(notes["gaps"]) == 1
    assert host.job("check").rc == 0


def test_what_was_written_in_all_of_this_is_restored(host: Host) -> None:
    host.cluster.sql("INSERT INTO t VALUES (9999)")
    host.cluster.ship()
    rows = host.cluster.rows("t")
    host.cluster.lose()
    variables = host.sandbox.variables(host.cluster, walg_restore_request="after-all-that")
    done = host.sandbox.play("mapswipe.walg.restore", variables, "-e", "walg_hosts=db")
    assert done.rc == 0, done.stdout
    assert host.cluster.rows("t") == rows
