# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An object storage that fails during a restore. The outcomes stand in the tables, before anything runs.

In every case: the restore fails with what was tried and on what, production is the same server on the same files all the while,
and nothing is taken for the end of the archive. When the fault is over, the same request goes on and has every row.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from support.fault_proxy import HANG, RESET, Rule
from support.forked import ForkingSandbox
from support.gcs import BUCKET, Gcs
from support.restoring import History, archived, ask, beside, done, refused, running, unharmed, until
from support.sandbox import Sandbox

SANDBOX = ForkingSandbox
STORAGE = f"gs://{BUCKET}/walg-folder"
DOWN = "down"  # no network at all


@dataclass(frozen=True)
class Fault:
    """``answer``: what the requests meant get; ``words``: what the message has to say."""

    name: str
    answer: int | str
    words: tuple[str, ...]


STALLED = ("Fetching the base backup", "nothing new arrived for 1 s", "walg_restore_fetch_stall_timeout")
#: While the base backup is fetched. What WAL-G would try again for ever is ended by walg_restore_fetch_stall_timeout.
FETCH = [
    Fault("forbids", 403, STALLED),
    Fault("fails", 503, STALLED),
    Fault("hangs", HANG, STALLED),
    Fault("has lost the file", 404, ("Fetching the base backup",)),
    Fault("is down", DOWN, ("Fetching the base backup",)),
]
#: While WAL is fetched. PostgreSQL has to stop, and not to open the database with what it has.
RECOVERY = [
    Fault("forbids", 403, ("giving up on {segment}",)),
    Fault("fails", 503, ("giving up on {segment}",)),
    Fault("hangs", HANG, ("giving up on {segment}",)),
    Fault("hangs up", RESET, ("giving up on {segment}",)),
    Fault("has lost the segment", 404, ("{segment} does not exist, but the archive held this timeline",)),
    Fault("is down", DOWN, ("{segment}",)),
]


@pytest.fixture(scope="module")
def history(sandbox: Sandbox, gcs: Gcs) -> History:
    """A row in the base backup and a row in each of three segments after it; production goes on."""
    made = archived(sandbox, STORAGE, gcs.settings(), options(gcs))
    made.ship(3)
    return made


def options(gcs: Gcs) -> dict[str, Any]:
    """The options of walg_config besides storage and settings."""
    return {"google_credentials": gcs.key_file_content(), "fetch_timeout": 1}


@contextmanager
def faulty(gcs: Gcs, fault: Fault, path: str) -> Iterator[None]:
    """The storage answers so from now on to requests for objects of this path, to the end of the block."""
    if fault.answer != DOWN:
        gcs.faults.rules = [Rule(fault.answer, ("GET",), path)]
    watch = DownFrom(gcs, path) if fault.answer == DOWN else None
    asked = len(gcs.faults.seen)
    try:
        yield
        assert any(re.search(path, one) for _method, one, _answer in gcs.faults.seen[asked:]), "the fault was met"
    finally:
        if watch:
            watch.over()
        gcs.faults.rules = []


class DownFrom:
    """The network goes down as soon as an object of this path was asked for."""

    def __init__(self, gcs: Gcs, path: str) -> None:
        self._gcs, self._path, self._over = gcs, path, threading.Event()
        gcs.faults.rules = [Rule(HANG, ("GET",), path)]
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        begin = len(self._gcs.faults.seen)
        while not self._over.is_set():
            if any(re.search(self._path, path) for _method, path, _answer in self._gcs.faults.seen[begin:]):
                self._gcs.network.down = True
                return
            time.sleep(0.01)

    def over(self) -> None:
        self._over.set()
        self._thread.join()
        self._gcs.network.down = False


def before_the_last(history: History) -> str:
    """Return the segment that holds the last row but one: no way to the last row leads past it."""
    high, low = history.steps[-2]["lsn"].split("/")
    return f"00000001{int(high, 16):08X}{int(low, 16) >> 24:08X}"


@pytest.mark.parametrize("fault", FETCH, ids=lambda fault: fault.name)
def test_in_the_fetch(sandbox: Sandbox, gcs: Gcs, history: History, fault: Fault) -> None:
    """What was fetched is removed; the end comes in bounded time."""
    cluster, target = history.cluster, {"target_xid": history.steps[2]["xid"], "stop_running": True}
    started = time.monotonic()
    with unharmed(cluster), faulty(gcs, fault, f"^/{BUCKET}/.*tar_partitions"):
        text = refused(sandbox, "fetch", fetch_stall_timeout=1, **target)
        assert time.monotonic() - started < 60
    for word in (*fault.words, STORAGE, f"{cluster.data_dir} was not touched"):
        assert word in text
    assert (beside(cluster.data_dir), running(sandbox)) == ([], {str(cluster.data_dir)})


class Walk:
    """A restore that waits at the first row after the base backup and is to go on to the last: it needs no other fetch."""

    def __init__(self, sandbox: Sandbox, history: History) -> None:
        self.sandbox, self.history = sandbox, history
        self.work = history.cluster.data_dir.with_name("main.restore-walk")
        done(sandbox, "walk", timeline=1, target_xid=history.steps[1]["xid"], action="pause")
        self.identity = self.identify()
        self.further = {"timeline": 1, "target_xid": history.steps[-1]["xid"]}

    def identify(self) -> int:
        return (self.work / "PG_VERSION").stat().st_ino

    def fails(self) -> str:
        """Go on, in vain; return the message."""
        # (What WAL-G has fetched ahead of the fault.)
        shutil.rmtree(self.work / "pg_wal" / ".wal-g", ignore_errors=True)
        with unharmed(self.history.cluster):
            return refused(self.sandbox, "walk", action="pause", **self.further)


@pytest.fixture(scope="module")
def walk(sandbox: Sandbox, history: History) -> Walk:
    return Walk(sandbox, history)


@pytest.mark.parametrize("fault", RECOVERY, ids=lambda fault: fault.name)
def test_in_the_recovery(sandbox: Sandbox, gcs: Gcs, walk: Walk, fault: Fault) -> None:
    """The last segment but one: a database that opened there would hold less, in silence."""
    cluster, segment = walk.history.cluster, before_the_last(walk.history)
    with faulty(gcs, fault, f"^/{BUCKET}/.*wal_005/{segment}"):
        text = walk.fails()
    for word in (*fault.words, f"{cluster.data_dir} was not touched"):
        assert word.format(segment=segment) in text
    assert running(sandbox) == {str(cluster.data_dir)}


def test_damaged_wal(sandbox: Sandbox, gcs: Gcs, walk: Walk) -> None:
    """Bytes in the middle of a segment are others: an error, not the end of the archive."""
    (path,) = [one for one in gcs.paths("walg-folder") if before_the_last(walk.history) in one.name]
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2] + b"\0" * 64 + good[len(good) // 2 + 64 :])
    try:
        assert before_the_last(walk.history) in walk.fails()
    finally:
        path.write_bytes(good)


def test_the_same_words_go_on_when_the_faults_are_over(sandbox: Sandbox, walk: Walk) -> None:
    """From where recovery stands: nothing is fetched again."""
    found = done(sandbox, "walk", action="pause", **walk.further)
    assert ask(sandbox, found["connect"], "SELECT count(*) FROM t") == str(len(walk.history.steps))
    assert (walk.identify(), "fetch" in found["seconds"]) == (walk.identity, False)
    done(sandbox, "walk", discard=True)
    assert not walk.work.exists()


def test_a_standby_serves_while_its_storage_fails(sandbox: Sandbox, gcs: Gcs, history: History) -> None:
    """It has what it had, for as long as it takes; then it catches up, and was never promoted."""
    primary, standby = history.cluster, sandbox.idle_cluster("standby")
    sandbox.configure(standby, STORAGE, gcs.settings(), service="none", **options(gcs))
    wish = {"instance": "standby", "config_dir": str(sandbox.host / "config"), "request": "standby", "standby": True}
    answer = sandbox.module("walg_restore", wish)
    assert not answer.get("failed"), answer
    quick = ("-c", "wal_retrieve_retry_interval=200ms")
    standby.start("-p", str(standby.port), "-k", str(standby.socket_dir), *quick)
    until(lambda: standby.rows("t") == primary.rows("t"))
    for fault in (RECOVERY[0], RECOVERY[2], RECOVERY[5]):  # forbids, hangs, is down; for the primary too
        behind = standby.rows("t")
        with faulty(gcs, fault, f"^/{BUCKET}/.*wal_005/"):
            history.step()
            primary.sql("SELECT pg_switch_wal()")
            for _turn in range(10):
                assert standby.rows("t") == behind
                time.sleep(0.25)
        primary.ship()
        until(lambda: standby.rows("t") == primary.rows("t"))
    assert standby.sql("SELECT pg_is_in_recovery(), timeline_id FROM pg_control_checkpoint()") == "t|1"
    standby.stop()
