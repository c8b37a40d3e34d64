# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores to points of one history: each kind of target, from the right base backup, and what is out of reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.sandbox import Cluster, Sandbox


@dataclass
class History:
    """A cluster's life: each step is one transaction that adds one row; what is known of it is kept here, outside."""

    cluster: Cluster
    steps: list[dict[str, str]] = field(default_factory=list)

    def step(self) -> dict[str, str]:
        """Commit one row; return its transaction id, and time and LSN after its commit and before the next."""
        number = len(self.steps)
        xid = self.cluster.sql(f"BEGIN; INSERT INTO t VALUES ({number}); SELECT txid_current(); COMMIT")
        lsn, time = self.cluster.sql(
            "SELECT pg_sleep(0.02); SELECT pg_current_wal_insert_lsn() || ' ' || to_char(clock_timestamp() AT TIME ZONE 'UTC', "
            '\'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\'); SELECT pg_sleep(0.02)'
        ).split()
        self.steps.append({"rows": str(number + 1), "xid": xid, "lsn": lsn, "time": time})
        return self.steps[-1]

    def named(self, name: str) -> dict[str, str]:
        """Make a restore point after one more step."""
        step = self.step()
        self.cluster.sql(f"SELECT pg_create_restore_point('{name}')")
        return step


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    cluster = sandbox.cluster("main", archive_mode="on")
    sandbox.configure(cluster)
    assert sandbox.module("walg_archive", sandbox.instance())["changed"]
    cluster.sql("CREATE TABLE t (id int PRIMARY KEY)")
    made = History(cluster)
    for _backup in range(2):
        made.step()
        assert sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})["changed"]
        made.step()
        made.step()
        cluster.ship()
    made.named("before_the_upgrade")
    made.step()
    cluster.ship()
    return made


def restore(sandbox: Sandbox, request: str, **options: Any) -> dict[str, Any]:
    return sandbox.module("walg_restore", {**sandbox.instance(), "request": request, "stop_running": True, **options})


def back(sandbox: Sandbox, request: str, **options: Any) -> None:
    answer = restore(sandbox, request, rollback=True, **options)
    assert answer.get("changed"), answer


@pytest.mark.parametrize(
    ("request_name", "step", "options", "rows"),
    [
        ("time", 4, {"target_time": "{time}"}, 5),
        ("time-first-backup", 1, {"target_time": "{time}"}, 2),
        ("lsn", 4, {"target_lsn": "{lsn}"}, 5),
        ("xid", 4, {"target_xid": "{xid}"}, 5),
        ("xid-exclusive", 4, {"target_xid": "{xid}", "target_inclusive": False}, 4),
        ("name", 6, {"target_name": "before_the_upgrade"}, 7),
        ("immediate", 3, {"target": "immediate"}, 4),
        ("latest", 7, {}, 8),
    ],
)
def test_each_kind_of_target_and_back(
    sandbox: Sandbox, history: History, request_name: str, step: int, options: dict[str, Any], rows: int
) -> None:
    cluster = history.cluster
    before = cluster.rows("t")
    assert len(before) == 8
    filled = {
        key: str(value).format(**history.steps[step]) if isinstance(value, str) else value
        for key, value in options.items()
    }
    answer = restore(sandbox, request_name, **filled)
    assert answer.get("changed"), answer
    assert [int(row.strip("()")) for row in sorted(cluster.rows("t"))] == list(range(rows))
    assert restore(sandbox, request_name, **filled)["changed"] is False
    assert Path(answer["restore"]["kept_as"]).is_dir()
    back(sandbox, request_name, **filled)
    assert cluster.rows("t") == before
    assert restore(sandbox, request_name, rollback=True, **filled)["changed"] is False
