# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two clusters on one host through one loop, with settings of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from support.sandbox import Sandbox

PLAYBOOKS = Path(__file__).resolve().parent / "playbooks"
ROWS = (
    "CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 300) g"
)


def test_two_instances_in_one_loop(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    instances, clusters = [], []
    for name, timeout in (("orders", 31), ("stock", 47)):
        cluster = sandbox.cluster(name)
        storage = sandbox.storage(name)
        clusters.append(cluster)
        own = {
            **cluster.variables(),
            "walg_instance": name,
            "walg_storage": storage,
            "walg_backup_archive_timeout": timeout,
        }
        instances.append({**own, "walg_settings": {"WALG_UPLOAD_CONCURRENCY": timeout}})
    common = {key: value for key, value in sandbox.variables(clusters[0]).items() if key not in instances[0]}
    play = sandbox.play(str(PLAYBOOKS / "instances.yml"), {**common, "instances": instances})
    assert play.rc == 0, play.stdout
    for cluster, timeout in zip(clusters, (31, 47), strict=True):
        assert cluster.sql("SHOW archive_timeout") == f"{timeout}s"
        settings = json.loads((sandbox.host / "config" / f"{cluster.name}.json").read_text())
        assert settings["WALG_UPLOAD_CONCURRENCY"] == str(timeout)
        cluster.sql(ROWS.replace("md5(g::text)", f"'{cluster.name}' || g"))
        cluster.ship()
    rows = [cluster.rows("t") for cluster in clusters]
    for cluster in clusters:
        cluster.lose()
    for own in instances:
        answer = sandbox.module("walg_restore", {**sandbox.instance(str(own["walg_instance"])), "request": "both"})
        assert answer.get("changed"), answer
    assert [cluster.rows("t") for cluster in clusters] == rows
    assert rows[0] != rows[1]
