# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job is killed with -9 after each step of each verb. Each run is killed one step further than the one before, so that what a killed
one leaves must let the next one pass it; the last one ends.

What may be lost in any of it: nothing. No file of the job is torn, no base backup that has its record lacks a part, and what stays can be
restored, to the last row.
"""

from __future__ import annotations

import json
import time

import pytest
from support import killed_job, restoring
from support.expiring import SENTINEL, stored
from support.job_host import Host, Receiver, ready
from support.killed_job import Ended, Step
from support.restoring import until
from support.sandbox import Sandbox

STATE = ("facts", "health", "retention", "verification", "progress", "verify-progress")


@pytest.fixture(scope="module")
def host(sandbox: Sandbox, receiver: Receiver) -> Host:
    """Three base backups with WAL between them."""
    made = ready(sandbox, receiver, schedule={"heartbeat": False})
    for number in (100, 101):
        made.cluster.sql(f"INSERT INTO t VALUES ({number})")
        made.cluster.ship()
        assert made.job("backup", "--full").rc == 0
    assert made.job("check").rc == 0
    return made


def killed(host: Host, words: str, step: Step) -> None:
    """Run the job until a step, and look at what it leaves."""
    found: list[Ended] = []

    def met() -> bool:  # the server may need a moment to end the session of the one before
        found.append(killed_job.run(host, *words.split(), kill=step))
        return found[-1].killed

    until(met, 20)
    assert "Traceback" not in found[-1].said
    for name in STATE:
        path = host.state / f"{name}.json"
        assert not path.exists() or isinstance(json.loads(path.read_text()), dict), (step, name)
    assert all(json.loads(line)["verb"] for line in (host.state / "history.jsonl").read_text().splitlines())


def ended(host: Host, words: str) -> list[str]:
    """Run the job to its good end; return its steps."""
    done = killed_job.run(host, *words.split())
    assert (done.code, done.said) == (0, ""), (words, done.steps)
    return done.steps


def of(objects: set[str], backup: str) -> set[str]:
    """The objects of one base backup."""
    return {
        one for one in objects if one.startswith((f"basebackups_005/{backup}/", f"basebackups_005/{backup}_backup"))
    }


def test_verify(host: Host) -> None:
    """It reads and changes nothing; what it has read before it is killed, the next one need not read again."""
    before = stored(host.storage)
    steps = ended(host, "verify --all")
    reads = max((one for one in steps if one.startswith("wal-g st ")), key=steps.count)
    every = steps.count(reads)
    assert every > 10
    kills = [Step(one) for one in dict.fromkeys(steps) if one != reads and "metrics" not in one]
    for step in [*kills, Step("write verification.json", 3), Step(reads), Step(reads, 5)]:
        killed(host, "verify --all", step)
    left = ended(host, "verify --all").count(reads)
    assert left < every, "it began again from the first object"
    assert json.loads((host.state / "verification.json").read_text())["last"]["sound"] is True
    assert stored(host.storage) == before


def test_expire(host: Host) -> None:
    """Between lock, plan, journal, each deletion, comparison and record. A base backup that is not whole has no record."""
    spec = host.sandbox.host / "config" / "main.job.json"
    told = json.loads(spec.read_text())
    rules = {**dict.fromkeys(told["retention"], 0), "backups": 1, "minimum_backups": 1}
    spec.write_text(json.dumps({**told, "retention": rules}))
    every, (*go, stay) = stored(host.storage), host.backups()
    kept = of(every, stay) | {one for one in every if one.startswith("wal_005/") and one[8:32] >= stay[5:29]}
    assert len(go) == 2

    def look() -> set[str]:
        now = stored(host.storage)
        assert kept <= now
        for one in go:
            assert f"basebackups_005/{one}{SENTINEL}" not in now or of(now, one) == of(every, one)
        return now

    for step in (Step("lock backup.lock"), Step("wal-g backup-list"), Step("write retention.json")):
        killed(host, "expire --confirm", step)
        assert look() == every, step
    killed(host, "expire --confirm", Step("write progress.json"))
    left = look()
    while left != kept:
        killed(host, "expire --confirm", Step("wal-g st rm"))
        time.sleep(0.3)  # several are deleted at once; those under way outlive the job
        now = look()
        assert now < left
        left = now
    for step in (Step("write retention.json"), Step("write history.jsonl")):
        killed(host, "expire --confirm", step)
    ended(host, "expire --confirm")
    assert stored(host.storage) == kept
    assert host.runs("expire")[-1]["code"] == 0


def test_backup(host: Host) -> None:
    """Between locks, the questions before, the push, the wait for its WAL, and the record of the run. What was pushed stays."""
    before = stored(host.storage)
    steps = ended(host, "backup --full")
    assert {"lock backup.lock", "lock of the cluster", "wal-g backup-push", "write history.jsonl"} <= set(steps)
    pushed = steps.index("wal-g backup-push")
    kills = [Step(one) for one in dict.fromkeys(steps[: pushed + 1])]
    kills += [Step(one, steps[:pushed].count(one) + 1) for one in dict.fromkeys(steps[pushed + 1 :])]
    for step in kills:
        killed(host, "backup --full", step)
        now = stored(host.storage)
        assert before <= now, step
        before = now
    assert host.cluster.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"
    ended(host, "backup --full")


def test_what_is_left_is_whole(host: Host) -> None:
    """Each base backup with its WAL, nothing needs attention, and a restore has every row."""
    done = host.job("run", "--scheduled")
    assert done.rc == 0, done.stderr
    listed = host.sandbox.module("walg_backup_info", host.sandbox.instance())["backups"]
    assert [one["name"] for one in listed if not one["restorable"]] == []
    assert sorted(one["name"] for one in listed) == host.backups()
    assert host.job("verify", "--all").rc == 0
    assert (host.job("check").rc, host.restorable()) == (0, "yes")
    host.cluster.sql("INSERT INTO t VALUES (102)")
    host.cluster.ship()
    rows = host.cluster.rows("t")
    restoring.done(host.sandbox, "killed", stop_running=True)
    assert host.cluster.rows("t") == rows
