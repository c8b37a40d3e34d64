# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody starts the server that a restore has stopped: what he commits is not lost, and his server is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _stopped
from support.restoring import History, archived, done, killed_in_swap, refused, restore, until
from support.sandbox import Cluster, Sandbox


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    made = archived(sandbox)
    made.step()
    return made


class Colleague:
    """Starts the server as soon as the restore fetches, and commits a row; ``leaves``: and stops it again."""

    def __init__(self, history: History, request: str, leaves: bool) -> None:
        self.history, self.leaves = history, leaves
        self.work = history.cluster.data_dir.with_name(f"main.restore-{request}")

    def act(self) -> None:
        until(lambda: self.work.exists() and not self.history.cluster.pid())
        self.history.cluster.start()
        self.history.step()
        if self.leaves:
            self.history.cluster.stop()


@contextmanager
def in_background(sandbox: Sandbox, request: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    argv = sandbox.module_argv("walg_restore", {**sandbox.instance(), "request": request, **options})
    environment = sandbox.environment(sandbox.control / "none")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as run:
        try:
            yield run
        finally:
            if run.poll() is None:
                run.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("leaves", [False, True])
def test_a_colleague_starts_it(sandbox: Sandbox, history: History, leaves: bool) -> None:
    """Refused with his row in production; the same request, run again, has it in the restored cluster."""
    cluster, request = history.cluster, f"colleague-{leaves}"
    if not cluster.pid():
        cluster.start()
    before = history.numbers()
    with in_background(sandbox, request, stop_running=True) as run:
        Colleague(history, request, leaves).act()
        said, _none = run.communicate(timeout=120)
    assert f"Somebody started the server on {cluster.data_dir}" in said, said
    assert "run the same request again" in said
    assert bool(cluster.pid()) is not leaves
    assert not cluster.data_dir.with_name(f"main.before-{request}").exists()
    if leaves:
        cluster.start()
    assert history.numbers() == [*before, len(before)]
    done(sandbox, request, stop_running=True)
    assert history.numbers() == [*before, len(before)]


def test_a_loop_that_starts_it_again_and_again(sandbox: Sandbox, history: History) -> None:
    """Whatever comes of the restore, every row that was committed is there, and a server runs."""
    cluster = history.cluster
    script = f"while :; do {cluster.bin_dir}/pg_ctl -D {cluster.data_dir} -l {cluster.log} -w start; sleep 0.3; done"
    loop = subprocess.Popen(
        ["sh", "-c", script],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=sandbox.user,
        start_new_session=True,
    )
    try:
        answer = restore(sandbox, "loop", stop_running=True)
        assert answer.get("failed"), answer
        assert "ended well, but a server" in answer["msg"] or "Somebody started the server" in answer["msg"], answer[
            "msg"
        ]
        until(lambda: bool(cluster.pid()))
    finally:
        loop.kill()
        loop.wait()
    until(lambda: _answers(cluster))
    assert history.numbers() == list(range(len(history.steps)))
    history.step()
    done(sandbox, "loop", stop_running=True)
    assert history.numbers() == list(range(len(history.steps)))


def _answers(cluster: Cluster) -> bool:
    try:
        return cluster.sql("SELECT 1") == "1"
    except AssertionError:
        return False


def test_after_a_kill_before_the_first_move(sandbox: Sandbox, history: History) -> None:
    """The journal is written, nothing has moved; what was committed since is seen by the next run."""
    cluster = history.cluster
    before = history.numbers()
    assert killed_in_swap(sandbox, "killed", "before", 1, stop_running=True)
    until(lambda: not (cluster.data_dir / "postmaster.pid").exists())
    cluster.start()
    history.step()
    assert "Somebody started the server" in refused(sandbox, "killed", stop_running=True)
    assert history.numbers() == [*before, len(before)]
    done(sandbox, "killed", stop_running=True)
    assert history.numbers() == [*before, len(before)]


def test_nobody_starts_it_while_the_directories_are_moved(sandbox: Sandbox, history: History) -> None:
    cluster, owner = history.cluster, User.by_name(sandbox.user)
    pid_file, aside = cluster.data_dir / "postmaster.pid", cluster.data_dir.with_name("aside")
    with (
        pytest.raises(WalgError, match="Somebody started the server"),
        _stopped.kept_stopped(str(cluster.data_dir), owner),
    ):
        pass
    assert cluster.pid()
    cluster.stop()
    stale = f"{2**22 + 1}\n{cluster.data_dir}\n1700000000\n5432\n/run\n\n  1  1\nready\n"  # a crash left it
    pid_file.write_text(stale)
    with _stopped.kept_stopped(str(cluster.data_dir), owner):
        with pytest.raises(AssertionError, match="pg_ctl"):
            cluster.start()
        cluster.data_dir.rename(aside)
    assert (aside / "postmaster.pid").read_text() == stale
    aside.rename(cluster.data_dir)
    cluster.start()
    cluster.stop()
    with _stopped.kept_stopped(str(cluster.data_dir), owner):
        assert pid_file.exists()
    assert not pid_file.exists()
    cluster.start()
    assert history.numbers() == list(range(len(history.steps)))


def test_children_that_outlive_their_postmaster(sandbox: Sandbox, history: History) -> None:
    """The postmaster was killed, and a session in a long loop does not notice: no pg_ctl stops it, and it may still write."""
    cluster = history.cluster
    if not cluster.pid():
        cluster.start()
    history.step()
    cluster.ship()
    postmaster = cluster.pid()
    with subprocess.Popen(
        [*cluster.psql(), "-c", "DO $$ BEGIN LOOP END LOOP; END $$"], stderr=subprocess.DEVNULL
    ) as session:
        try:
            until(lambda: cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO%'") == "1")
            os.kill(postmaster, signal.SIGKILL)  # and its other children see that
            until(lambda: len(sandbox.servers()) == 1)
            (left,) = sandbox.servers()
            assert left != postmaster
            assert f"A server (pid {left}) runs on" in refused(sandbox, "orphans")
            done(sandbox, "orphans", stop_running=True)
        finally:
            session.kill()
    assert left not in sandbox.servers()
    assert history.numbers() == list(range(len(history.steps)))
