# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who starts and stops a cluster's server; psql is asked until it answers."""

from __future__ import annotations

import itertools
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _data_dir, _servers, _service, _supervisor
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._data_dir import DataDir
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._service import Service
from support.scripted import Call, Scripted

pytestmark = pytest.mark.usefixtures("ours")
ME = User.current().name
PID = 4711


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers is the server that was started."""
    monkeypatch.setattr(Service, "_other", lambda _self: "")


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    (tmp_path / "psql").write_text("#!/bin/sh\n")
    (tmp_path / "psql").chmod(0o755)
    return Cluster(str(tmp_path / "data"), str(tmp_path), "/run/pg", os_user=ME)


def psql(cluster: Cluster) -> Call:
    return Call([f"{cluster.bin_dir}/psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-f", "-"], stdout="1\n")


def pg_ctl(cluster: Cluster, *arguments: str, **answer: Any) -> Call:
    return Call([f"{cluster.bin_dir}/pg_ctl", "-D", cluster.data_dir, *arguments], user=ME, **answer)


def by_hand(cluster: Cluster, *options: str, **answer: Any) -> Call:
    """No shell: what a name says is not run."""
    return Call([f"{cluster.bin_dir}/postgres", "-D", cluster.data_dir, *options, ">>", "/log"], user=ME, **answer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("systemd:postgresql@14-main.service", ("systemd", "postgresql@14-main.service")),
        ("pg_ctl", ("pg_ctl", "")),
        ("pg_ctlcluster:13/main", ("pg_ctlcluster", "13/main")),
        ("command:/opt/pg start:stop", ("command", "/opt/pg start:stop")),
        ("none", ("none", "")),
    ],
)
def test_parse(text: str, expected: tuple[str, str]) -> None:
    assert _service.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "systemd",
        "systemd:",
        "systemd:../x.service",
        "systemd:--root=x",
        "command",
        "command:pg",
        "pg_ctl:x",
        "pg_ctlcluster",
        "pg_ctlcluster:main",
        "pg_ctlcluster:13/a b",
        "pg_ctlcluster:13/-x",
        "pg_ctlcluster:13/$(x)",
        "none:x",
        "initd",
        "Systemd:x",
    ],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(WalgError, match=r"[Ss]ervice"):
        _service.parse(text)


# --- start and stop ---------------------------------------------------------------------------------------------------


UNIT = "pg.service"
RESET = Call(["systemctl", "reset-failed", UNIT], rc=1)
ACTIVE = Call(["systemctl", "is-active", UNIT], stdout="active\n")


@pytest.mark.parametrize(
    ("service", "start", "stop"),
    [
        ("command:/opt/pg", ["/opt/pg", "start"], ["/opt/pg", "stop"]),
        (
            "pg_ctlcluster:13/main",
            ["pg_ctlcluster", "13", "main", "start"],
            ["pg_ctlcluster", "13", "main", "stop", "-m", "fast"],
        ),
    ],
)
def test_a_manager_is_called(cluster: Cluster, service: str, start: list[str], stop: list[str]) -> None:
    cluster = replace(cluster, service=service)
    runner = Scripted(calls=[Call(start), psql(cluster), Call(stop)])
    Service(runner, cluster, "/log", 9.0).start()
    Service(runner, cluster, "/log", 9.0).stop()
    runner.finish()
    assert runner.timeouts[0] == runner.timeouts[2] == 9.0


@pytest.mark.parametrize(("rc", "fails"), [(0, False), (1, True), (2, False)])
def test_debians_tool_says_by_its_exit_code_that_nothing_ran(cluster: Cluster, rc: int, fails: bool) -> None:
    call = Call(["pg_ctlcluster", "13", "main", "stop", "-m", "fast"], rc=rc, stdout="Cluster is not running.")
    service = Service(Scripted(calls=[call]), replace(cluster, service="pg_ctlcluster:13/main"), "/log")
    if fails:
        with pytest.raises(WalgError, match=r"Cannot stop .* ended with 1"):
            service.stop()
    else:
        service.stop()


def test_systemd(cluster: Cluster) -> None:
    """A unit that gave up is told to forget that; in the end it has the server."""
    cluster = replace(cluster, service=f"systemd:{UNIT}")
    activating = replace(ACTIVE, rc=3, stdout="activating\n")
    start, stop = Call(["systemctl", "start", UNIT]), Call(["systemctl", "stop", UNIT])
    runner = Scripted(calls=[RESET, start, psql(cluster), activating, ACTIVE, stop])
    Service(runner, cluster, "/log", 9.0).start()
    Service(runner, cluster, "/log", 9.0).stop()
    runner.finish()


def test_a_server_that_its_unit_does_not_have(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_service, "_GONE", 0.0)
    cluster = replace(cluster, service=f"systemd:{UNIT}")
    failed = replace(ACTIVE, rc=3, stdout="failed\n")
    runner = Scripted(calls=[RESET, Call(["systemctl", "start", UNIT]), psql(cluster), failed])
    with pytest.raises(WalgError, match=r"the unit pg\.service is not active: somebody else started it"):
        Service(runner, cluster, "/log", 9.0).start()


@pytest.mark.parametrize("service", ["pg_ctl", ""])
def test_pg_ctl(cluster: Cluster, service: str) -> None:
    """Started by itself, without pg_ctl and its shell; pg_ctl's stop is fast and never harder."""
    cluster = replace(cluster, service=service, start_options="-c 'config_file=/etc/a b.conf'")
    runner = Scripted(
        calls=[
            by_hand(cluster, "-c", "config_file=/etc/a b.conf"),
            psql(cluster),
            pg_ctl(cluster, "-m", "fast", "-w", "-t", "9", "stop"),
        ]
    )
    Service(runner, cluster, "/log", 9.0).start()
    Service(runner, cluster, "/log", 9.0).stop()
    runner.finish()
    assert runner.timeouts[2] > 9.0


def test_no_start_options(cluster: Cluster) -> None:
    runner = Scripted(calls=[by_hand(cluster), psql(cluster)])
    Service(runner, cluster, "/log").start()
    runner.finish()


def test_nobody_may_be_called(cluster: Cluster) -> None:
    service = Service(Scripted(), replace(cluster, service="none"), "/log")
    assert not service.managed
    with pytest.raises(WalgError, match="Don't know how to start"):
        service.start()
    with pytest.raises(WalgError, match="Don't know how to stop"):
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


@pytest.mark.parametrize("left", [[], [PID]])
def test_a_server_that_ends_before_pg_ctl_comes(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, left: list[int]
) -> None:
    """The stop of a killed run may come to its end meanwhile: pg_ctl fails, and the server is stopped."""
    monkeypatch.setattr(_servers, "servers_on", lambda _path: left)
    stop = pg_ctl(cluster, "-m", "fast", "-w", "-t", "300", "stop", rc=1, stderr="Is server running?")
    service = Service(Scripted(calls=[stop]), cluster, "/log")
    if left:
        with pytest.raises(WalgError, match=r"Cannot stop .* ended with 1: Is server running"):
            service.stop()
    else:
        service.stop()


def test_a_start_that_fails_is_not_waited_for(cluster: Cluster) -> None:
    runner = Scripted(calls=[by_hand(cluster, rc=1, stderr="no such program")])
    with pytest.raises(WalgError, match="no such program"):
        Service(runner, cluster, "/log").start()
    runner.finish()


def test_a_server_that_never_answers(cluster: Cluster) -> None:
    refused = replace_call(psql(cluster), rc=2)
    runner = Scripted(calls=[by_hand(cluster), *[refused] * 50])
    with pytest.raises(WalgError, match=r"was started and did not come up\. Read its log: /log"):
        Service(runner, cluster, "/log", timeout=0.2).start()


def test_the_log_of_a_start_that_failed_is_quoted(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("".join(f"line {number}\n" for number in range(30)) + "FATAL:  no such thing\n")
    argv = [f"{cluster.bin_dir}/postgres", "-D", cluster.data_dir, ">>", str(log)]
    runner = Scripted(calls=[Call(argv, rc=1, stderr="could not start")])
    with pytest.raises(WalgError) as caught:
        Service(runner, cluster, str(log)).start()
    assert f"\nThe last lines of its log {log}:\nline 21\n" in caught.value.msg
    assert caught.value.msg.endswith("line 29\nFATAL:  no such thing")


def replace_call(call: Call, **changes: Any) -> Call:
    return replace(call, **changes)


def test_restart_keeps_the_options_of_the_last_start(cluster: Cluster) -> None:
    """They stand in postmaster.opts only while it runs: pg_ctl's stop leaves them, a restore or a purge may not."""
    data = Path(cluster.data_dir)
    (data / "global").mkdir(parents=True)
    (data / "global" / "pg_control").write_bytes(b"\1" * 8192)
    (data / "postmaster.opts").write_text('/usr/bin/postgres "-D" "/data" "-c" "config_file=/etc/a b.conf"\n')
    runner = Scripted(
        calls=[
            pg_ctl(cluster, "-m", "fast", "-w", "-t", "9", "stop"),
            by_hand(cluster, "-c", "config_file=/etc/a b.conf"),
            psql(cluster),
        ]
    )
    Service(runner, cluster, "/log", 9.0).restart()
    runner.finish()


# --- time ---------------------------------------------------------------------------------------------------------------


@dataclass
class Clock:
    """Stands still but for sleeps."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(_service, "time", made)
    return made


def states(monkeypatch: pytest.MonkeyPatch, clock: Clock, *lasting: tuple[str, float]) -> None:
    """Let the data directory show these states of the postmaster, each for so many seconds; the last one for ever."""
    began = clock.now

    def look(path: str, _user: object) -> DataDir:
        ends = itertools.accumulate(seconds for _status, seconds in lasting)
        current = (status for (status, _seconds), end in zip(lasting, ends, strict=True) if clock.now - began < end)
        status = next(current, lasting[-1][0])
        return DataDir(path, "cluster", pid=PID if status else 0, status=status)

    monkeypatch.setattr(_data_dir, "inspect", look)


class Answers(Scripted):
    """psql refuses until the clock says so; every other call is answered as ``first``."""

    def __init__(self, clock: Clock, ready_at: float, first: Result) -> None:
        super().__init__()
        self.clock, self.ready_at, self.first = clock, clock.now + ready_at, first

    def run(self, argv: Any, **_options: Any) -> Result:
        if "psql" in argv[0]:
            return Result(list(argv), 0 if self.clock.now >= self.ready_at else 2)
        return replace(self.first, argv=list(argv))

    def launch(self, *_argv: Any, **_options: Any) -> int:
        """Without a manager nobody waits."""
        return PID


TIMED_OUT = Result([], 1, stderr="pg_ctl: server did not start in time")


@pytest.mark.parametrize("first", [TIMED_OUT, Result([], -15, timed_out=True), Result([], 0)])
@pytest.mark.parametrize("service", ["pg_ctl", "pg_ctlcluster:13/main", "command:/opt/pg"])
def test_a_recovery_may_take_longer_than_its_manager_waits(
    cluster: Cluster, clock: Clock, monkeypatch: pytest.MonkeyPatch, first: Result, service: str
) -> None:
    states(monkeypatch, clock, ("starting", 5000), ("ready", 1))
    monkeypatch.setattr(_servers, "servers_on", lambda _path: [PID])
    cluster = replace(cluster, service=service)
    Service(Answers(clock, 5001, first), cluster, "/log", timeout=30.0).start()
    assert clock.now >= 6000


@pytest.mark.parametrize(
    ("lasting", "text"),
    [
        ([("starting", 1e9)], r"is starting, but takes no connections at /run/pg:5432 after 9\d\d s"),
        ([("starting", 100), ("", 1)], r"was started and ended again"),
        ([("starting", 100), ("standby", 1)], r"is standby, but takes no connections at /run/pg:5432 after 1[23]\d s"),
        ([("", 1)], r"was started and did not come up\. Read its log: /log"),
    ],
)
def test_what_is_not_waited_for(
    cluster: Cluster, clock: Clock, monkeypatch: pytest.MonkeyPatch, lasting: list[tuple[str, float]], text: str
) -> None:
    states(monkeypatch, clock, *lasting)
    runner = Answers(clock, 1e12, Result([], 0))
    with pytest.raises(WalgError, match=text):
        Service(runner, cluster, "/log", timeout=30.0, recovery_timeout=900.0).start()


@pytest.mark.parametrize(
    ("port", "socket_dir", "at_once"), [("5433", "/run/pg", True), ("5433", "", True), ("5432", "/tmp", False)]
)
def test_a_server_that_listens_elsewhere_is_named(
    cluster: Cluster, clock: Clock, monkeypatch: pytest.MonkeyPatch, port: str, socket_dir: str, at_once: bool
) -> None:
    """The configuration of a restored cluster came with it. A server has one port; the first of its directories may be another one."""
    found = DataDir(cluster.data_dir, "cluster", pid=PID, port=port, socket_dir=socket_dir, status="ready")
    monkeypatch.setattr(_data_dir, "inspect", lambda _path, _user: found)
    began, runner = clock.now, Answers(clock, 1e12, Result([], 0))
    with pytest.raises(
        WalgError, match=rf"listens on port {port} in .* configured for 5432 in /run/pg\. Correct walg_pg_port"
    ):
        Service(runner, cluster, "/log", timeout=30.0).start()
    assert (clock.now - began < 1) == at_once


@pytest.mark.parametrize(("service", "waited"), [("command:/opt/pg", True), ("pg_ctl", False)])
def test_a_program_of_somebodys_own_may_return_before_the_server_is_there(
    cluster: Cluster, clock: Clock, monkeypatch: pytest.MonkeyPatch, service: str, waited: bool
) -> None:
    states(monkeypatch, clock, ("", 20), ("ready", 1))
    started = Service(Answers(clock, 21, Result([], 0)), replace(cluster, service=service), "/log", timeout=30.0)
    if waited:
        started.start()
        return
    with pytest.raises(WalgError, match="did not come up"):
        started.start()


# --- what can't be stopped ----------------------------------------------------------------------------------------------


def test_a_stop_that_stops_another_server(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_servers, "servers_on", lambda _path: [PID])
    monkeypatch.setattr(_service, "_GONE", 0.0)
    runner = Scripted(calls=[Call(["systemctl", "stop", UNIT])])
    with pytest.raises(
        WalgError, match=rf"`systemctl stop {UNIT}` ended well, but a server \(process {PID}\) still runs"
    ):
        Service(runner, replace(cluster, service=f"systemd:{UNIT}"), "/log").stop()


UNSTOPPABLE = [
    # (what, service, the supervisor, the unit's main process, text)
    ("pg_ctl", "pg_ctl", "", None, None),
    ("pg_ctlcluster", "pg_ctlcluster:13/main", "", None, None),
    ("its unit", f"systemd:{UNIT}", "", PID, None),
    ("a command says who", "command:/opt/pg", "it is the main process of a container", None, None),
    ("nobody", "none", "", None, r"walg_pg_service is none\. Stop it yourself, or .* walg_pg_service: command:/path"),
    ("a container", "none", "it is the main process of a container", None, "main process of a container"),
    ("a container, wrongly named", "pg_ctl", "it is the main process of a container", None, "main process of a cont"),
    ("another server than the unit's", f"systemd:{UNIT}", "", 1, r"\(main process 1\), so stopping the unit would not"),
    ("a unit that does not run", f"systemd:{UNIT}", "", 0, r"\(main process none\)"),
]


@pytest.mark.parametrize(
    ("service", "supervisor", "main", "text"), [row[1:] for row in UNSTOPPABLE], ids=[row[0] for row in UNSTOPPABLE]
)
def test_what_can_not_be_stopped_for_good(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, service: str, supervisor: str, main: int | None, text: str | None
) -> None:
    monkeypatch.setattr(_supervisor, "supervisor", lambda _pid: supervisor)
    calls = [] if main is None else [Call(["systemctl", "show", "-p", "MainPID", UNIT], stdout=f"MainPID={main}\n")]
    runner = Scripted(calls=calls)
    checked = Service(runner, replace(cluster, service=service), "/log")
    checked.refuse_unstoppable([])
    if text is None:
        checked.refuse_unstoppable([PID])
    else:
        with pytest.raises(WalgError, match=text) as caught:
            checked.refuse_unstoppable([PID])
        assert caught.value.fields == {"pids": [PID]}
    runner.finish()


# --- holding the manager off --------------------------------------------------------------------------------------------

RELOAD = Call(["systemctl", "daemon-reload"])


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Systemd's runtime directory."""
    monkeypatch.setattr(_service, "_UNITS", str(tmp_path / "units"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path / "units"


def test_a_unit_is_held_until_it_is_released(cluster: Cluster, units: Path) -> None:
    runner = Scripted(calls=[RELOAD, RELOAD])
    service = Service(runner, replace(cluster, service=f"systemd:{UNIT}"), "/log")
    path = units / f"{UNIT}.d" / "90-mapswipe-walg-restore.conf"
    service.hold()
    lines = path.read_text().splitlines()
    assert f"AssertPathExists=!{path}" in lines  # it stands, so the unit does not start
    assert lines[-2:] == ["[Service]", "Restart=no"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    service.release()
    assert list(units.iterdir()) == []
    runner.finish()


def test_the_next_start_ends_what_a_killed_run_held(cluster: Cluster, units: Path) -> None:
    cluster = replace(cluster, service=f"systemd:{UNIT}")
    Service(Scripted(calls=[RELOAD]), cluster, "/log").hold()
    (units / f"{UNIT}.d" / "10-limits.conf").write_text("")
    runner = Scripted(calls=[RELOAD, RESET, Call(["systemctl", "start", UNIT]), psql(cluster), ACTIVE])
    Service(runner, cluster, "/log").start()
    assert os.listdir(units / f"{UNIT}.d") == ["10-limits.conf"]
    runner.finish()


def test_a_hold_that_systemd_does_not_take(cluster: Cluster, units: Path) -> None:
    runner = Scripted(calls=[replace(RELOAD, rc=1, stderr="Access denied"), RELOAD])
    with pytest.raises(WalgError, match=r"Cannot hold off the unit of the server .* Access denied"):
        Service(runner, replace(cluster, service=f"systemd:{UNIT}"), "/log").hold()
    assert list(units.iterdir()) == []


@pytest.mark.parametrize("service", ["pg_ctl", "pg_ctlcluster:13/main", "command:/opt/pg", "none", ""])
def test_others_have_nothing_to_hold(cluster: Cluster, units: Path, service: str) -> None:
    made = Service(Scripted(), replace(cluster, service=service), "/log")
    made.hold()
    assert not units.exists()
    made.release()


@pytest.mark.parametrize(("policy", "refused"), [("no", False), ("on-failure", True), ("always", True)])
def test_only_root_can_hold_a_unit(
    cluster: Cluster, units: Path, monkeypatch: pytest.MonkeyPatch, policy: str, refused: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    shown = Call(["systemctl", "show", "-p", "Restart", UNIT], stdout=f"Restart={policy}\n")
    service = Service(Scripted(calls=[shown]), replace(cluster, service=f"systemd:{UNIT}"), "/log")
    if refused:
        with pytest.raises(WalgError, match=rf"Restart={policy}: .* Run the play as root"):
            service.hold()
    else:
        service.hold()
    assert not units.exists()
