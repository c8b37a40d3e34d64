# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who starts and stops a cluster's server; psql is asked until it answers."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils import _service
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import Cluster
from ansible_collections.mapswipe.walg.plugins.module_utils._process import Runner, User
from ansible_collections.mapswipe.walg.plugins.module_utils._service import Service
from support.scripted import Call, Scripted

ME = User.current().name
PID = 4711


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    (tmp_path / "psql").write_text("#!/bin/sh\n")
    (tmp_path / "psql").chmod(0o755)
    return Cluster(str(tmp_path / "data"), str(tmp_path), "/run/pg", os_user=ME)


def psql(cluster: Cluster) -> Call:
    return Call([f"{cluster.bin_dir}/psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-f", "-"], stdout="1\n")


def pg_ctl(cluster: Cluster, *arguments: str, **answer: Any) -> Call:
    return Call([f"{cluster.bin_dir}/pg_ctl", "-D", cluster.data_dir, *arguments], user=ME, **answer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("systemd:postgresql@14-main.service", ("systemd", "postgresql@14-main.service")),
        ("pg_ctl", ("pg_ctl", "")),
        ("command:/opt/pg start:stop", ("command", "/opt/pg start:stop")),
        ("none", ("none", "")),
    ],
)
def test_parse(text: str, expected: tuple[str, str]) -> None:
    assert _service.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "systemd", "systemd:", "command", "command:pg", "pg_ctl:x", "none:x", "initd", "Systemd:x"]
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(WalgError, match=r"[Ss]ervice"):
        _service.parse(text)


# --- start and stop ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "start", "stop"),
    [
        ("systemd:pg.service", ["systemctl", "start", "pg.service"], ["systemctl", "stop", "pg.service"]),
        ("command:/opt/pg", ["/opt/pg", "start"], ["/opt/pg", "stop"]),
    ],
)
def test_a_manager_is_called(cluster: Cluster, service: str, start: list[str], stop: list[str]) -> None:
    cluster = replace(cluster, service=service)
    runner = Scripted(calls=[Call(start), psql(cluster), Call(stop)])
    Service(runner, cluster, "/log", 9.0).start()
    Service(runner, cluster, "/log", 9.0).stop()
    runner.finish()
    assert runner.timeouts[0] == runner.timeouts[2] == 9.0


@pytest.mark.parametrize("service", ["pg_ctl", ""])
def test_pg_ctl(cluster: Cluster, service: str) -> None:
    """pg_ctl's own wait has a limit of its own, so the start does not use it; its stop is fast and never harder."""
    cluster = replace(cluster, service=service, start_options="-c 'config_file=/etc/a b.conf'")
    runner = Scripted(
        calls=[
            pg_ctl(cluster, "-W", "-l", "/log", "-o", "-c 'config_file=/etc/a b.conf'", "start"),
            psql(cluster),
            pg_ctl(cluster, "-m", "fast", "-w", "-t", "9", "stop"),
        ]
    )
    Service(runner, cluster, "/log", 9.0).start()
    Service(runner, cluster, "/log", 9.0).stop()
    runner.finish()
    assert runner.timeouts[2] > 9.0


def test_no_start_options_no_o(cluster: Cluster) -> None:
    runner = Scripted(calls=[pg_ctl(cluster, "-W", "-l", "/log", "start"), psql(cluster)])
    Service(runner, cluster, "/log").start()
    runner.finish()


def test_nobody_may_be_called(cluster: Cluster) -> None:
    service = Service(Scripted(), replace(cluster, service="none"), "/log")
    with pytest.raises(WalgError, match="Nobody is named who starts"):
        service.start()
    with pytest.raises(WalgError, match="Nobody is named who stops"):
        service.stop()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            {"rc": 5, "stderr": "Unit pg.service not found."},
            r"`systemctl stop pg\.service` ended with 5: Unit pg\.service not found",
        ),
        ({"rc": -15, "timed_out": True}, "ran out of time"),
        ({"rc": 0, "timed_out": True}, "ran out of time"),
    ],
)
def test_a_failing_manager(cluster: Cluster, answer: dict[str, Any], text: str) -> None:
    runner = Scripted(calls=[Call(["systemctl", "stop", "pg.service"], **answer)])
    with pytest.raises(WalgError, match=text) as caught:
        Service(runner, replace(cluster, service="systemd:pg.service"), "/log").stop()
    assert caught.value.fields["rc"] == answer["rc"]
    assert cluster.data_dir in caught.value.msg


def test_a_start_that_fails_is_not_waited_for(cluster: Cluster) -> None:
    runner = Scripted(calls=[pg_ctl(cluster, "-W", "-l", "/log", "start", rc=1, stderr="could not start")])
    with pytest.raises(WalgError, match="Cannot start the server"):
        Service(runner, cluster, "/log").start()
    runner.finish()


def test_a_server_that_never_answers(cluster: Cluster) -> None:
    refused = replace_call(psql(cluster), rc=2)
    runner = Scripted(calls=[pg_ctl(cluster, "-W", "-l", "/log", "start"), *[refused] * 50])
    with pytest.raises(WalgError, match=r"takes no connections at /run/pg:5432 .*/log"):
        Service(runner, cluster, "/log", timeout=0.2).start()


def replace_call(call: Call, **changes: Any) -> Call:
    return replace(call, **changes)


def test_restart_keeps_the_options_of_the_last_start(cluster: Cluster) -> None:
    """They stand in postmaster.opts only while it runs: pg_ctl's stop leaves them, a restore or a purge may not."""
    data = Path(cluster.data_dir)
    (data / "global").mkdir(parents=True)
    (data / "global" / "pg_control").write_bytes(b"\1" * 8192)
    (data / "postmaster.opts").write_text('/usr/bin/postgres "-D" "/data" "-c" "config_file=/etc/a b.conf"\n')
    options = "-c 'config_file=/etc/a b.conf'"
    runner = Scripted(
        calls=[
            pg_ctl(cluster, "-m", "fast", "-w", "-t", "9", "stop"),
            pg_ctl(cluster, "-W", "-l", "/log", "-o", options, "start"),
            psql(cluster),
        ]
    )
    Service(runner, cluster, "/log", 9.0).restart()
    runner.finish()


# --- detection --------------------------------------------------------------------------------------------------------


def pretend(monkeypatch: pytest.MonkeyPatch, cgroup: str | None, systemd: bool = True) -> None:
    """Make /proc/PID/cgroup read so, and systemd the host's init or not."""

    def opened(path: str, **_options: Any) -> io.StringIO:
        assert path == f"/proc/{PID}/cgroup"
        if cgroup is None:
            raise FileNotFoundError(path)
        return io.StringIO(cgroup)

    real = os.path.isdir
    monkeypatch.setattr(_service, "open", opened, raising=False)
    monkeypatch.setattr(os.path, "isdir", lambda path: systemd if path == "/run/systemd/system" else real(path))


def show(unit: str, pid: int | str, rc: int = 0) -> Call:
    return Call(["systemctl", "show", "-p", "MainPID", "--value", unit], rc=rc, stdout=f"{pid}\n")


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
    ("a login session", "0::/user.slice/user-0.slice/session-3.scope\n", [], "pg_ctl"),
    ("a container", "0::/\n", [], "pg_ctl"),
    ("no such process", None, [], "pg_ctl"),
    ("nonsense", "nonsense\n", [], "pg_ctl"),
]


@pytest.mark.parametrize(("cgroup", "calls", "expected"), [row[1:] for row in FOUND], ids=[row[0] for row in FOUND])
def test_detect(monkeypatch: pytest.MonkeyPatch, cgroup: str | None, calls: list[Call], expected: str) -> None:
    pretend(monkeypatch, cgroup)
    runner = Scripted(calls=calls)
    assert _service.detect(runner, PID) == expected
    runner.finish()


def test_detect_where_systemd_is_not_init(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may show its host's control groups; there is no systemctl to ask."""
    pretend(monkeypatch, V2, systemd=False)
    assert _service.detect(Scripted(), PID) == "pg_ctl"


def test_detect_for_real() -> None:
    """This very process is no unit's main process that anybody here could name."""
    assert _service.detect(Runner(), os.getpid()) == "pg_ctl"
