# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive is dead and pg_wal, on a file system of its own, fills. Left out (conftest.py) where nothing can be mounted.

What may be lost: with ``walg_wal_pressure: alarm`` nothing, though the server stops when the file system is full. With ``drop`` the server
lives, no row of the cluster is lost, and of the archive what is named, until the next full base backup.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from support.disk import Disk
from support.job_host import Host, Receiver, ready
from support.restoring import until
from support.sandbox import Sandbox

SIZE = 40  # MiB of the file system; a segment has one
ONE = "INSERT INTO w SELECT string_agg(md5(i::text), '') FROM generate_series(1, 25000) i RETURNING length(b)"


@pytest.fixture(scope="module")
def disk(sandbox: Sandbox) -> Iterator[Disk]:
    made = Disk(sandbox.pg_dir / "disk", sandbox.user, f"{SIZE}m")
    yield made
    for cluster in sandbox.clusters:
        cluster.stop("immediate")
    made.unmount()


@pytest.fixture(scope="module")
def host(sandbox: Sandbox, receiver: Receiver, disk: Disk) -> Host:
    initdb = ("--waldir", str(disk.path / "wal"), "--wal-segsize=1")
    made = ready(sandbox, receiver, initdb=initdb, schedule={"heartbeat": False})
    made.cluster.sql(
        "ALTER SYSTEM SET max_wal_size = '6MB'; ALTER SYSTEM SET min_wal_size = '2MB'; SELECT pg_reload_conf(); "
        "CREATE TABLE w (b text); ALTER TABLE w ALTER b SET STORAGE EXTERNAL; CHECKPOINT"
    )
    well(made)
    return made


@contextmanager
def dead(host: Host) -> Iterator[None]:
    """Have no storage."""
    away = host.storage.with_name("away")
    host.storage.rename(away)
    host.storage.write_text("no directory")
    try:
        yield
    finally:
        host.storage.unlink()
        away.rename(host.storage)


def well(host: Host) -> None:
    # As long as anything waits, so little room is an alarm.
    until(lambda: host.job("check", "--scheduled").rc == 0, 60)
    assert host.restorable() == "yes"


def committed(host: Host) -> int:
    """How many rows there are."""
    return int(host.cluster.sql("SELECT count(*) FROM w"))


def test_drop(host: Host, disk: Disk) -> None:
    """WAL is given up before the file system is full, and the server lives on through more than it could hold. The hole is told at once, is
    in the storage when that is back, and the next run takes a full base backup that ends it."""
    spec = host.sandbox.host / "config" / "main.job.json"
    alarm = spec.read_text()
    spec.write_text(json.dumps({**json.loads(alarm), "wal_pressure": "drop", "pressure_limit": 4 * 2**20}))
    before, pid, told, rows = host.backups(), host.cluster.pid(), len(host.told()), committed(host)
    with dead(host):
        for turn in range(2 * SIZE):
            host.cluster.sql(ONE)
            rows += 1
            if turn == 10:
                assert host.job("check", "--scheduled").rc == 6
                assert (host.state / "give-up").exists()
            if turn % 6 == 0:
                host.cluster.sql("CHECKPOINT")  # which removes what is done with; in life it comes by itself
            if turn >= 10:
                until(lambda: len(list(disk.path.glob("wal/archive_status/*.ready"))) < SIZE // 2, 30)
        assert (host.cluster.pid(), committed(host)) == (pid, rows)
        assert host.job("check", "--scheduled").rc == 6
        assert (host.restorable(), "dropped" in host.codes()) == ("no", True)
        assert (host.metric("walg_wal_dropped_segments") or 0) > SIZE
        assert len(host.told()) > told
    assert host.job("check", "--scheduled").rc == 6
    assert not (host.state / "give-up").exists()
    disk.resize(f"{4 * SIZE}m")
    host.cluster.ship()
    host.cluster.sql("CHECKPOINT")
    done = host.job("run", "--scheduled")
    assert done.rc in (0, 5), done.stderr + str(host.runs("backup")[-1])[-3000:]
    (new,) = set(host.backups()) - set(before)
    assert "dropped" in host.runs("backup")[-1]["text"] + (host.sandbox.host / "log" / "main" / "job.log").read_text()
    assert "gap" in host.runs("backup")[-1]["details"]["reason"]
    notes = json.loads((host.storage.parent / "main.owner" / "mapswipe_walg_notes.json").read_text())
    assert notes["gaps"]
    info = host.sandbox.module("walg_backup_info", host.sandbox.instance())
    assert info["timelines"][0]["gaps"]
    assert (info["windows"][-1]["backups"], info["windows"][-1]["missing"]) == ([new], None)
    assert info["windows"][0]["missing"]
    host.cluster.sql("CHECKPOINT")
    host.cluster.ship()
    well(host)
    assert committed(host) == rows
    spec.write_text(alarm)


def test_alarm(host: Host, disk: Disk) -> None:
    """It is told while there is room, and when the server has stopped for want of it. With room and storage the next runs make it whole:
    every row, no gap, and no new base backup is needed."""
    backups, told, rows = host.backups(), len(host.told()), committed(host)
    host.cluster.sql("CHECKPOINT")
    disk.resize(f"{SIZE}m")
    with dead(host):
        while os.statvfs(disk.path).f_bavail * os.statvfs(disk.path).f_frsize > SIZE * 2**19:
            host.cluster.sql(ONE)
            rows += 1
        assert host.job("check", "--scheduled").rc == 6
        assert {"archiver_failing", "wal_room", "storage_unreadable"} <= host.codes()
        assert 0 < (host.metric("walg_wal_free_bytes") or 0) < SIZE * 2**20
        assert host.metric("walg_restorable", state="no") == 1
        assert (len(host.told()), host.told()[-1]["verb"]) == (told + 1, "check")
        with suppress(AssertionError):
            for _turn in range(SIZE):
                host.cluster.sql(ONE)
                rows += 1
        assert rows < 5 * SIZE, "it is full"
        until(lambda: not host.cluster.pid(), 30)
        assert not list(disk.path.glob("**/given*"))
        done = host.job("check", "--scheduled")
        assert done.rc in (6, 7), done.stderr
        assert {"server_down", "wal_room"} <= host.codes()
        assert host.restorable() != "yes"
        assert not (host.state / "give-up").exists()
    disk.resize(f"{4 * SIZE}m")
    host.cluster.start()
    assert committed(host) == rows
    host.cluster.ship()
    assert host.job("run", "--scheduled").rc in (0, 5)
    well(host)
    assert (host.backups(), committed(host)) == (backups, rows)
