# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /proc says about a process, read with its owner's rights where root may not look."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .._errors import WalgError
from ._files import regular_opener
from ._users import User, call_as

_MOST = 16 * 1024 * 1024  # bytes that are read of one file

_MOST_WORDS = 16 * 1024 * 1024  # bytes of a command line; the kernel's own limit is lower


def user_of(pid: int) -> int:
    """Return the number of the user that a process runs as, -1 if it is gone. Nothing of the process's own is touched by that."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as stream:
            return next((int(line.split()[2]) for line in stream if line.startswith("Uid:")), -1)  # the effective one
    except OSError:
        return -1


def stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            return stream.read().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return []


def started_at(pid: int) -> float:
    """Return when a process was started, in seconds since the epoch; 0 if it is gone."""
    fields = stat(pid)
    if len(fields) < 20:
        return 0.0
    try:
        with open("/proc/stat", encoding="utf-8") as stream:
            booted = next(int(line.split()[1]) for line in stream if line.startswith("btime "))
    except (OSError, StopIteration):
        return 0.0
    return booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def numbers(pid: int) -> set[int]:
    """Return a process's numbers: ours for it, and those that it has in containers."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as stream:
            line = next((line for line in stream if line.startswith("NSpid:")), "")
    except OSError:
        line = ""
    return {pid, *map(int, line.split()[1:])}


def read_as_owner(pid: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function that looks into /proc/PID; None if it is gone or not ours to look at.

    Root in a container may lack the right to look at other users' processes; their owner has it.
    """
    try:
        return function(*arguments)
    except PermissionError:
        if os.geteuid() != 0:
            return None
    except (OSError, WalgError):
        return None
    try:
        owner = User.by_uid(os.stat(f"/proc/{pid}").st_uid)
        return call_as(owner, function, *arguments)
    except (OSError, WalgError):
        return None


def read(path: str) -> str:
    """Return a regular file's text. In a process's directory there may be anything."""
    with open(path, encoding="utf-8", errors="replace", newline="", opener=regular_opener) as stream:
        return stream.read(_MOST)


def pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def link(pid: int, name: str) -> str:
    """Return where a process's ``cwd`` or ``exe`` points; empty if it is gone or not ours to look at."""
    return str(read_as_owner(pid, os.readlink, f"/proc/{pid}/{name}") or "")


def family(pid: int) -> tuple[int, int]:
    """Return a process's parent and session; zeros if it is gone."""
    fields = stat(pid)
    return (int(fields[1]), int(fields[3])) if len(fields) > 3 else (0, 0)


def children(pid: int) -> list[int]:
    """Return the children of a process, the oldest first as far as numbers tell."""
    return sorted(one for one in pids() if family(one)[0] == pid)


def environment(pid: int) -> dict[str, str]:
    """Return the variables that a process was started with; none if it is gone or not ours to look at."""
    text = str(read_as_owner(pid, read, f"/proc/{pid}/environ") or "")
    return dict(one.partition("=")[::2] for one in text.split("\0") if "=" in one)


def command_line(pid: int) -> list[str]:
    """Return the words that a process was called with; none if it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return stream.read(_MOST_WORDS).decode("utf-8", "replace").split("\0")
    except OSError:
        return []
