# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other users of the host, and what they do while root works: a process of theirs that exchanges files without a pause."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .sandbox import database_user


@dataclass
class Tally:
    """What was tried and won in this process."""

    tried: int = 0
    won: int = 0

    def count(self, won: bool) -> None:
        """Note one attack."""
        self.tried += 1
        self.won += won


def attackers() -> list[str]:
    """Return the database user and another one that this host has."""
    first = database_user()
    names = [name for name in ("nobody", "daemon", "postgres", "bin") if name != first]
    for name in names:
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            return [first, name]
    return [first]


def become(name: str) -> None:
    """In a child: be that user, with no group but its own."""
    entry = pwd.getpwnam(name)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def own(path: Path, name: str, mode: int = 0o755) -> Path:
    """Make a directory of that user's."""
    entry = pwd.getpwnam(name)
    path.mkdir()
    os.chown(path, entry.pw_uid, entry.pw_gid)
    path.chmod(mode)
    return path


def in_time(seconds: int, act: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """Return what comes of it; None if it takes longer: it is ended then, by its children."""

    def ring(_signum: int, _frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        return act()
    except TimeoutError:
        for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        return None
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def program(name: str, argv: list[str], cwd: Path | str, executable: Path | str = "/bin/sleep") -> Iterator[int]:
    """Have that user run a program in a directory for the time of a block, called as it likes."""
    with subprocess.Popen(argv, executable=executable, cwd="/", preexec_fn=lambda: _there(name, cwd)) as runs:
        try:
            yield runs.pid
        finally:
            runs.kill()


def _there(name: str, cwd: Path | str) -> None:
    become(name)
    os.chdir(cwd)


@contextlib.contextmanager
def partner(name: str, act: Callable[[], None]) -> Iterator[None]:
    """Have that user do it again and again, for the time of a block."""
    pid = os.fork()
    if pid == 0:
        try:
            become(name)
            while True:
                with contextlib.suppress(OSError):
                    act()
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextlib.contextmanager
def holding(name: str, act: Callable[[], object]) -> Iterator[None]:
    """Have that user do it once, and keep what comes of it for the time of a block."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become(name)
            kept = act()
            os.write(writer, b"x" if kept is not None else b"-")
            signal.pause()
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"x", "the attacker could not even begin"
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
