# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that a shell would take for orders, and commands that PostgreSQL would cut off, with real servers."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.restoring import History, backup, done
from support.sandbox import Cluster, Sandbox

NAMES = ["a b", "$(touch $MARK)", "`touch $MARK`", '"; touch $MARK; "', "it's", "100%p \\", "$MARK"]


def started(cluster: Cluster, log: Path, mark: Path) -> None:
    """As the owner starts it without a shell; the variable is what a shell would need to leave a mark."""
    entry = pwd.getpwnam(cluster.sandbox.user)

    def become() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)

    with log.open("ab") as output:
        os.chmod(log, 0o600)
        if os.geteuid() == 0:
            os.chown(log, entry.pw_uid, entry.pw_gid)
        subprocess.Popen(
            [str(cluster.bin_dir / "postgres"), "-D", str(cluster.data_dir)],
            stdout=output,
            stderr=output,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "MARK": str(mark)},
            preexec_fn=become,
            start_new_session=True,
        )
    while not cluster.pid() or "ready" not in (cluster.data_dir / "postmaster.pid").read_text():
        time.sleep(0.1)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_name(make_sandbox: Callable[..., Sandbox], name: str) -> None:
    """A server in a directory of such a name, with its log in another one, is restarted and restored; nothing of it is run."""
    sandbox = make_sandbox()
    cluster = sandbox.idle_cluster("main")
    cluster.create(archive_mode="off")
    for directory in ("data", "logs"):
        sandbox.run(["mkdir", str(sandbox.pg_dir / directory)], user=sandbox.user)
    cluster.data_dir = cluster.data_dir.rename(sandbox.pg_dir / "data" / name)
    logs, mark = sandbox.pg_dir / "logs" / name, sandbox.pg_dir / "mark"
    sandbox.run(["mkdir", str(logs)], user=sandbox.user)
    started(cluster, logs / "log", mark)
    sandbox.configure(cluster)
    answer = sandbox.module("walg_archive", {**sandbox.instance(), "restart": "allowed"})
    assert (answer.get("failed"), answer.get("restart")) == (None, True), answer
    assert os.readlink(f"/proc/{cluster.pid()}/fd/1") == str(logs / "log")
    assert cluster.sql("SHOW archive_mode") == "on"
    cluster.sql("CREATE TABLE t (id int PRIMARY KEY)")
    history = History(cluster)
    history.step()
    backup(sandbox)
    history.step()
    done(sandbox, "again", stop_running=True)
    assert history.numbers() == [0, 1]
    assert not mark.exists()


@pytest.mark.parametrize("length", [1022, 1023, 1024, 2000])
def test_an_archive_command_that_would_be_cut_off(
    make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """Cut off, it would archive each segment under the name of another one, and say that all is well."""
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main", archive_mode="on")
    filled = len("pg_wal/000000010000000000000001.00000028.backup")
    rest = length - len(f'/wal-push {sandbox.host}/config/main.env ""') - filled
    program_dir = str(sandbox.host / "program")
    while rest - len(program_dir) > 0:
        program_dir += "/" + "x" * min(200, max(1, rest - len(program_dir) - 1))
    directories = {**sandbox.directories(), "walg_program_dir": program_dir}
    monkeypatch.setattr(sandbox, "directories", lambda: directories)
    sandbox.configure(cluster)
    options: dict[str, Any] = sandbox.instance()
    answer = sandbox.module("walg_archive", options)
    if length > 1023 and sandbox.major() <= 15:
        assert answer.get("failed"), answer
        assert f"would have {length} bytes, and PostgreSQL {sandbox.major()} runs the first 1023" in answer["msg"]
        assert "walg_program_dir or walg_config_dir" in answer["msg"]
        assert cluster.sql("SHOW archive_command") == ""
        return
    assert answer.get("changed"), answer
    assert len(cluster.sql("SHOW archive_command")) + filled - len("%p") == length
    backup(sandbox)
    cluster.sql("SELECT pg_switch_wal()")
    cluster.ship()
    assert cluster.sql("SELECT failed_count FROM pg_stat_archiver") == "0"
