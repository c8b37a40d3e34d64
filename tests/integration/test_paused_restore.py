# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A look beside: recovered to a point and held there while production goes on; then further, in place, or away."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support.restoring import History, archived_steps, ask, beside, done, refused, restore, running, unharmed
from support.sandbox import Sandbox


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    return archived_steps(sandbox, 5)


def count(sandbox: Sandbox, connect: str) -> str:
    return ask(sandbox, connect, "SELECT count(*) FROM t")


def test_paused_beside(sandbox: Sandbox, history: History) -> None:
    """Rows 0 to 2 can be read beside, nothing can be written there, and production goes on with all of its rows."""
    with unharmed(history.cluster):
        found = done(sandbox, "look", target_lsn=history.steps[2]["lsn"], action="pause")
    assert found["state"] == "paused"
    assert count(sandbox, found["connect"]) == "3"
    assert "read-only" in ask(sandbox, found["connect"], "INSERT INTO t VALUES (99)")
    assert beside(history.cluster.data_dir) == ["main.restore-look"]


def test_the_same_again_changes_nothing(sandbox: Sandbox, history: History) -> None:
    with unharmed(history.cluster):
        again = restore(sandbox, "look", target_lsn=history.steps[2]["lsn"], action="pause")
    assert again["changed"] is False, again
    assert count(sandbox, again["restore"]["connect"]) == "3"


def test_a_paused_server_that_died_is_started_again(sandbox: Sandbox, history: History) -> None:
    """The same words, the same state: rows 0 to 2 can be read again; nothing is fetched again."""
    work = history.cluster.data_dir.with_name("main.restore-look")
    fetched = (work / "PG_VERSION").stat().st_ino
    os.kill(int((work / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
    found = done(sandbox, "look", target_lsn=history.steps[2]["lsn"], action="pause")
    assert count(sandbox, found["connect"]) == "3"
    assert (work / "PG_VERSION").stat().st_ino == fetched


def test_recovery_does_not_go_back(sandbox: Sandbox, history: History) -> None:
    with unharmed(history.cluster):
        text = refused(sandbox, "look", target_lsn=history.steps[1]["lsn"], action="pause")
    assert "can't go back" in text
    with unharmed(history.cluster):
        other = refused(sandbox, "another", target_lsn=history.steps[4]["lsn"], action="pause")
    assert "'look'" in other
    assert "walg_restore_discard" in other


def test_further_without_fetching_again(sandbox: Sandbox, history: History) -> None:
    work = history.cluster.data_dir.with_name("main.restore-look")
    fetched = (work / "PG_VERSION").stat().st_ino
    with unharmed(history.cluster):
        found = done(sandbox, "look", target_lsn=history.steps[3]["lsn"], action="pause")
    assert count(sandbox, found["connect"]) == "4"
    assert (work / "PG_VERSION").stat().st_ino == fetched


def test_promoted_it_is_in_place_and_comes_back_off(sandbox: Sandbox, history: History) -> None:
    """Rows 0 to 3; a running server is stopped for that only where it is said; what was written meanwhile comes back by rollback."""
    cluster = history.cluster
    history.step()
    before = history.numbers()
    fetched = (cluster.data_dir.with_name("main.restore-look") / "PG_VERSION").stat().st_ino
    lsn = history.steps[3]["lsn"]
    with unharmed(cluster):
        assert "walg_restore_stop_running" in refused(sandbox, "look", target_lsn=lsn)
    found = done(sandbox, "look", target_lsn=lsn, stop_running=True)
    assert found["state"] == "done"
    assert history.numbers() == [0, 1, 2, 3]
    assert (cluster.data_dir / "PG_VERSION").stat().st_ino == fetched
    assert restore(sandbox, "look", target_lsn=lsn)["changed"] is False
    done(sandbox, "look", rollback=True, stop_running=True)
    assert history.numbers() == before
    assert beside(cluster.data_dir) == ["main.restore-look"]


def test_shut_down_beside_then_looked_at_then_removed(sandbox: Sandbox, history: History) -> None:
    cluster = history.cluster
    cluster.ship()
    work = cluster.data_dir.with_name("main.restore-lie")
    name = {"target_xid": history.steps[4]["xid"]}
    with unharmed(cluster):
        found = done(sandbox, "lie", action="shutdown", **name)
        assert found["state"] == "shut down"
        assert (work / "PG_VERSION").exists()
        assert not (work / "postmaster.pid").exists()
        assert restore(sandbox, "lie", action="shutdown", **name)["changed"] is False
        looked = done(sandbox, "lie", action="pause", **name)
        assert count(sandbox, looked["connect"]) == "5"
        assert done(sandbox, "lie", discard=True)["state"] == "discarded"
    assert not work.exists()
    assert not Path(looked["connect"].split()[2]).exists()
    assert restore(sandbox, "lie", discard=True)["changed"] is False
    assert running(sandbox) == {str(cluster.data_dir)}
