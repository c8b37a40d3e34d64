# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk runs full during a restore, beside a server that goes on elsewhere. Nothing may be lost.

The restore fails and says why, the server and its files are the same all the while, and with room the same request has every
row. Left out (conftest.py) where nothing can be mounted.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import pytest
from support.disk import Disk
from support.forked import ForkingSandbox
from support.restoring import History, archived_apart, done, refused, running, unharmed
from support.sandbox import Sandbox

SANDBOX = ForkingSandbox


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    """Rows in a tablespace that the base backup has, and in three segments after it."""
    made = archived_apart(sandbox)
    made.ship(2)
    return made


@pytest.fixture
def disk(sandbox: Sandbox, history: History) -> Iterator[Disk]:
    made = Disk(sandbox.pg_dir / "disk", sandbox.user, "1g")
    yield made
    for cluster in sandbox.clusters:
        cluster.stop()
    made.unmount()


def test_in_fetch_and_in_recovery(sandbox: Sandbox, history: History, disk: Disk) -> None:
    """First where a tablespace is to go, whose size is not known before; then where WAL goes, full after the plan was made."""
    cluster, marker = history.cluster, sandbox.marker()
    spaces = {str(sandbox.pg_dir / "apart" / "space0"): str(disk.path / "space0")}
    wanted = {"target_lsn": history.steps[-1]["lsn"], "stop_running": True, "tablespaces": spaces}
    disk.resize("4k")
    with unharmed(cluster):
        text = refused(sandbox, "full", fetch_stall_timeout=5, **wanted)
    assert "Fetching the base backup" in text
    assert "no space left on device" in text
    assert f"{cluster.data_dir} was not touched" in text
    assert list(disk.path.iterdir()) == [], "the room is given back"
    disk.resize("1g")

    over = threading.Event()

    def shrink() -> None:
        while not over.is_set():
            if marker.exists() and json.loads(marker.read_text())["state"] == "recovering":
                disk.resize("24m")  # of a segment and a half
                return
            time.sleep(0.005)

    wanted["wal_dir"] = str(disk.path / "wal")
    thread = threading.Thread(target=shrink)
    marker.unlink()
    thread.start()
    try:
        with unharmed(cluster):
            text = refused(sandbox, "full", **wanted)
    finally:
        over.set()
        thread.join()
    assert "no space left on device" in text.lower()
    assert f"{cluster.data_dir} was not touched" in text
    assert running(sandbox) == {str(cluster.data_dir)}
    disk.resize("1g")
    rows = cluster.rows("s0")
    done(sandbox, "full", **wanted)
    assert history.numbers() == list(range(len(history.steps)))
    assert cluster.rows("s0") == rows
    assert (cluster.data_dir / "pg_wal").resolve() == disk.path / "wal"
