# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything without root: plays run as the user that owns PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from support.sandbox import Sandbox

ROWS = (
    "CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 300) g"
)
MORE = "INSERT INTO t SELECT g, md5(g::text) FROM generate_series(301, 400) g"


@pytest.mark.skipif(os.geteuid() != 0, reason="everything runs as an unprivileged user already")
def test_the_whole_cycle_without_root(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(as_user=True)
    cluster = sandbox.cluster("main")
    sandbox.storage("main")
    play = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster))
    assert play.rc == 0, play.stdout
    again = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster))
    assert (again.rc, again.changed()) == (0, []), again.stdout
    cluster.sql(ROWS)
    cluster.sql(MORE)
    cluster.ship()
    rows = cluster.rows("t")
    cluster.lose()
    play = sandbox.play(
        "mapswipe.walg.restore", sandbox.variables(cluster, walg_restore_request="r"), "-e", "walg_hosts=db"
    )
    assert play.rc == 0, play.stdout
    assert cluster.rows("t") == rows
    owners = {path.owner() for path in sandbox.host.rglob("*")}
    assert owners == {sandbox.user}
