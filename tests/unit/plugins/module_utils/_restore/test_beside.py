# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server that recovers beside the real one, without a server: its files, its call, and what is made of its end."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _files
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _recovery
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _recovery_server
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._recovery_server import RecoveryServer
from support.scripted import Call, Scripted
from support.walg_world import World, write_cluster


class Process:
    """A server by its exit codes: None while it runs."""

    def __init__(self, *codes: int | None) -> None:
        self.codes = list(codes)
        self.stopped: list[int] = []

    def poll(self) -> int | None:
        return self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]

    def stop(self, signum: int, _wait: float) -> int:
        self.stopped.append(signum)
        return self.codes[-1] or 0


class Starting(Scripted):
    """Remembers what it was asked to start."""

    started: dict[str, Any]

    def start(self, argv: Any, **options: Any) -> Any:
        self.started = {"argv": list(argv), **options}
        return Process(None)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    (tmp_path / "private").mkdir()
    return made


def beside(world: World, *calls: Call, process: Any = None, major: int = 14) -> RecoveryServer:
    write_cluster(world.data_dir)
    made = RecoveryServer(
        Starting(calls=list(calls)), world.instance, str(world.data_dir), major, str(world.root / "private")
    )
    made.process = process  # as Background, for what is asked of it here
    return made


@pytest.mark.parametrize(
    ("major", "file"), [(10, "recovery.conf"), (11, "recovery.conf"), (12, "recovery.signal"), (18, "recovery.signal")]
)
def test_prepare_clears_leftovers_and_keeps_what_recovery_needs(world: World, major: int, file: str) -> None:
    made = beside(world, major=major)
    for name in (*_recovery.LEFTOVERS, "backup_label", "tablespace_map", "postgresql.auto.conf"):
        (world.data_dir / name).write_text("of the backup's time")
    auto_conf = world.data_dir / "postgresql.auto.conf"
    auto_conf.write_text("recovery_target_time = 'then'\nwork_mem = '4MB'\n")
    made.prepare(_recovery.recover_to(major, "cmd", 1, LATEST, "promote"), {"jit": "off"})
    found = {name for name in os.listdir(world.data_dir) if name not in ("global", "PG_VERSION")}
    assert found == {file, "backup_label", "tablespace_map", "postgresql.auto.conf"}
    assert (world.data_dir / file).read_text() != "of the backup's time"
    assert auto_conf.read_text() == "work_mem = '4MB'\njit = 'off'\n"
    assert (world.data_dir / "backup_label").read_text() == "of the backup's time"
    assert (world.root / "private" / "pg_hba.conf").read_text() == "local all all trust\n"
    assert Path(made.log).read_text() == ""


def test_start_gives_what_makes_it_harmless_as_arguments(world: World) -> None:
    made = beside(world)
    recovery = _recovery.recover_to(14, "/opt/wal-fetch 'a b' \"%f\"", 3, LATEST, "promote")
    made.start(recovery, None)
    assert isinstance(made.runner, Starting)
    argv = made.runner.started["argv"]
    assert argv[:3] == [os.path.join(world.instance.cluster.bin_dir, "postgres"), "-D", str(world.data_dir)]
    assert argv[3::2] == ["-c"] * (len(argv[3:]) // 2)
    settings = dict(word.split("=", 1) for word in argv[4::2])
    assert settings["restore_command"] == "/opt/wal-fetch 'a b' \"%f\""
    assert settings["recovery_target_timeline"] == "3"
    assert not [name for name in settings if name.startswith("recovery_target_") and name != "recovery_target_timeline"]
    assert settings["listen_addresses"] == ""
    assert settings["archive_command"] == "exit 255"
    assert settings["unix_socket_directories"] == str(world.root / "private")
    assert made.runner.started["output"] == made.log


LATEST = Target()
TARGET = Target("lsn", "0/5000000")
STOPPED = 'LOG:  recovery stopping after WAL location (LSN) "0/5000000"'


def state(world: World, recovery: bool = True, *, paused: bool = False, lsn: str | None = "0/5000148") -> Call:
    answer = {"recovery": recovery, "lsn": lsn, "time": None, "paused": paused}
    return world.psql(answer, stdin="pg_is_in_recovery()")


def waiting(world: World, *calls: Call, code: int | None = None, log: tuple[str, ...] = ()) -> RecoveryServer:
    made = beside(world, *calls, process=Process(code))
    Path(made.log).write_text("".join(f"{line}\n" for line in log))
    return made


def test_wait_until_it_writes(world: World) -> None:
    silent = world.psql("", rc=2, stdin="pg_is_in_recovery()")  # no connection before it can be read
    made = waiting(world, silent, state(world), state(world, recovery=False))
    assert made.wait("promote", LATEST, 5) == "promoted"
    assert isinstance(made.runner, Scripted)
    made.runner.finish()


def test_a_pause_counts_with_the_logs_proof_only(world: World) -> None:
    """A server also pauses where its limits are too low."""
    made = waiting(world, state(world, paused=True), log=(STOPPED,))
    assert made.wait("pause", TARGET, 5) == "paused"
    made = again(made, state(world, paused=True), state(world, recovery=False))
    assert made.wait("pause", TARGET, 5) == "promoted"


def again(made: RecoveryServer, *calls: Call) -> RecoveryServer:
    """The same with an empty log and other answers."""
    Path(made.log).write_text("")
    made.runner = Starting(calls=list(calls))
    return made


def test_a_pause_for_low_limits(world: World) -> None:
    line = "WARNING:  hot standby is not possible because of insufficient parameter settings"
    made = waiting(world, state(world, paused=True), log=(line,))
    with pytest.raises(_recovery_server.UnreadableError, match="paused"):
        made.wait("promote", TARGET, 5)


def test_a_readable_server_that_ends_for_low_limits(world: World) -> None:
    made = waiting(world, code=1, log=("FATAL:  recovery aborted because of insufficient parameter settings",))
    made.readable = True
    with pytest.raises(_recovery_server.UnreadableError, match="insufficient parameter settings"):
        made.wait("promote", TARGET, 5)
    made.readable = False
    with pytest.raises(WalgError, match="ended with 1") as caught:
        made.wait("promote", TARGET, 5)
    assert not isinstance(caught.value, _recovery_server.UnreadableError)


@pytest.mark.parametrize(("code", "log", "good"), [(0, (STOPPED,), True), (0, (), False), (1, (STOPPED,), False)])
def test_a_shutdown_at_the_target(world: World, code: int, log: tuple[str, ...], good: bool) -> None:
    made = waiting(world, code=code, log=log)
    if good:
        assert made.wait("shutdown", TARGET, 5) == "shut down"
        return
    with pytest.raises(WalgError, match=f"PostgreSQL ended with {code}"):
        made.wait("shutdown", TARGET, 5)


def test_a_target_that_never_came(world: World) -> None:
    """The log says where replay ended; both lines come before the last word."""
    log = (
        "LOG:  redo done at 0/4FFFF00 system usage: CPU: user: 0.00 s",
        "LOG:  last completed transaction was at log time 2026-01-31 04:05:06.789+00",
        "FATAL:  recovery ended before configured recovery target was reached",
    )
    made = waiting(world, code=1, log=log)
    with pytest.raises(WalgError, match="The target lsn 0/5000000 was not reached") as caught:
        made.wait("promote", TARGET, 5)
    assert "LSN 0/4FFFF00, the last commit replayed is of 2026-01-31 04:05:06.789+00." in caught.value.msg
    assert caught.value.fields["last_commit"] == "2026-01-31 04:05:06.789+00"


def test_following_begins_behind_the_archives_end(world: World) -> None:
    made = waiting(world, state(world, lsn=None), state(world, lsn="0/5000000"), state(world, lsn="0/5000001"))
    made.follow_until = 0x5000000
    assert made.wait("follow", LATEST, 5) == "following"
    assert isinstance(made.runner, Scripted)
    made.runner.finish()


def test_a_recovery_that_stops_says_why(world: World) -> None:
    """The wrapper's own line and PostgreSQL's FATAL, of a log that says much besides: also to whoever asks meanwhile."""
    lines = (
        "LOG:  starting",
        "mapswipe.walg wal-fetch[main]: the storage is gone",
        "LOG:  x",
        "FATAL:  the database system is starting up",
        "FATAL:  could not restore file",
        "FATAL:  the database system is shutting down",
        "FATAL:  the database system is shutting down",
        "FATAL:  archive command failed with exit code 255",
    )
    made = waiting(world, code=1, log=lines)
    with pytest.raises(
        WalgError, match=r"PostgreSQL ended with 1\. mapswipe.*the storage is gone \| FATAL:  could not restore file$"
    ) as caught:
        made.wait("promote", LATEST, 5)
    assert caught.value.fields == {"log": list(lines)}


def test_a_recovery_that_takes_too_long(world: World) -> None:
    made = waiting(world, *[state(world)] * 20, log=("LOG:  redo in progress",))
    with pytest.raises(WalgError, match="did not end within 0 s"):
        made.wait("promote", LATEST, 0.2)


def test_ticks_go_on_during_recovery(world: World) -> None:
    ticks: list[int] = []
    made = waiting(world, state(world), state(world, recovery=False))
    made.runner.tick = lambda: ticks.append(1)
    made.wait("promote", LATEST, 5)
    assert ticks == [1]


def test_prove_writes_before_it_believes(world: World) -> None:
    calls = [
        world.psql("743\n", stdin="txid_current()"),
        world.facts(timeline=2),
        world.psql({"lsn": "0/5000148", "time": "2026-01-01 00:00:00+00"}, stdin="pg_last_wal_replay_lsn"),
        world.psql("153.120\n", stdin="pg_collation_actual_version"),
    ]
    assert beside(world, *calls).prove() == {
        "system_identifier": world.system_identifier,
        "timeline": 2,
        "replayed_lsn": "0/5000148",
        "last_commit": "2026-01-01 00:00:00+00",
        "icu": "153.120",
    }


def test_a_server_that_cannot_write_proves_nothing(world: World) -> None:
    refused = world.psql("", rc=3, stderr="ERROR:  cannot execute txid_current() during recovery")
    with pytest.raises(WalgError, match="during recovery"):
        beside(world, refused).prove()


def test_stop(world: World) -> None:
    process = Process(0)
    beside(world, process=process).stop()
    assert process.stopped == [2]


@pytest.mark.parametrize(("code", "control"), [(1, 1), (0, 6), (0, 5)])
def test_a_stop_that_is_not_clean_is_an_error(world: World, code: int, control: int) -> None:
    """By its exit code or by what the control file says: the real start would need recovery again."""
    made = beside(world, process=Process(code))
    shutil.rmtree(world.data_dir)
    write_cluster(world.data_dir, state=control)
    Path(made.log).write_text("")
    with pytest.raises(WalgError, match="did not stop cleanly"):
        made.stop()


def test_kill(world: World) -> None:
    running: Any = Process(None)
    over: Any = Process(0)
    for process in (running, over):
        made = beside(world)
        shutil.rmtree(world.data_dir)
        made.process = process
        made.kill()
    assert (running.stopped, over.stopped) == ([3], [])


def test_tail_is_the_end_of_a_long_log(world: World) -> None:
    made = beside(world)
    Path(made.log).write_text("".join(f"line {number} ü\n" for number in range(20_000)))
    assert made.tail()[-1] == "line 19999 ü"
    assert len(made.tail()) == 40
    assert made.reason() == f"See {made.log}."


def test_private_directory_comes_and_goes(world: World) -> None:
    path = _recovery_server.make_socket_dir(world.instance)
    assert os.stat(path).st_mode & 0o777 == 0o700
    assert len(os.path.join(path, ".s.PGSQL.5432.lock")) < 107
    _recovery_server.remove_directory(world.instance, path)
    assert not os.path.exists(path)
    _recovery_server.remove_directory(world.instance, path)
    _recovery_server.remove_directory(world.instance, "")


def test_a_link_in_the_trees_place_is_not_followed(world: World, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(WalgError):
        _recovery_server.remove_directory(world.instance, str(tmp_path / "link"))
    assert (tmp_path / "precious").is_dir()


def test_remove_files_takes_links_and_leaves_what_is_not_named(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").write_text("kept")
    _files.remove_files(str(tmp_path), ("a", "absent"))
    assert os.listdir(tmp_path) == ["b"]


def test_strays_of_a_killed_run_are_ended_and_nobody_else(world: World) -> None:
    """A server and WAL-G in the directory; not a server elsewhere, and not somebody who looks around in it."""
    place, elsewhere = world.root / "pg", world.root / "log"
    programs = {name: world.root / "programs" / name for name in ("postgres", "wal-g")}
    for program in programs.values():
        shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    strays = [subprocess.Popen([str(program), "60"], cwd=place) for program in programs.values()]
    others = [
        subprocess.Popen([str(programs["postgres"]), "60"], cwd=elsewhere),
        subprocess.Popen(["sleep", "60"], cwd=place),
    ]
    try:
        for stray in strays:  # as init would: nobody else collects them
            threading.Thread(target=stray.wait).start()
        _recovery_server.stop_stray(str(place), "/opt/bin/wal-g")
        assert all(stray.wait(5) < 0 for stray in strays)
        assert [other.poll() for other in others] == [None, None]
    finally:
        for process in (*strays, *others):
            process.kill()
            process.wait()
