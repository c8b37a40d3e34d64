# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket dies, forbids, hangs up or hangs during each verb of the job, at its first request, in the middle and at its last.

What may be lost in any of it: nothing. The exit code says that it failed, whether the archive can be restored is unknown or told with a
warning, and the next run with a storage that answers ends well.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _proc
from support import killed_job
from support.expiring import SENTINEL
from support.fault_proxy import HANG, RESET, WRITES, Rule
from support.gcs import BUCKET, Gcs
from support.job_host import Host, Receiver, below, lives, ready
from support.restoring import until
from support.sandbox import Sandbox

PREFIX = "job"
FAILED = (1, 4)  # failed, or: the storage did not answer or forbade
LIMIT = 150  # seconds


@pytest.fixture(scope="module")
def host(sandbox: Sandbox, gcs: Gcs, receiver: Receiver) -> Host:
    walg = {**gcs.settings(), "GCS_MAX_RETRIES": "1", "GCS_CONTEXT_TIMEOUT": "4"}
    more = {"google_credentials": gcs.key_file_content()}
    quiet = {"heartbeat": False}  # no WAL is sent while the storage fails, but for what a test writes
    made = ready(sandbox, receiver, storage=f"gs://{BUCKET}/{PREFIX}", walg=walg, configured=more, schedule=quiet)
    made.cluster.ship()
    assert (made.job("backup").rc, made.job("check").rc) == (0, 0)
    return made


@contextmanager
def fault(gcs: Gcs, rule: Rule) -> Iterator[None]:
    """Have the storage answer so for the time of a block."""
    gcs.faults.met.clear()
    gcs.faults.rules = [rule]
    try:
        yield
    finally:
        gcs.faults.rules = []


def requests(gcs: Gcs, host: Host, *words: str) -> int:
    """Run a verb that ends well; return how many requests it needs."""
    before = len(gcs.faults.seen)
    done = host.job(*words)
    assert (done.rc, done.stderr) == (0, ""), words
    return len(gcs.faults.seen) - before


def well(host: Host) -> None:
    """With a storage that answers, nothing needs attention."""
    done = host.job("check", "--scheduled")
    assert (done.rc, done.stderr, host.restorable()) == (0, "", "yes"), host.facts()["verdict"]["reasons"]


def test_check(host: Host, gcs: Gcs) -> None:
    """Of a storage that could not be read nobody says yes; where less is lacking it is a warning. It is told, and so is the end."""
    every = requests(gcs, host, "check", "--scheduled")
    for answer, after in ((403, 0), (RESET, every // 2)):
        told = len(host.told())
        with fault(gcs, Rule(answer, after=after)):
            done = host.job("check", "--scheduled")
        assert (done.rc, host.restorable(), host.codes()) == (7, "unknown", {"storage_unreadable"}), (answer, after)
        assert host.metric("walg_restorable", state="unknown") == 1
        assert (host.metric("walg_restorable", state="yes"), host.metric("walg_storage_up")) == (0, 0)
        assert len(host.told()) == told + (after == 0), "the same is told once"
    with fault(gcs, Rule(403, after=every - 1)):
        assert host.job("check", "--scheduled").rc == 5
        assert host.codes() == {"notes_unreadable"}
    well(host)
    assert host.receiver.messages[-1]["text"].startswith("[OK] walg check")


def test_verify(host: Host, gcs: Gcs) -> None:
    """What could not be read back is neither sound nor damaged."""
    every = requests(gcs, host, "verify", "--all")
    for answer, after in ((403, 1), (RESET, every // 2)):
        with fault(gcs, Rule(answer, after=after)):
            done = host.job("verify", "--all")
        assert done.rc in (*FAILED, 7), (answer, after, done.stderr)
        assert host.told()[-1]["verb"] == "verify"
        found = json.loads((host.state / "verification.json").read_text())
        assert (found["last"]["sound"], found["last"].get("damaged", [])) == (None, [])
        assert host.job("check", "--scheduled").rc == 5
        assert (host.restorable(), "verification_unknown" in host.codes()) == ("yes", True)
    assert host.job("verify", "--all").rc == 0
    well(host)


def test_a_base_backup(host: Host, gcs: Gcs) -> None:
    """It counts with its record only. What is left of it is no base backup, and one of before is not touched."""
    before = gcs.objects(PREFIX)
    for rule in (Rule(403, methods=WRITES, path="basebackups"), Rule(403, path="backup_stop_sentinel", methods=WRITES)):
        with fault(gcs, rule):
            done = host.job("backup")
        assert done.rc in FAILED, done.stderr
        assert host.told()[-1]["verb"] == "backup"
        assert set(before) <= set(gcs.objects(PREFIX))
        assert host.seen() == ("yes", {"backup_failed"})


def test_a_base_backup_that_hangs(host: Host, gcs: Gcs) -> None:
    """The job's limit ends it to the last child, and with it its lock."""
    record = host.sandbox.host / "config" / "main.env"
    text = record.read_text()
    record.write_text(text.replace("BACKUP_TIMEOUT='86400'", "BACKUP_TIMEOUT='3'"))
    try:
        with fault(gcs, Rule(HANG, methods=WRITES, path="tar_partitions")):
            job = host.begun("backup")
            children: set[int] = set()
            until(lambda: bool(children.update(below(job.pid))) or job.poll() is not None, 60)
        assert job.poll() in FAILED
        assert "did not end within 3 s" in host.told()[-1]["text"]
        assert children
        assert not [pid for pid in children if lives(pid)]
        assert host.cluster.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"
    finally:
        record.write_text(text)
    assert host.job("backup").rc == 0
    well(host)


@pytest.fixture
def keeps_one(host: Host) -> None:
    """The job keeps one base backup."""
    spec = host.sandbox.host / "config" / "main.job.json"
    told = json.loads(spec.read_text())
    rules = {**dict.fromkeys(told["retention"], 0), "backups": 1, "minimum_backups": 1}
    spec.write_text(json.dumps({**told, "retention": rules}))


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("verify --all", Rule(HANG)),
        ("verify --all", Rule(HANG, path=r"/wal_005/[0-9A-F]{24}\.", methods=("GET",), after=1)),
        ("expire --confirm", Rule(HANG)),
        ("expire --confirm", Rule(HANG, methods=("DELETE",))),
        ("expire --confirm", Rule(HANG, methods=("DELETE",), after=1)),
    ],
)
@pytest.mark.usefixtures("keeps_one")
def test_a_storage_that_hangs(host: Host, gcs: Gcs, words: str, rule: Rule) -> None:
    """It ends by itself within limits, to the last child, says that the storage failed, in exit code, hook and metrics; nothing that is
    needed is deleted, and nothing is called damaged or sound."""
    verb, told, before = words.split(maxsplit=1)[0], len(host.told()), set(gcs.objects(PREFIX))
    newest = sorted(name.removesuffix(SENTINEL) for name in before if name.endswith(SENTINEL))[-1]
    began = time.time()
    with fault(gcs, rule):
        done = killed_job.run(host, *words.split(), patience=6.0)
        assert gcs.faults.met.get(rule, 0) > rule.after
    assert (done.code, time.time() - began < LIMIT) == (4, True), done.said
    binary = str(host.sandbox.host / "bin" / "wal-g")
    assert [pid for pid in _proc.pids() if _proc.command_line(pid)[:1] == [binary]] == []
    assert [(one["verb"], one["code"]) for one in host.told()[told:]] == [(verb, 4)]
    assert host.metric("walg_job_last_exit_code", verb=verb) == 4
    assert (host.metric("walg_job_last_run_timestamp_seconds", verb=verb) or 0) >= began - 1
    gone = before - set(gcs.objects(PREFIX))
    assert not [name for name in gone if name.startswith(newest) or "/wal_005/" in name]
    assert len(gone) <= (rule.after if verb == "expire" and rule.methods else 0)
    assert host.seen() == (
        "yes",
        {"verify": {"verification_unknown", "verify_failed"}, "expire": {"expire_failed"}}[verb],
    )
    if verb == "verify":
        assert host.job("verify", "--all").rc == 0


@pytest.mark.usefixtures("keeps_one")
def test_expire(host: Host, gcs: Gcs) -> None:
    """Whatever it comes to, what is kept stays whole; the last run deletes the rest of the plan and no more."""
    every = set(gcs.objects(PREFIX))
    ended = sorted(name.removesuffix(SENTINEL) for name in every if name.endswith(SENTINEL))
    kept = {name for name in every if name.startswith(ended[-1])}
    goes = {name for name in every if name.startswith(tuple(ended[:-1]))}
    for rule in (Rule(RESET, after=8), Rule(400, methods=("DELETE",)), Rule(400, methods=("DELETE",), after=2)):
        before = set(gcs.objects(PREFIX))
        with fault(gcs, rule):
            done = host.job("expire", "--confirm")
        assert done.rc in FAILED, (rule, done.stdout, done.stderr)
        assert host.told()[-1]["verb"] == "expire"
        gone = before - set(gcs.objects(PREFIX))
        assert bool(gone) == bool(rule.methods and rule.after)
        assert kept <= set(gcs.objects(PREFIX))
    host.job("check", "--scheduled")
    assert (host.restorable(), "expire_failed" in host.codes()) == ("yes", True)
    done = host.job("expire", "--confirm")
    assert (done.rc, done.stderr) == (0, "")
    left = set(gcs.objects(PREFIX))
    assert goes
    assert (goes & left, kept - left) == (set(), set())
    failed = {name for name in every - kept - goes if "basebackups_005" in name}
    assert failed <= left, "what a base backup that failed has left stays for a day"
    assert host.job("expire", "--confirm").rc == 0
    assert set(gcs.objects(PREFIX)) == left
    assert host.job("verify", "--all").rc == 0
    well(host)
