# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A base backup that a standby takes: it counts, it overwrites none, two hosts never take one at once, and it is restored row by row."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from support.sandbox import Cluster, Sandbox
from test_standby import streaming_standby


def followed(standby: Cluster, count: str) -> None:
    deadline = time.monotonic() + 30
    while standby.sql("SELECT count(*) FROM t") != count and time.monotonic() < deadline:
        time.sleep(0.1)
    assert standby.sql("SELECT count(*) FROM t") == count


def backup(sandbox: Sandbox, cluster: Cluster, **more: Any) -> dict[str, Any]:
    return sandbox.module("walg_backup", {**sandbox.instance(cluster.name), "source": "standby", **more})


def archived_meanwhile(primary: Cluster, stop: threading.Event) -> threading.Thread:
    """What archive_timeout and the heartbeat do on a primary: its WAL leaves now and then."""

    def ship() -> None:
        while not stop.wait(3):
            primary.sql("SELECT pg_logical_emit_message(true, 'x', 'y'); SELECT pg_switch_wal()")

    thread = threading.Thread(target=ship)
    thread.start()
    return thread


def test_a_standby_takes_base_backups(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    primary = sandbox.cluster("main")
    sandbox.storage("main")
    primary.sql("CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 100)")
    storage = f"file://{sandbox.storage_dir / 'main'}"
    done = sandbox.play("mapswipe.walg.site", sandbox.variables(primary, walg_storage=storage))
    assert done.rc == 0, done.stdout
    standby = streaming_standby(primary)
    done = sandbox.play("mapswipe.walg.site", sandbox.variables(standby, walg_storage=storage, walg_backup_first=False))
    assert done.rc == 0, done.stdout
    primary.sql("INSERT INTO t SELECT generate_series(101, 200); CHECKPOINT")
    followed(standby, "200")

    assert backup(sandbox, standby, source="primary", max_age=0)["reason"] == (
        "this is a standby; its primary is backed up"
    )
    stop = threading.Event()
    shipping = archived_meanwhile(primary, stop)
    try:
        first = backup(sandbox, standby, max_age=0)
        assert first["changed"], first
        # No checkpoint on the primary, no restartpoint here: another one would get the same name and overwrite the first.
        again = backup(sandbox, standby, max_age=0)
        assert not again["changed"], again
        assert again["reason"] == (
            f"there is no restartpoint after {first['backup']['name']}, and one taken now would overwrite it"
        )
        primary.sql("INSERT INTO t SELECT generate_series(201, 300); CHECKPOINT")
        followed(standby, "300")
        third = backup(sandbox, standby, max_age=0)
        assert third["changed"], third
        assert third["backup"]["name"] != first["backup"]["name"]
        with subprocess.Popen([*primary.psql(), "-c", LOCK], stdout=subprocess.PIPE, text=True) as other:
            deadline = time.monotonic() + 20
            while primary.sql(HELD) != "1" and time.monotonic() < deadline:
                time.sleep(0.1)
            for cluster in (primary, standby):
                refused = backup(sandbox, cluster, max_age=0)
                assert refused.get("failed"), refused
                assert "Another host takes a base backup of this cluster" in refused["msg"], refused
                primary.sql("CHECKPOINT")
            other.terminate()
    finally:
        stop.set()
        shipping.join()
    primary.sql("INSERT INTO t SELECT generate_series(301, 333)")
    primary.ship()
    rows = primary.rows("t")
    standby.lose()
    primary.stop()
    restored = sandbox.play(
        "mapswipe.walg.restore",
        sandbox.variables(
            standby,
            walg_storage=storage,
            walg_restore_request="of-a-standby",
            walg_restore_backup=third["backup"]["name"],
        ),
        "-e",
        "walg_hosts=db",
    )
    assert restored.rc == 0, restored.stdout
    assert standby.rows("t") == rows
    assert standby.sql("SELECT pg_is_in_recovery()") == "f"


LOCK = "SELECT pg_advisory_lock(2002873191, 1650549611); SELECT pg_sleep(600)"
HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
