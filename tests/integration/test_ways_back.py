# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore that stops half way: the same request goes on, and a rollback goes back, with the rows that belong to each.

The server's start fails for a reason that nobody could know before: whoever starts it fails once, or another server takes the port.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from support.restoring import History, archived, beside, done, killed_in_swap, refused, restore
from support.sandbox import Sandbox

STARTER = """\
#!/bin/sh
# Starts and stops the cluster; fails to start it while {fails} is there, and passes on the options in {options}.
case $1 in
  start) test ! -e {fails} || exit 1; exec {as_owner} {pg_ctl} -D {data} -l {log} -w -o "$(cat {options})" start ;;
  stop) exec {as_owner} {pg_ctl} -D {data} -m fast -w stop ;;
esac
"""


class Starter:
    """A program of the operator's own that starts the server, or fails."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.path, self.fails, self.options = (
            sandbox.host / name for name in ("starter", "starter-fails", "starter-options")
        )
        self.options.write_text("")
        text = STARTER.format(
            fails=self.fails,
            options=self.options,
            as_owner="" if sandbox.as_user else f"runuser -u {sandbox.user} --",
            pg_ctl=sandbox.pg_bin_dir / "pg_ctl",
            data=sandbox.pg_dir / "main",
            log=sandbox.pg_dir / "main.log",
        )
        self.path.write_text(text)
        self.path.chmod(0o755)
        self.options.chmod(0o644)


@pytest.fixture(scope="module")
def starter(sandbox: Sandbox) -> Starter:
    sandbox.host.mkdir(exist_ok=True)
    return Starter(sandbox)


@pytest.fixture(scope="module")
def history(sandbox: Sandbox, starter: Starter) -> History:
    made = archived(sandbox)
    sandbox.configure(made.cluster, service=f"command:{starter.path}")
    made.ship(2)
    return made


def ways(told: str, request: str, on: str) -> None:
    """The message names both ways."""
    assert f"Way on (walg_restore_request: {request}): run it again; {on}" in told
    assert "Way back: add walg_restore_rollback: true" in told


def failed_start(sandbox: Sandbox, history: History, starter: Starter, request: str) -> tuple[list[str], list[str]]:
    """Restore to the last step; one more row is written before. The start fails. Returns the new rows and the old ones."""
    cluster, lsn = history.cluster, history.steps[-1]["lsn"]
    new = cluster.rows("t")
    history.step()
    old = cluster.rows("t")
    starter.fails.touch()
    told = refused(sandbox, request, target_lsn=lsn, stop_running=True)
    ways(told, request, "it continues with the start")
    assert cluster.pid() == 0
    starter.fails.unlink()
    return new, old


def test_the_same_request_goes_on_when_the_start_failed(sandbox: Sandbox, history: History, starter: Starter) -> None:
    lsn = history.steps[-1]["lsn"]
    new, _old = failed_start(sandbox, history, starter, "again")
    done(sandbox, "again", target_lsn=lsn)
    assert history.cluster.rows("t") == new
    history.steps.pop()


def test_a_rollback_goes_back_when_the_start_failed(sandbox: Sandbox, history: History, starter: Starter) -> None:
    _new, old = failed_start(sandbox, history, starter, "mistake")
    assert done(sandbox, "mistake", rollback=True)["started"]
    assert history.cluster.rows("t") == old
    assert restore(sandbox, "mistake", rollback=True)["changed"] is False
    assert "A new restore needs a new walg_restore_request" in refused(sandbox, "mistake")
    history.cluster.ship()


@pytest.mark.parametrize("number", [1, 2])
def test_a_rollback_goes_back_from_a_swap_that_was_killed(sandbox: Sandbox, history: History, number: int) -> None:
    cluster, lsn = history.cluster, history.steps[-1]["lsn"]
    history.step()
    old, request = cluster.rows("t"), f"killed-{number}"
    assert killed_in_swap(sandbox, request, "after", number, target_lsn=lsn, stop_running=True)
    assert "walg_restore_rollback: true" in refused(sandbox, "other", target_lsn=lsn)
    done(sandbox, request, rollback=True)
    assert cluster.rows("t") == old
    assert f"main.restore-{request}" in beside(cluster.data_dir)
    cluster.ship()


def test_a_server_that_is_not_what_was_asked_for(sandbox: Sandbox, history: History, starter: Starter) -> None:
    """Something switches a copy's archiving on: it is stopped again. Mended, the same request ends; else the way back is there."""
    cluster, options = history.cluster, {"stop_running": True, "archive": "none"}
    for request in ("copy", "no-copy"):
        cluster.ship()
        rows = cluster.rows("t")
        starter.options.write_text("-c archive_mode=on")
        told = refused(sandbox, request, **options)
        assert "was stopped again" in told
        ways(told, request, "it continues with the start")
        starter.options.write_text("")
        if request == "copy":
            assert done(sandbox, request, **options)["archive_mode"] == "off"
            assert cluster.rows("t") == rows
        done(sandbox, request, rollback=True, stop_running=True)
        assert (cluster.rows("t"), cluster.sql("SHOW archive_mode")) == (rows, "on")


def test_another_server_has_the_port(sandbox: Sandbox, history: History) -> None:
    """It is seen before the swap; one that comes later is met at the start."""
    cluster = history.cluster
    sandbox.configure(cluster)
    rows = cluster.rows("t")
    cluster.ship()
    other = sandbox.idle_cluster("other")
    other.create(port=str(cluster.port), unix_socket_directories=str(cluster.socket_dir))
    cluster.stop()
    other.start()
    told = refused(sandbox, "port")
    assert f"another server (process {other.pid()}, on {other.data_dir}) has port {cluster.port}" in told
    assert "Way on (walg_restore_request: port): run it again; it continues with the swap" in told
    told = refused(sandbox, "port", check_start=False)
    ways(told, "port", "it continues with the start")
    other.stop()
    done(sandbox, "port")
    assert cluster.rows("t") == rows
    cluster.ship()


def test_where_there_is_no_old_cluster_the_restored_one_is_taken_out(
    sandbox: Sandbox, history: History, starter: Starter
) -> None:
    cluster = history.cluster
    sandbox.configure(cluster, service=f"command:{starter.path}")
    cluster.ship()
    rows = cluster.rows("t")
    cluster.lose()
    starter.fails.touch()
    told = refused(sandbox, "lost")
    assert "that takes the restored cluster out again and keeps it, because there is no old one" in told
    starter.fails.unlink()
    kept = Path(str(done(sandbox, "lost", rollback=True)["restored_kept_as"]))
    assert (cluster.data_dir.exists(), (kept / "PG_VERSION").exists()) == (False, True)
    done(sandbox, "lost-2")
    assert cluster.rows("t") == rows


def test_before_the_swap_a_rollback_starts_what_was_stopped(sandbox: Sandbox, history: History) -> None:
    """Killed while it recovers the latest state: the server was stopped for that, and runs again with all of its rows."""
    cluster = history.cluster
    rows = cluster.rows("t")
    argv = sandbox.module_argv("walg_restore", {**sandbox.instance(), "request": "early", "stop_running": True})
    marker = sandbox.marker()
    environment = sandbox.environment(sandbox.control / "none")
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=environment, cwd=sandbox.root) as module:
        while module.poll() is None and '"state": "recovering"' not in marker.read_text():
            pass
        module.send_signal(signal.SIGKILL)
    assert cluster.pid() == 0
    answer = done(sandbox, "early", rollback=True)
    assert (answer["state"], answer["started"]) == ("rolled back", True)
    assert cluster.rows("t") == rows
    assert "main.restore-early" not in beside(cluster.data_dir)
