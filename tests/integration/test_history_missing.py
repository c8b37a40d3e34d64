# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timelines as others' users reported them of other tools."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from locations import pg_major
from support.restoring import History, backup, done
from support.sandbox import Sandbox


@pytest.mark.parametrize("standby", [False, True])
def test_promoted_before_it_was_archived(make_sandbox: Callable[..., Sandbox], standby: bool) -> None:
    """ossc-db/pg_rman#106: nobody has archived the history file of its timeline, which recovery asks for."""
    sandbox = make_sandbox()
    cluster = sandbox.idle_cluster("main")
    cluster.create((), archive_mode="on", archive_command="")
    cluster.start()
    cluster.sql("CREATE TABLE t (id int PRIMARY KEY)")
    cluster.stop()
    name, text = ("standby.signal", "") if pg_major() >= 12 else ("recovery.conf", "standby_mode = 'on'")
    sandbox.run(["sh", "-c", f'echo "{text}" > {cluster.data_dir}/{name}'], user=sandbox.user)
    cluster.start()
    sandbox.run([str(cluster.bin_dir / "pg_ctl"), "-D", str(cluster.data_dir), "-w", "promote"], user=sandbox.user)
    cluster.sql("CHECKPOINT")
    assert cluster.sql("SELECT timeline_id FROM pg_control_checkpoint()") == "2"
    for status in (cluster.data_dir / "pg_wal" / "archive_status").glob("*.history.*"):
        status.unlink()
    sandbox.configure(cluster)
    assert sandbox.module("walg_archive", sandbox.instance())["changed"]
    answer = sandbox.module("walg_archive_check", sandbox.instance())
    assert not answer.get("failed"), answer
    history = History(cluster)
    history.step()
    backup(sandbox)
    history.ship(2)
    rows = history.numbers()
    cluster.lose()
    options = {"standby": True, "archive": "none"} if standby else {}
    done(sandbox, "latest", **options)
    assert history.numbers() == rows
