# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to the job on its host: it is killed, its disk is full, its files are damaged, clocks are set, others meddle.

What may be lost in any of it: nothing. What is wrong is told, and the next run under right conditions ends well.
"""

from __future__ import annotations

import json
import os
import pwd
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Background
from support.expiring import age
from support.job_host import Host, Receiver, below, killed, lives, ready
from support.restoring import until
from support.sandbox import Sandbox


@pytest.fixture(scope="module")
def host(sandbox: Sandbox, receiver: Receiver) -> Host:
    return ready(sandbox, receiver, walg={"WALG_DELTA_MAX_STEPS": "3"})


@contextmanager
def waiting(host: Host, words: str) -> Iterator[Path]:
    """Have WAL-G wait before it does what ``words`` (a pattern of the shell) say; the file that is yielded is there when it does."""
    binary, mark = host.sandbox.host / "bin" / "wal-g", host.sandbox.pg_dir / "waiting"
    real = binary.with_name("wal-g.real")
    binary.rename(real)
    wait = f"touch {mark}; while [ -e {mark} ]; do sleep 0.2; done"
    binary.write_text(
        f'#!/bin/sh\ncase " $* " in {words}) {wait};; esac\n[ -e {real} ] && exec {real} "$@"\nexec {binary} "$@"\n'
    )
    binary.chmod(0o755)
    try:
        yield mark
    finally:
        real.rename(binary)
        mark.unlink(missing_ok=True)


@contextmanager
def changed(path: Path, change: Callable[[Any], Any]) -> Iterator[None]:
    """Have a file of JSON say something else for the time of a block."""
    before = path.read_bytes()
    path.write_text(json.dumps(change(json.loads(before))))
    try:
        yield
    finally:
        path.write_bytes(before)


def well(host: Host) -> None:
    """Nothing needs attention, and whoever looks sees that."""
    done = host.job("check", "--scheduled")
    assert (done.rc, done.stderr, host.restorable()) == (0, "", "yes"), host.facts()["verdict"]["reasons"]
    assert host.metric("walg_restorable", state="yes") == 1


def test_all_is_well(host: Host) -> None:
    well(host)
    assert host.seen() == ("yes", set())


def test_killed_during_a_base_backup(host: Host) -> None:
    """Killed alone, as for want of memory: nothing runs on without it and no lock stays. The next run tells it, and rests; what is asked
    for by hand is done."""
    with waiting(host, '*" backup-push "*') as mark:
        job = host.begun("backup")
        until(mark.exists)
        children = killed(job)
        assert len(children) >= 2, "WAL-G and the session that holds the lock"
        until(lambda: not [pid for pid in children if lives(pid)])
    until(lambda: host.cluster.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0")
    told = len(host.told())
    host.job("run", "--scheduled")
    (run,) = host.runs("backup")
    assert (run["code"], "it was killed" in run["text"]) == (1, True)
    assert [one["verb"] for one in host.told()[told:]][:1] == ["backup"]
    assert host.metric("walg_job_last_exit_code", verb="backup") == 1
    assert host.seen() == ("yes", {"backup_failed"})
    host.job("run", "--scheduled")
    assert host.runs("backup") == [run], "it is told once"
    before = host.backups()
    done = host.job("backup")
    assert (done.rc, done.stderr, len(host.backups())) == (0, "", len(before) + 1)
    well(host)


def at_work(host: Host, *words: str) -> Background:
    """Start the job; return it when it has started a program, or has ended."""
    job = host.begun(*words)
    until(lambda: bool(below(job.pid)) or job.poll() is not None)
    return job


def test_killed_at_random(host: Host) -> None:
    """Each verb at any instant: no state is torn, no lock stays, no base backup is lost, and what comes next ends well."""
    dice = random.Random(7)
    before = host.backups()
    kill, term, interrupt = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
    for words, number in (("check", kill), ("verify --all", interrupt), ("expire --confirm", kill), ("run", term)):
        job = at_work(host, *words.split())
        time.sleep(dice.uniform(0.0, 1.5))
        if job.poll() is None:
            killed(job, number)
        for name in ("facts", "health", "retention", "verification", "progress", "verify-progress"):
            path = host.state / f"{name}.json"
            assert not path.exists() or isinstance(json.loads(path.read_text()), dict)
        assert [json.loads(line)["verb"] for line in (host.state / "history.jsonl").read_text().splitlines()]
    assert "Traceback" not in (host.sandbox.pg_dir / "job.out").read_text()
    for verb in ("verify", "expire"):
        done = host.job(verb)
        assert (done.rc, done.stderr) == (0, ""), verb
    well(host)
    assert set(before) <= set(host.backups())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_full_disk_for_state_and_log(host: Host) -> None:
    """The base backup is taken anyway, nothing is deleted, and whoever can be told is; there is no ping. With room all is as before."""
    before, told, pings = host.backups(), len(host.told()), len(host.receiver.pings)
    log = host.sandbox.host / "log" / "main"
    with full(host.state, host.sandbox.user), full(log, host.sandbox.user):
        done = host.job("backup")
        assert (done.rc, len(host.backups())) == (8, len(before) + 1), done.stderr
        assert "No space left on device" in done.stderr
        assert host.told()[-1]["verb"] == "state"
        assert "No space left on device" in host.told()[-1]["text"]
        assert len(host.told()) == told + 1
        there = sorted(host.storage.rglob("*"))
        assert host.job("expire", "--confirm").rc in (0, 1, 8)
        assert sorted(host.storage.rglob("*")) == there
        checked = host.job("check", "--scheduled")
        assert checked.rc == 8, checked.stderr
        assert len(host.receiver.pings) == pings
    well(host)
    assert host.receiver.messages[-1]["verb"] in ("check", "state")


@contextmanager
def full(directory: Path, user: str) -> Iterator[None]:
    """Have a directory be on a file system of its own that is full, with what is in it; what is written there is lost afterwards."""
    aside = directory.with_name(directory.name + ".aside")
    shutil.copytree(directory, aside)
    size = sum(-(-path.stat().st_size // 4096) * 4096 for path in aside.rglob("*") if path.is_file())
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size + 65536},mode=755", "none", str(directory)], check=True)
    try:
        shutil.copytree(aside, directory, dirs_exist_ok=True)
        for path in [directory, *directory.rglob("*")]:
            shutil.chown(path, user)
        with suppress(OSError), (directory / "filling").open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)
        shutil.rmtree(aside)


STATE = (
    "facts.json",
    "health.json",
    "history.jsonl",
    "retention.json",
    "verification.json",
    "archive-proof.json",
    "progress.json",
)


@pytest.mark.parametrize("kind", ["damaged", "foreign"])
def test_damaged_state(host: Host, kind: str) -> None:
    """Files that are cut off, hold anything, or belong to root: no traceback, no run that stops for good, and no silence about it."""
    if kind == "foreign" and os.geteuid() != 0:
        pytest.skip("only root can make a file of root")
    owner = pwd.getpwnam(host.sandbox.user)
    for number, name in enumerate(STATE):
        path = host.state / name
        if not path.exists():
            continue
        data = path.read_bytes()
        if kind == "foreign":
            os.chown(path, 0, 0)
            path.chmod(0o600)
        else:
            path.write_bytes(data[:-20] if number % 2 == 0 else b"\0\xff{[\n" + os.urandom(100))
    checked = host.job("check", "--scheduled")
    assert checked.rc in (5, 8), checked.stderr
    assert host.restorable() == "yes"
    assert "verification_unknown" in host.codes()
    assert "history.jsonl" in checked.stderr
    assert "history.jsonl" in host.told()[-1]["text"]
    if kind == "foreign":
        assert "retention.json" in host.job("expire").stderr
        for name in ("history.jsonl", "retention.json", "archive-proof.json", "progress.json"):
            if (host.state / name).exists():
                os.chown(host.state / name, owner.pw_uid, owner.pw_gid)
    assert (host.job("verify").rc, host.job("expire").rc) == (0, 0)
    host.job("check", "--scheduled")  # the file is whole again, but the run before had dropped lines
    well(host)


def test_a_clock_that_was_a_month_ahead(host: Host) -> None:
    """What the job noted then says nothing: a check looks again, a base backup is taken when it is due, retention deletes nothing."""
    history, before = host.state / "history.jsonl", host.backups()
    late = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 30 * 86400))
    lines = [{**json.loads(line), "started": late, "ended": late} for line in history.read_text().splitlines()]
    history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    facts = host.state / "facts.json"
    facts.write_text(json.dumps({**host.facts(), "time": late, "archive_time": late}))
    for name in before:
        age(host.storage, name, -30)
    assert host.seen()[1] >= {"clock", "job_silent"}
    done = host.job("run", "--scheduled")
    assert done.rc == 5, done.stderr
    assert len(host.backups()) == len(before) + 1
    assert "a clock is wrong" in host.runs("backup")[-1]["details"]["reason"]
    assert host.job("expire", "--confirm").rc in (0, 3)
    assert set(before) < set(host.backups())
    for name in before:
        age(host.storage, name, 30)
    well(host)


def test_an_archiver_that_hangs_for_an_hour(host: Host) -> None:
    """It neither fails nor succeeds. What waits is too old, and that is told with how much would be lost."""
    with waiting(host, '*" wal-push "*') as mark:
        host.cluster.sql("INSERT INTO t VALUES (1000); SELECT pg_switch_wal()")
        until(mark.exists)
        hour = time.time() - 3600
        for path in (host.cluster.data_dir / "pg_wal" / "archive_status").glob("*.ready"):
            os.utime(path, (hour, hour))
        done = host.job("check", "--scheduled")
        assert done.rc == 5
        assert host.codes() == {"archive_behind"}
        assert (host.metric("walg_wal_behind_seconds") or 0) > 3500
        assert host.told()[-1]["code"] == 5
        assert "behind" in host.told()[-1]["text"]
    until(lambda: not list((host.cluster.data_dir / "pg_wal" / "archive_status").glob("*.ready")))
    well(host)


def test_another_host_with_the_same_prefix(host: Host) -> None:
    """A clone of the host: by the marker the archive is another machine's. It deletes nothing, adds nothing, and says so."""
    marker = host.storage.with_name("main.owner") / "mapswipe_walg_owner.json"
    other = {"writer": "w0123456789abcdef", "host": "db2", "machine": "m0123456789abcdef"}
    before = sorted(host.storage.rglob("*"))
    with changed(marker, lambda told: {**told, **other}):
        assert host.job("check", "--scheduled").rc == 6
        assert host.restorable() == "no"
        assert "owner_foreign" in host.codes()
        assert "db2" in host.told()[-1]["text"]
        for words in (["expire", "--confirm"], ["backup"]):
            done = host.job(*words)
            assert (done.rc, "db2" in done.stderr) == (3, True), done.stderr
        assert host.metric("walg_restorable", state="no") == 1
        assert host.seen() == ("no", {"owner_foreign", "retention_refused", "backup_failed"})
    assert sorted(host.storage.rglob("*")) == before


def test_base_backups_of_another_cluster(host: Host) -> None:
    """They are left alone, and with them all is: nothing is deleted and nothing is added until the prefix is this cluster's own."""
    (newest, records) = host.backups()[-1], host.storage / "basebackups_005"
    foreign = f"base_{int(newest[5:], 16) + 0x40:024X}"
    shutil.copytree(records / newest, records / foreign)
    sentinel = f"{newest}_backup_stop_sentinel.json"
    shutil.copy(records / sentinel, records / sentinel.replace(newest, foreign))
    for path in (records / sentinel.replace(newest, foreign), records / foreign / "metadata.json"):
        told = json.loads(path.read_text())
        names = [name for name in told if name.lower() in ("systemidentifier", "system_identifier")]
        path.write_text(json.dumps({**told, **dict.fromkeys(names, 7)}))
    before = sorted(host.storage.rglob("*"))
    assert host.job("check", "--scheduled").rc == 5
    assert host.codes() == {"foreign", "retention_refused", "backup_failed"}
    for words in (["expire", "--confirm"], ["backup"]):
        done = host.job(*words)
        assert (done.rc, "another cluster" in done.stderr) == (3, True), done.stderr
    assert sorted(host.storage.rglob("*")) == before
    shutil.rmtree(records / foreign)
    (records / sentinel.replace(newest, foreign)).unlink()


def test_a_policy_that_would_leave_nothing(host: Host) -> None:
    """It is rejected, whoever wrote it into the file. With one that keeps something, all is well."""
    before = sorted(host.storage.rglob("*"))
    none = dict.fromkeys(("days", "backups", "weekly", "monthly", "minimum_backups", "minimum_days"), 0)
    with changed(host.sandbox.host / "config" / "main.job.json", lambda told: {**told, "retention": none}):
        done = host.job("expire", "--confirm")
        assert (done.rc, "keeps nothing" in done.stderr) == (3, True), done.stderr
        assert host.told()[-1]["code"] == 3
    assert sorted(host.storage.rglob("*")) == before
    assert (host.job("backup", "--full").rc, host.job("expire", "--confirm").rc) == (0, 0)
    well(host)


def test_the_record_of_a_base_backup_is_cut_off(host: Host) -> None:
    """As a full disk or a power cut leaves it. WAL-G lists the base backup all the same; verification finds it, and the next one is a full
    one: a delta could not be restored, and WAL-G can't even begin it."""
    newest = host.backups()[-1]
    record = host.storage / "basebackups_005" / f"{newest}_backup_stop_sentinel.json"
    data, times = record.read_bytes(), record.stat()
    record.write_bytes(data[:40])
    assert host.job("verify").rc == 5
    assert newest in host.told()[-1]["text"]
    assert host.job("check", "--scheduled").rc in (5, 6)
    assert "damage" in host.codes()
    host.cluster.sql("INSERT INTO t VALUES (3000)")
    assert host.job("backup").rc == 0
    assert "_D_" not in host.backups()[-1]
    assert host.job("check", "--scheduled").rc == 5
    assert (host.restorable(), host.codes()) == ("yes", {"damage"})
    record.write_bytes(data)
    os.utime(record, ns=(times.st_atime_ns, times.st_mtime_ns))  # by which WAL-G finds the base of a delta
    assert host.job("verify").rc == 0
    well(host)


def test_the_base_of_a_delta_is_deleted_by_hand(host: Host) -> None:
    """What is based on it can't be restored, and that is told; the next run takes a full one."""
    base = host.backups()[-1]
    host.cluster.sql("INSERT INTO t VALUES (2000)")
    assert host.job("backup").rc == 0
    delta = host.backups()[-1]
    assert delta.endswith(f"_D_{base[5:]}")
    for name in host.backups():
        if name != delta:
            shutil.rmtree(host.storage / "basebackups_005" / name)
            (host.storage / "basebackups_005" / f"{name}_backup_stop_sentinel.json").unlink()
    assert host.job("check", "--scheduled").rc == 6
    assert (host.restorable(), "no_backup" in host.codes()) == ("no", True)
    assert host.job("verify").rc == 5
    assert host.job("expire", "--confirm").rc == 3
    done = host.job("run", "--scheduled")
    assert done.rc == 5, done.stderr
    assert len(host.backups()) == 2
    assert "_D_" not in max(host.backups())
    assert host.codes() >= {"backup_broken"}
    assert host.restorable() == "yes"
