# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the WAL's content can tell: the target is not in it. Failed, with where recovery ended, and nothing was disturbed."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.restoring import (
    History,
    archived_steps,
    backup,
    beside,
    done,
    refused,
    restore,
    running,
    segments,
    unharmed,
)
from support.sandbox import Sandbox


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    return archived_steps(sandbox, 3)


def moment(history: History) -> str:
    return history.cluster.sql(
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    )


@pytest.mark.parametrize("kind", ["xid", "name"])
def test_a_target_before_the_newest_base_backup(make_sandbox: Callable[..., Sandbox], kind: str) -> None:
    """It is looked for from the newest one on, since nothing tells where it is; the message leads to the older ones."""
    sandbox = make_sandbox()
    history = archived_steps(sandbox, 1)
    first = sandbox.module("walg_backup_info", sandbox.instance())["backups"][0]["name"]
    wanted = history.named("early")
    history.cluster.ship()
    second = backup(sandbox)["name"]
    history.ship(1)
    backup(sandbox)
    history.ship(1)
    target = {f"target_{kind}": {"xid": wanted["xid"], "name": "early"}[kind], "stop_running": True}
    message = refused(sandbox, "r1", **target)
    assert f"\n  walg_restore_backup: {second}\n" in message
    assert f"Then there is {first}." in message
    message = refused(sandbox, "r1", **target, backup=second)
    assert f"\n  walg_restore_backup: {first}\n" in message
    done(sandbox, "r1", **target, backup=first)
    assert len(history.numbers()) == int(wanted["rows"])


@pytest.mark.parametrize("kind", ["time", "xid", "name"])
def test_a_target_that_is_not_in_the_wal(sandbox: Sandbox, history: History, kind: str) -> None:
    """The server goes on all the while; the message says where the WAL ended: the commit of the last row, and an LSN behind it."""
    cluster = history.cluster
    committed = cluster.sql("SET timezone = 'UTC'; SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI')")
    value = {"time": moment(history), "xid": str(int(history.steps[-1]["xid"]) + 100000), "name": "nobody-made-this"}[
        kind
    ]
    with unharmed(cluster):
        answer = restore(sandbox, f"beyond-{kind}", stop_running=True, **{f"target_{kind}": value})
        assert answer.get("failed"), answer
        assert cluster.pid()
    text = answer["msg"]
    assert "was not reached" in text
    assert value[:16] in text
    assert "was not touched" in text
    assert "latest" in text
    assert answer["last_commit"][:13] == committed[:13], "the time of the last commit"
    assert answer["last_commit"] in text
    end = int(answer["found"].split("/")[1], 16)
    assert end >= int(history.steps[-1]["lsn"].split("/")[1], 16)
    assert answer["found"] in text
    assert running(sandbox) == {str(cluster.data_dir)}


def test_what_is_left_of_it_gives_way(sandbox: Sandbox, history: History) -> None:
    """What a failed restore left beside is removed by the next one, of another name too."""
    cluster = history.cluster
    assert len(beside(cluster.data_dir)) == 1
    with unharmed(cluster):
        done(sandbox, "within", target_xid=history.steps[1]["xid"], action="shutdown")
        assert beside(cluster.data_dir) == ["main.restore-within"]
        done(sandbox, "within", discard=True)
    assert beside(cluster.data_dir) == []


def test_the_server_runs_until_the_swap(sandbox: Sandbox, history: History) -> None:
    """A point in the past: rows are written while the restore fetches and recovers, and they are in what is kept."""
    cluster = history.cluster
    marker = sandbox.marker()
    written: list[tuple[str, int]] = []
    over = threading.Event()

    def write() -> None:
        number = 1000
        while not over.is_set():
            try:
                cluster.sql(f"INSERT INTO t VALUES ({number})")
            except AssertionError:
                time.sleep(0.05)
                continue
            written.append((json.loads(marker.read_text())["state"] if marker.exists() else "", number))
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        answer = restore(sandbox, "past", target_lsn=history.steps[2]["lsn"], stop_running=True)
    finally:
        over.set()
        thread.join()
    assert answer.get("changed"), answer
    assert {"fetching", "recovering"} <= {state for state, _number in written}
    ours = [number for state, number in written if state in ("", "fetching", "recovering", "recovered")]
    assert history.numbers()[:3] == [0, 1, 2]
    done(sandbox, "past", rollback=True, stop_running=True)
    assert set(history.numbers()) >= {*range(len(history.steps)), *ours}


def test_a_server_stopped_in_vain_runs_again(sandbox: Sandbox, history: History) -> None:
    """The latest state needs a server that has stopped. When its restore fails, the server is back with every row."""
    cluster = history.cluster
    history.ship(3)
    before = cluster.rows("t")
    started = cluster.sql("SELECT pg_postmaster_start_time()")
    victim = segments(cluster)[-2]
    good = victim.read_bytes()
    victim.write_bytes(good[: len(good) // 2])
    try:
        text = refused(sandbox, "vain", stop_running=True)
    finally:
        victim.write_bytes(good)
    assert "was started again" in text
    assert cluster.rows("t") == before
    assert cluster.sql("SELECT pg_postmaster_start_time()") != started, "it had been stopped"
    cluster.ship()
    done(sandbox, "vain", stop_running=True)
    assert cluster.rows("t") == before


def test_a_segment_missing_in_the_middle_is_known_before_anything_stops(sandbox: Sandbox, history: History) -> None:
    cluster = history.cluster
    history.ship(2)
    victim = segments(cluster)[-2]
    aside = sandbox.root / victim.name
    shutil.move(victim, aside)
    options: list[dict[str, Any]] = [{}, {"target_lsn": history.steps[-1]["lsn"]}]
    try:
        for number, option in enumerate(options):
            with unharmed(cluster):
                assert victim.name.split(".")[0] in refused(sandbox, f"gap-{number}", stop_running=True, **option)
    finally:
        shutil.move(aside, victim)
