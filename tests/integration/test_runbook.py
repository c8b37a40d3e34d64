# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runbook, followed to the letter: every command that stands in it, in the order in which somebody would need them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.following import Follower, as_owner, pg_ctl, psql
from support.observe import kept
from support.pages import Page, sample, unlike
from support.restoring import History, running
from support.sandbox import CHECKOUT, Cluster, Sandbox


class Night(Follower):
    """Somebody with two shells and the page."""

    def __init__(self, page: Page, sandbox: Sandbox, cluster: Cluster) -> None:
        values = {
            "INVENTORY": str(sandbox.control / "night.json"),
            "HOST": "db",
            "DATA": str(cluster.data_dir),
            "CONFIG": str(sandbox.host / "config"),
            "STATE": str(sandbox.host / "state" / cluster.name),
            "WALG": str(sandbox.host / "bin" / f"wal-g-{sandbox.walg_version()}"),
            "OWNER": as_owner(sandbox),
            "PSQL": psql(cluster),
            "STOP": pg_ctl(cluster, "stop"),
        }
        super().__init__(page, sandbox, values)
        self.write({"db": sandbox.variables(cluster)})

    def write(self, hosts: dict[str, dict[str, Any]]) -> None:
        """Write the inventory."""
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        inventory = {"walg": {"hosts": hosts, "vars": local}}
        Path(self.values["INVENTORY"]).write_text(json.dumps(inventory))


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(CHECKOUT / "docs" / "restore-runbook.md")


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    cluster = sandbox.cluster("main")
    sandbox.storage("main")
    play = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster))
    assert play.rc == 0, play.stdout
    cluster.sql("CREATE TABLE t (id int PRIMARY KEY)")
    made = History(cluster)
    for _turn in range(4):
        made.step()
    made.cluster.ship()
    return made


@pytest.fixture(scope="module")
def night(page: Page, sandbox: Sandbox, history: History) -> Night:
    return Night(page, sandbox, history.cluster)


RESTORE = "-e walg_restore_request=$REQUEST\n"
IN_PLACE = "-e walg_restore_target_time=$MOMENT -e walg_restore_stop_running=true"


def test_a_lost_disk(night: Night, history: History) -> None:
    """The server dies and its data directory is gone: every row that was committed is back, and archived on."""
    cluster = history.cluster
    rows = history.numbers()
    cluster.lose()
    lost = {"REQUEST": "lost-disk"}
    night.follow("df -h", **lost)
    plan = night.follow("--check --diff", **lost)
    assert '"base_backup": "base_' in plan
    assert '"up_to_segment"' in plan
    assert "failed=0" in plan
    assert not cluster.data_dir.exists()
    said, seen = night.watched("tail -F", RESTORE, **lost)
    assert (
        night.page.script("tail -F", night.values).splitlines()[-1].replace("$STATE", night.values["STATE"]) in said
    ), "the play prints the line of the page"
    assert '"phase"' in seen
    assert "starting archive recovery" in seen or "redo" in seen
    assert '"last_commit"' in said
    shown = sample("restore").replace("lost-disk-2026-01-31", "lost-disk")
    assert unlike(shown, said, "db") == []
    assert history.numbers() == rows
    checked = night.follow("SELECT pg_is_in_recovery()")
    values = [line.strip() for line in checked.splitlines()]
    assert "f" in values
    assert "on" in values
    assert re.search(r"0000000[23]\S+ \| \d{4}-", checked), checked


def test_a_bad_delete(night: Night, history: History) -> None:
    """Look beside, give it up, put the moment in place, and back again: production has its rows all the while."""
    cluster = history.cluster
    good = history.numbers()
    moment = history.step()["time"]
    kept = history.numbers()
    cluster.sql("DELETE FROM t WHERE id % 2 = 0")
    history.step()
    bad = history.numbers()
    assert len(bad) < len(kept)
    assert good != kept
    points = night.follow("walg_backup_info")
    assert '"windows"' in points
    assert '"time_known": true' in points
    look = {"REQUEST": "look", "MOMENT": moment}
    paused = night.follow("walg_restore_action=pause", **look)
    (connect,) = set(re.findall(r"psql -h \S+ -p \d+ -U \w+", paused))
    assert history.numbers() == bad, "production goes on"
    assert "(1 row)" in night.follow("pg_last_xact_replay_timestamp", CONNECT=connect)
    night.follow("walg_restore_discard=true", **look)
    assert running(night.sandbox) == {str(cluster.data_dir)}
    right = {"REQUEST": "bad-delete", "MOMENT": moment}
    night.follow(IN_PLACE, **right)
    assert history.numbers() == kept
    night.follow("walg_restore_rollback=true", **right)
    assert history.numbers() == bad


def test_by_hand(night: Night, history: History) -> None:
    """With WAL-G alone: the newest base backup's files are there."""
    listed = night.follow("backup-list")
    name = re.findall(r"base_\w+", listed)[-1]
    night.follow("backup-fetch", BACKUP=name)
    fetched = history.cluster.data_dir.with_name("main.by-hand")
    assert (fetched / "global" / "pg_control").exists()
    shutil.rmtree(fetched)


def test_a_server_that_still_runs_is_stopped(night: Night, history: History) -> None:
    assert history.cluster.pid()
    night.follow("$STOP")
    assert history.cluster.pid() == 0


def may_write(sandbox: Sandbox, allowed: bool) -> None:
    """Say whether the storage's key may write."""
    for path in [sandbox.storage_dir, *sandbox.storage_dir.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755 if allowed else 0o555)


def test_on_a_new_host(night: Night, history: History) -> None:
    """The old host is gone; another, which knows nothing of it, first only reads the archive, then takes over."""
    sandbox, old = night.sandbox, history.cluster
    assert old.pid() == 0
    for gone in (old.data_dir, sandbox.host):
        gone.rename(gone.with_name("dead"))
    sandbox.host.mkdir()
    may_write(sandbox, False)
    new = {"HOST": "new", "REQUEST": "moved"}
    night.write({"new": {**sandbox.variables(old), "walg_pg_service": "pg_ctl"}})
    before = kept(sandbox.storage_dir)
    said = night.follow("walg_restore_resume_backup=false", **new)
    assert '"state": "done"' in said
    assert "WAL waits in pg_wal" in said
    assert kept(sandbox.storage_dir) == before
    assert list(old.data_dir.glob("pg_wal/archive_status/*.ready")), "it does"
    rows = old.rows("t")
    may_write(sandbox, True)
    assert "WAL waits in pg_wal" not in night.follow("walg_restore_resume_backup=true", **new)
    assert old.rows("t") == rows
    history.step()
    old.ship()


def test_nothing_of_the_page_was_left_out(page: Page) -> None:
    assert page.left() == []
