# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few of the kills that make test-soak WHAT=kills searches: WAL-G, the server beside in its recovery, the module after the swap.

And what one of them found: production's server may still be there when the next run comes. No directory moves under it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from tempfile import TemporaryFile

import pytest
from support.kills import Range, kills_of
from support.restoring import refused
from support.sandbox import Sandbox

SEED = int(os.environ.get("FIRST") or 1)
FEW = (("fetch", "wal-g"), ("recover", "server"), ("start", "module"))


@pytest.fixture(scope="module")
def place(sandbox: Sandbox) -> Range:
    return Range(sandbox)


def test_killed_at_random_instants(place: Range) -> None:
    """Each run takes up what the one before it left; the last comes to its end."""
    chosen = [one for one in kills_of(SEED) if one.verb == "restore" and (one.phase, one.victim) in FEW]
    hits = [(place.kill(one), one) for one in chosen]
    place.go_to("new")
    assert any(hit for hit, _one in hits), f"FIRST={SEED}: all phases were over before: {hits}"


def test_no_directory_moves_while_its_server_still_stops(place: Range) -> None:
    """Killed while the server stops. The next run waits for its end, and so does the next where its pid file is gone before it is."""
    place.go_to("new")
    cluster, pid_file = place.cluster, place.cluster.data_dir / "postmaster.pid"
    server, found = cluster.pid(), cluster.data_dir.stat().st_ino
    checkpointer = int(cluster.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"))
    os.kill(checkpointer, signal.SIGSTOP)
    try:
        with TemporaryFile("w+") as said, place.start("roll back", said) as first:
            until(lambda: "stopping" in pid_file.read_text(), first)
            first.kill()
        for gone in (False, True):
            if gone:  # as in the server's last moment
                pid_file.unlink()
                options = {**place.options("roll back"), "stop_running": False}
                assert f"A server (pid {server}) runs on" in refused(place.sandbox, **options)
            with TemporaryFile("w+") as said, place.start("roll back", said) as module:
                time.sleep(1.5)
                assert module.poll() is None
                assert os.readlink(f"/proc/{server}/cwd") == str(cluster.data_dir)
                if gone:
                    os.kill(checkpointer, signal.SIGCONT)
                    module.wait(120)
                    said.seek(0)
                    assert module.returncode == 0, said.read()
                module.kill()
    finally:
        with suppress(ProcessLookupError):
            os.kill(checkpointer, signal.SIGCONT)
    assert cluster.data_dir.stat().st_ino != found
    assert cluster.rows("t") == place.old


def until(done: Callable[[], bool], module: subprocess.Popen[str]) -> None:
    """Wait for it while the module runs."""
    while not done():
        assert module.poll() is None
        time.sleep(0.01)
