# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server is known by what it holds: stand-ins of any name, and bystanders that look like one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _proc
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _data_dir, _server_process, _servers

#: Maps a System V segment, as every server does.
MAPPING = """
import ctypes, time
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
number = libc.shmget(0, 4096, 0o1600)
libc.shmat(number, None, 0)
libc.shmctl(number, 0, None)
print("ready", flush=True)
time.sleep(60)
"""
IDLE = 'print("ready", flush=True); import time; time.sleep(60)'
Start = Callable[..., int]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a Python program in a directory and wait until it is ready; returns its process id."""
    started: list[subprocess.Popen[str]] = []

    def start_(text: str, directory: Path, *arguments: str, argv0: str = "") -> int:
        argv = [argv0 or sys.executable, "-c", text, *arguments]
        process = subprocess.Popen(argv, executable=sys.executable, cwd=directory, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process.pid

    yield start_
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = tmp_path / "d"
    (made / "global").mkdir(parents=True)
    (made / "PG_VERSION").write_text("14\n")
    (made / "global" / "pg_control").write_bytes(b"\1" * 8192)
    return made


@pytest.mark.parametrize(
    ("name", "is_it"),
    [
        ("postgres", True),
        ("postmaster", True),
        ("edb-postgres", True),
        (".postgres-wrapp", True),  # .postgres-wrapped, as the kernel cuts it off
        ("postgres.bin", True),
        ("postgresql.conf", False),
        ("postgres_exporter", False),
        ("less", False),
        ("", False),
    ],
)
def test_names(name: str, is_it: bool) -> None:
    assert _server_process.is_name(name) is is_it


def test_a_server_of_another_name_is_known_by_its_segment(data: Path, start: Start) -> None:
    pid = start(MAPPING, data)
    (data / "postmaster.pid").write_text(f"{pid}\n{data}\n{time.time():.0f}\n5433\n/run/pg\n\n  1234  5\nready\n")
    assert _servers.servers_on(str(data)) == [pid]
    found = _data_dir.inspect(str(data), None)
    assert (found.pid, found.port, found.status) == (pid, "5433", "ready")
    assert str(data) in [one.path for one in _servers.served()]
    assert _servers.workers_on(str(data), ("wal-g",)) == [pid]


def test_so_is_one_whose_directory_was_deleted(data: Path, start: Start) -> None:
    pid = start(MAPPING, data)
    shutil.rmtree(data)
    assert _servers.servers_on(str(data)) == [pid]


def test_other_programs_have_segments_too(tmp_path: Path, start: Start) -> None:
    assert not _server_process.is_server(start(MAPPING, tmp_path))


@pytest.mark.parametrize("argv0", ["bash", "vim postgresql.conf", "less", "psql"])
def test_who_looks_around_in_the_directory_is_no_server(data: Path, start: Start, argv0: str) -> None:
    pid = start(IDLE, data, "-D", str(data), argv0=argv0)
    assert _servers.servers_on(str(data)) == []
    assert _servers.workers_on(str(data), ("wal-g", "postgres")) == []
    # Not even when a pid file that a crash left names its number.
    (data / "postmaster.pid").write_text(f"{pid}\n{data}\n1700000000\n5433\n/run/pg\n\n  1234  5\nready\n")
    assert _servers.servers_on(str(data)) == []
    (data / "postmaster.pid").write_text(f"{pid}\n{data}\n{time.time():.0f}\n5433\n/run/pg\n\n  1234  5\nready\n")
    assert _servers.servers_on(str(data)) == []
    assert _data_dir.inspect(str(data), None).pid == 0


def test_one_that_has_only_written_its_pid_file_is_starting(data: Path, start: Start) -> None:
    pid = start(IDLE, data)
    (data / "postmaster.pid").write_text(f"{pid}\n{data}\n{time.time():.0f}\n5433\n")
    assert _servers.servers_on(str(data)) == [pid]


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (["{pid}", "/d", "{now}"], True),
        (["{pid}", "/d", "{before}"], False),  # the number was another's then
        (["{pid}"], True),  # written by half
        (["{other}", "/d", "{now}"], False),
        ([], False),
        ([""], False),
        (["x", "/d", "{now}"], False),
    ],
)
def test_whom_a_pid_file_means(data: Path, start: Start, lines: list[str], named: bool) -> None:
    pid, now = start(IDLE, data), int(time.time())
    values = {"pid": pid, "other": os.getpid(), "now": now, "before": now - 3600}
    assert _server_process.named_by([line.format(**values) for line in lines], pid) is named


def test_a_process_that_is_gone() -> None:
    gone = 2**22 + 1
    assert (_server_process.is_server(gone), _proc.started_at(gone)) == (False, 0.0)
    assert _proc.numbers(gone) == {gone}


def test_the_start_of_a_process() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            assert abs(_proc.started_at(process.pid) - time.time()) < 5
            assert _proc.numbers(process.pid) >= {process.pid}
        finally:
            process.kill()
