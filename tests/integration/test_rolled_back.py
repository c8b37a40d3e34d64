# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore that was rolled back has left a timeline in the archive: "latest" is what came after the rollback, not that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.sandbox import Sandbox


@pytest.mark.parametrize("with_backup", [False, True])
def test_latest_is_what_was_written_after_the_rollback(make_sandbox: Callable[..., Sandbox], with_backup: bool) -> None:
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main", archive_mode="on")
    sandbox.configure(cluster)
    instance = sandbox.instance()
    assert sandbox.module("walg_archive", instance)["changed"]
    assert sandbox.module("walg_backup", instance)["changed"]
    cluster.sql("CREATE TABLE t AS SELECT 1 AS id")
    cluster.ship()
    restore = {**instance, "request": "mistake", "stop_running": True}
    assert sandbox.module("walg_restore", restore).get("changed")
    cluster.sql("INSERT INTO t VALUES (2)")
    if with_backup:  # as the role does: the marker follows, and the branch has the newest base backup
        assert sandbox.module("walg_archive", instance)["changed"]
        assert sandbox.module("walg_backup", instance)["changed"]
    cluster.ship()
    answer = sandbox.module("walg_restore", {**restore, "rollback": True})
    assert answer.get("changed"), answer
    cluster.sql("INSERT INTO t VALUES (3)")
    cluster.ship()
    cluster.lose()
    answer = sandbox.module("walg_restore", {**instance, "request": "follower", "standby": True, "archive": "none"})
    assert answer.get("changed"), answer
    assert cluster.rows("t") == ["(1)", "(3)"]
    assert "The standby stays on timeline 1, which is the cluster's own" in " ".join(answer["restore"]["notes"])
    cluster.lose()
    answer = sandbox.module("walg_restore", {**instance, "request": "loss"})
    assert answer.get("changed"), answer
    assert cluster.rows("t") == ["(1)", "(3)"]
    assert answer["restore"]["orphan_timelines"] == [2]
    assert answer["restore"]["timeline"] == 3
