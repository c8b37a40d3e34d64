# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers whose process is not called postgres: wrapped as by NixOS, renamed by a vendor, run through the loader."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.restoring import History, archived, beside, done, refused, unharmed
from support.sandbox import Sandbox

KINDS = {
    "nix": ".postgres-wrapped",
    "vendor": "database-server-with-a-long-name",
    "loader": "postgres-of-the-loader",
}
_LOADER = "/lib64/ld-linux-x86-64.so.2"


def wrapped(sandbox: Sandbox, kind: str) -> Path:
    """Return a directory of server programs in which ``postgres`` is a script that execs the real one."""
    made, real = sandbox.root / f"pg-{kind}", sandbox.pg_bin_dir.resolve().parent
    shutil.copytree(real, made, symlinks=True)
    program = made / "bin" / "postgres"
    target = program.with_name(KINDS[kind])
    program.rename(target)
    for link in (made / "bin").iterdir():
        if link.is_symlink():
            link.unlink()
            link.symlink_to((real / "bin" / link.name).resolve())
    loader = f"{_LOADER} " if kind == "loader" else ""
    program.write_text(f'#!/bin/sh\nexec {loader}{target} "$@"\n')
    program.chmod(0o755)
    return made / "bin"


@pytest.fixture(scope="module", params=sorted(KINDS))
def history(request: pytest.FixtureRequest, make_sandbox: object) -> History:
    assert callable(make_sandbox)
    sandbox: Sandbox = make_sandbox()
    sandbox.pg_bin_dir = wrapped(sandbox, request.param)
    made = archived(sandbox)
    made.step()
    name = Path(f"/proc/{made.cluster.pid()}/comm").read_text().strip()
    assert name == (Path(_LOADER).name if request.param == "loader" else KINDS[request.param])[:15]
    return made


def test_it_runs_and_is_refused(history: History) -> None:
    sandbox, cluster = history.cluster.sandbox, history.cluster
    with unharmed(cluster):
        assert f"A server (pid {cluster.pid()}) runs on" in refused(sandbox, "running")
    assert beside(cluster.data_dir) == []


def test_it_is_found_where_no_directory_is_given(history: History) -> None:
    sandbox, cluster = history.cluster.sandbox, history.cluster
    found = sandbox.module("walg_instance_info", {"instance": "other", "cluster": {}})
    told = f"{found.get('msg')} {found.get('cluster')}"
    assert str(cluster.data_dir) in told, found


def test_it_is_stopped_and_restored(history: History) -> None:
    sandbox, cluster = history.cluster.sandbox, history.cluster
    before, pid = history.numbers(), cluster.pid()
    history.step()
    done(sandbox, "stopped", stop_running=True)
    assert not Path(f"/proc/{pid}").exists()
    assert history.numbers() == [*before, len(before)]
    assert cluster.pid() != pid


def test_a_shell_in_the_directory_is_no_server_and_stays(history: History) -> None:
    """The pid file of a crash names a number that somebody's shell has now."""
    sandbox, cluster = history.cluster.sandbox, history.cluster
    history.step()
    cluster.ship()
    rows = history.numbers()
    shell = subprocess.Popen(["sh", "-c", "read line"], cwd=cluster.data_dir, stdin=subprocess.PIPE)
    pid_file = cluster.data_dir / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    cluster.kill()
    pid_file.write_text("\n".join([str(shell.pid), *lines[1:]]))
    try:
        done(sandbox, "shell")
        assert shell.poll() is None
    finally:
        shell.kill()
        shell.communicate()
    assert history.numbers() == rows
    assert os.getpid() != cluster.pid()
