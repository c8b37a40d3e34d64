# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore that is killed: what may be lost is nothing; the next run of the same request finishes or begins anew."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.sandbox import Cluster, Sandbox

COUNT = 400


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    """A cluster with a base backup, and rows after it."""
    made = sandbox.cluster("main", archive_mode="on")
    sandbox.configure(made)
    assert sandbox.module("walg_archive", sandbox.instance())["changed"]
    assert sandbox.module("walg_backup", sandbox.instance())["changed"]
    made.sql(f"CREATE TABLE t AS SELECT g AS id, md5(g::text) AS x FROM generate_series(1, {COUNT}) g")
    made.ship()
    return made


def kill_when(sandbox: Sandbox, request: str, state: str) -> str:
    """Start a restore, kill module and children with -9 as soon as its marker says ``state``; return the state then."""
    marker = sandbox.marker()
    argv = sandbox.module_argv("walg_restore", {**sandbox.instance(), "request": request})
    environment = sandbox.environment(sandbox.control / "none")
    with open(os.devnull, "wb") as null:
        module = subprocess.Popen(argv, stdout=null, stderr=null, env=environment, cwd=sandbox.root)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and module.poll() is None:
        known = json.loads(marker.read_text()) if marker.exists() else {}
        if known.get("request") == request and known.get("state") == state:
            break
        time.sleep(0.002)
    module.kill()
    module.wait()
    for pid in _below(sandbox):
        os.kill(pid, signal.SIGKILL)
    return str(json.loads(marker.read_text())["state"])


def _below(sandbox: Sandbox) -> list[int]:
    """Process ids of WAL-G and PostgreSQL that work in this sandbox."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if (entry / "comm").read_text().strip() in ("wal-g", "postgres") and str(sandbox.root) in (
                    (entry / "cmdline").read_text() + os.readlink(entry / "cwd")
                ):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.mark.parametrize("state", ["fetching", "recovering", "recovered", "swapping", "starting"])
def test_killed_in(sandbox: Sandbox, cluster: Cluster, state: str) -> None:
    rows = cluster.rows("t")
    assert len(rows) == COUNT
    cluster.stop()
    before = (cluster.data_dir / "global" / "pg_control").read_bytes()
    reached = kill_when(sandbox, f"kill-{state}", state)
    if reached in ("fetching", "recovering", "recovered"):
        assert (cluster.data_dir / "global" / "pg_control").read_bytes() == before
    answer = sandbox.module("walg_restore", {**sandbox.instance(), "request": f"kill-{state}"})
    assert not answer.get("failed"), answer
    assert cluster.rows("t") == rows
    names = {path.name for path in cluster.data_dir.parent.iterdir() if path.is_dir()}
    assert not [name for name in names if ".restore-" in name]
    assert f"main.before-kill-{state}" in names
    again = sandbox.module("walg_restore", {**sandbox.instance(), "request": f"kill-{state}"})
    assert again["changed"] is False
    cluster.ship()


def test_another_request_waits_for_an_unfinished_swap(sandbox: Sandbox, cluster: Cluster) -> None:
    rows = cluster.rows("t")
    cluster.stop()
    marker = sandbox.marker()
    state = json.loads(marker.read_text())
    shutil.move(cluster.data_dir, state["places"][-1]["work"])
    marker.write_text(json.dumps({**state, "state": "swapping"}))
    refused = sandbox.module("walg_restore", {**sandbox.instance(), "request": "another"})
    assert refused.get("failed")
    assert state["request"] in refused["msg"]
    finished = sandbox.module("walg_restore", {**sandbox.instance(), "request": state["request"]})
    assert finished.get("changed"), finished
    assert cluster.rows("t") == rows


def test_what_is_not_ours_is_left_alone(sandbox: Sandbox, cluster: Cluster) -> None:
    cluster.stop()
    stranger = cluster.data_dir.with_name("main.restore-mine")
    stranger.mkdir()
    (stranger / "precious").write_text("keep")
    answer = sandbox.module("walg_restore", {**sandbox.instance(), "request": "mine"})
    assert answer.get("failed")
    assert str(stranger) in answer["msg"]
    assert (stranger / "precious").read_text() == "keep"
    cluster.start()
