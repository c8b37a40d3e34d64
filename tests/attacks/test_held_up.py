# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody can hold a play up: pipes, devices, endless files, leases, locks and processes of other users."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _process, _users
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User, call_as
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _stopped
from support.attackers import Tally, become, holding, in_time, own, partner
from support.sandbox import Sandbox

PROGRAM = b"#!/bin/sh\nprintf 'wal-g version v3.0.8\\tx\\ty\\tPostgreSQL\\n'\n"
DIGEST = "sha256:" + hashlib.sha256(PROGRAM).hexdigest()
#: Seconds that a module may take, on a busy machine, where it waits for nobody.
SOON = 30


def endless(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 40)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def install(sandbox: Sandbox, ground: Path, source: Path, check: bool = False, **more: Any) -> dict[str, Any]:
    options = {"path": str(ground / "bin" / "wal-g"), "version": "3.0.8", "src": str(source), "checksum": DIGEST}
    return sandbox.module("walg_install", {**options, **more}, check=check)


@pytest.mark.parametrize("make", [os.mkfifo, device, endless])
def test_a_source_that_is_no_program(
    ground: Path, sandbox: Sandbox, tally: Tally, make: Callable[[Path], None]
) -> None:
    source = own(ground / "theirs", "nobody") / "wal-g"
    make(source)
    for check in (True, False):
        started = time.monotonic()
        answer = install(sandbox, ground, source, check)
        tally.count(not answer.get("failed") or time.monotonic() - started > SOON or (ground / "bin").exists())


def lease(path: Path) -> Any:
    stream = path.open("r+")
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    fcntl.fcntl(stream.fileno(), fcntl.F_SETLEASE, fcntl.F_WRLCK)
    return stream


def test_a_lease_on_the_source(ground: Path, sandbox: Sandbox, attacker: str, tally: Tally) -> None:
    """The kernel has whoever opens the file wait for 45 seconds, but for those who say that they will not."""
    source = own(ground / "theirs", attacker) / "wal-g"
    source.write_bytes(PROGRAM)
    os.chown(source, source.parent.stat().st_uid, -1)
    with holding(attacker, lambda: lease(source)):
        started = time.monotonic()
        answer = install(sandbox, ground, source)
        tally.count("Resource temporarily unavailable" not in answer["msg"] or time.monotonic() - started > SOON)


def locked(path: Path) -> int:
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def test_a_lock_on_the_directory_or_its_record(ground: Path, sandbox: Sandbox, attacker: str, tally: Tally) -> None:
    """Whoever can read them can lock them, so these are not what a run locks."""
    source = ground / "wal-g"
    source.write_bytes(PROGRAM)
    assert install(sandbox, ground, source)["changed"]
    for path in (ground / "bin", ground / "bin" / ".mapswipe-walg.json", ground / "bin" / "wal-g"):
        with holding(attacker, lambda path=path: locked(path)):
            started = time.monotonic()
            answer = install(sandbox, ground, source, timeout=SOON)
            tally.count(bool(answer.get("failed")) or time.monotonic() - started > SOON)


def test_a_process_of_another_user_keeps_no_old_version(
    ground: Path, sandbox: Sandbox, attacker: str, tally: Tally
) -> None:
    source = ground / "source"
    source.write_bytes(PROGRAM)
    for name in ("old", "new"):
        assert install(sandbox, ground, source, path=str(ground / "bin" / name))["changed"]
    record, old = ground / "bin" / ".mapswipe-walg.json", ground / "bin" / "old"
    shutil.copy("/bin/sleep", old)
    content = json.loads(record.read_text())
    content["binaries"][0]["sha256"] = hashlib.sha256(old.read_bytes()).hexdigest()  # as if WAL-G could sleep
    record.write_text(json.dumps(content))
    with subprocess.Popen([old, "60"], preexec_fn=lambda: become(attacker)) as runs:
        path = str(ground / "bin" / "new")
        answer = install(sandbox, ground, source, path=path, keep=0, config_dir=str(ground / "etc"))
        tally.count(answer.get("removed") != [str(old)])
        runs.kill()


def test_a_pipe_in_the_place_of_root_s_files(ground: Path, sandbox: Sandbox, tally: Tally) -> None:
    """Whoever came to put it there: each module ends and says what is there."""
    (ground / "etc").mkdir()
    (ground / "bin").mkdir()
    paths = [ground / "etc" / "main.env", ground / "bin" / ".mapswipe-walg.json", ground / "etc" / "mapswipe-walg-main"]
    for path in paths:
        os.mkfifo(path)
    orders: list[tuple[str, dict[str, Any]]] = [
        ("walg_backup_info", {"config_dir": str(ground / "etc")}),
        ("walg_schedule", {"cron_dir": str(ground / "etc"), "state": "absent"}),
        (
            "walg_install",
            {"path": str(ground / "bin" / "wal-g"), "version": "3.0.8", "src": "/bin/true", "checksum": DIGEST},
        ),
    ]
    for module, options in orders:
        started = time.monotonic()
        answer = sandbox.module(module, options)
        told = "is a FIFO, not a regular file" in answer["msg"] or "The digest of" in answer["msg"]
        tally.count(not told or time.monotonic() - started > SOON)


def stopping(parent: int) -> Callable[[], None]:
    """Stop whatever of ours is the parent's child: what works for root as this user."""

    def stop() -> None:
        for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if int(pid) != os.getpid():  # the partner is one, too
                with contextlib.suppress(PermissionError):
                    os.kill(int(pid), signal.SIGSTOP)

    return stop


def worked(user: User) -> dict[str, Any]:
    """Let a child work for us for a moment; return what came of it."""
    try:
        return {"answer": call_as(user, lambda: [time.sleep(0.001) for _turn in range(500)] and "done")}
    except WalgError as exc:
        return {"msg": exc.msg}


def ran(user: User) -> dict[str, Any]:
    try:
        return {"rc": Runner().run(["true"], user=user, timeout=2).rc}
    except WalgError as exc:
        return {"msg": exc.msg}


def test_a_child_that_its_user_stops(attacker: str, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it works, and on the way to becoming a program; both are ended, and a sentence says so."""
    user = User.by_name(attacker)
    assert (worked(user), ran(user)) == ({"answer": "done"}, {"rc": 0})
    monkeypatch.setattr(_users, "_STOPPED", 1.0)
    monkeypatch.setattr(_process, "_START_LIMIT", 1.0)
    monkeypatch.setattr(_process, "_KILL_AFTER", 0.2)
    with partner(attacker, stopping(os.getpid())):
        for _turn in range(5):
            answer = in_time(SOON, lambda: worked(user))
            tally.count(answer is None or "was stopped (SIGSTOP)" not in answer.get("msg", ""))
            tally.count(in_time(SOON, lambda: ran(user)) is None)


def test_a_pipe_of_the_owner_s_in_a_data_directory(ground: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child of ours would wait for a writer; it shows no sign of life, and is ended."""
    data = own(ground / "data", "nobody")
    os.mkfifo(data / "slow")
    os.chown(data / "slow", data.stat().st_uid, -1)
    monkeypatch.setattr(_users, "_LIFELESS", 2.0)

    def read() -> dict[str, Any]:
        try:
            return {"answer": call_as(User.by_name("nobody"), Path.read_text, data / "slow")}
        except WalgError as exc:
            return {"msg": exc.msg}

    answer = in_time(SOON, read)
    tally.count(answer is None or "did nothing for 2 s" not in answer.get("msg", ""))


def test_the_hold_on_a_stopped_cluster(
    ground: Path, attacker: str, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that keeps servers from starting is the owner's, too."""
    data = own(ground / "data", attacker)
    (data / "PG_VERSION").write_text("14\n")
    monkeypatch.setattr(_users, "_STOPPED", 1.0)
    monkeypatch.setattr(_stopped, "_PATIENCE", 1.0)

    def hold() -> dict[str, Any]:
        try:
            with _stopped.kept_stopped(str(data), User.by_name(attacker)):
                time.sleep(0.1)
        except WalgError as exc:
            return {"msg": exc.msg}
        return {}

    assert hold() == {}
    with partner(attacker, stopping(os.getpid())):
        for _turn in range(5):
            tally.count(in_time(SOON, hold) is None)
