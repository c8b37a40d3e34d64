# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who started a server and would start it again: recorded process tables, and this very process."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _proc
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _service, _supervisor
from support.scripted import Call, Scripted

PID = 4711


def pretend(monkeypatch: pytest.MonkeyPatch, files: dict[str, str], systemd: bool = True) -> None:
    """Make files of /proc read so, and systemd the host's init or not."""

    def opened(path: str, **_options: Any) -> io.StringIO:
        if path not in files:
            raise FileNotFoundError(path)
        return io.StringIO(files[path])

    real = os.path.isdir
    monkeypatch.setattr(_supervisor, "open", opened, raising=False)
    monkeypatch.setattr(os.path, "isdir", lambda path: systemd if path == "/run/systemd/system" else real(path))


def processes(monkeypatch: pytest.MonkeyPatch, table: dict[int, tuple[int, int, str]], systemd: bool = False) -> None:
    """Make a process table: parent, session and command line by process id."""
    monkeypatch.setattr(_proc, "family", lambda pid: table.get(pid, (0, 0, ""))[:2])
    monkeypatch.setattr(_proc, "command_line", lambda pid: table.get(pid, (0, 0, ""))[2].split())
    names = {f"/proc/{pid}/comm": os.path.basename(row[2].split()[0]) + "\n" for pid, row in table.items() if row[2]}
    pretend(monkeypatch, names, systemd)


def show(unit: str, pid: int | str, rc: int = 0) -> Call:
    """As systemd 219 answers, which knows no --value."""
    return Call(["systemctl", "show", "-p", "MainPID", unit], rc=rc, stdout=f"MainPID={pid}\n")


DEBIAN = "postgresql@14-main.service"
V2 = f"0::/system.slice/system-postgresql.slice/{DEBIAN}\n"
V1 = f"12:pids:/system.slice/{DEBIAN}\n1:name=systemd:/system.slice/{DEBIAN}\n"
FOUND = [
    ("its main process", V2, [show(DEBIAN, PID)], f"systemd:{DEBIAN}"),
    ("control groups of version 1", V1, [show(DEBIAN, PID)], f"systemd:{DEBIAN}"),
    (
        "another main process: started by hand from that unit",
        "0::/system.slice/ssh.service\n",
        [show("ssh.service", 1)],
        "pg_ctl",
    ),
    ("a pid that only begins alike", V2, [show(DEBIAN, f"{PID}1")], "pg_ctl"),
    ("systemctl fails", V2, [show(DEBIAN, PID, rc=1)], "pg_ctl"),
    ("systemctl says nothing", V2, [show(DEBIAN, "")], "pg_ctl"),
    ("a login session", "0::/user.slice/user-0.slice/session-3.scope\n", [], "pg_ctl"),
    ("a container", "0::/\n", [], "pg_ctl"),
    ("no such process", None, [], "pg_ctl"),
    ("nonsense", "nonsense\n", [], "pg_ctl"),
]


@pytest.mark.parametrize(("cgroup", "calls", "expected"), [row[1:] for row in FOUND], ids=[row[0] for row in FOUND])
def test_units(monkeypatch: pytest.MonkeyPatch, cgroup: str | None, calls: list[Call], expected: str) -> None:
    pretend(monkeypatch, {} if cgroup is None else {f"/proc/{PID}/cgroup": cgroup})
    runner = Scripted(calls=calls)
    assert _service.detect(runner, PID) == expected
    runner.finish()


def test_where_systemd_is_not_init(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may show its host's control groups; there is no systemctl to ask."""
    pretend(monkeypatch, {f"/proc/{PID}/cgroup": V2}, systemd=False)
    assert _service.detect(Scripted(), PID) == "pg_ctl"


SUPERVISED = [
    # (what, the process table, part of the sentence)
    ("by pg_ctl in a container that sleeps", {1: (0, 1, "sleep infinity"), PID: (1, PID, "postgres -D /d")}, ""),
    ("by an older pg_ctl, from docker exec", {1: (0, 1, "sleep infinity"), PID: (1, 77, "postgres -D /d")}, ""),
    ("by hand, its shell lives", {1: (0, 1, "sh"), 77: (1, 77, "bash"), PID: (77, 77, "postgres -D /d")}, ""),
    (
        "by an init's own script",
        {1: (0, 1, "tini -- /start.sh"), 7: (1, 1, "sh /start.sh"), PID: (7, 1, "postgres")},
        "first process (tini) started it",
    ),
    ("an entry script", {1: (0, 1, "sh /start.sh"), PID: (1, 1, "postgres -D /d")}, "first process (sh) started it"),
    (
        "tini",
        {1: (0, 1, "/usr/bin/tini -- postgres -D /d"), PID: (1, 1, "postgres -D /d")},
        "first process (tini) started it",
    ),
    (
        "dumb-init makes a session",
        {1: (0, 1, "dumb-init docker-entrypoint.sh postgres"), PID: (1, PID, "postgres")},
        "first process (dumb-init)",
    ),
    ("supervisord", {9: (1, 9, "supervisord -n"), PID: (9, PID, "postgres")}, "its parent is supervisord (process 9)"),
    ("runit", {9: (1, 9, "runsv /etc/service/pg"), PID: (9, PID, "postgres")}, "its parent is runsv"),
    ("gone", {}, ""),
]


@pytest.mark.parametrize(("table", "text"), [row[1:] for row in SUPERVISED], ids=[row[0] for row in SUPERVISED])
def test_supervisors(monkeypatch: pytest.MonkeyPatch, table: dict[int, tuple[int, int, str]], text: str) -> None:
    processes(monkeypatch, table)
    found = _supervisor.supervisor(PID)
    assert text in found
    assert bool(found) is bool(text)
    assert _service.detect(Scripted(), PID) == ("none" if text else "pg_ctl")


def test_a_containers_main_process() -> None:
    assert "stopping it ends the container" in _supervisor.supervisor(1)


def test_a_child_of_systemd_is_no_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    processes(monkeypatch, {1: (0, 1, "systemd"), PID: (1, 1, "postgres -D /d")}, systemd=True)
    assert _supervisor.supervisor(PID) == ""


def test_for_real() -> None:
    """This very process is no unit's main process that anybody here could name, and nobody starts it again."""
    assert _service.detect(Runner(), os.getpid()) == "pg_ctl"
