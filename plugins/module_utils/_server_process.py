# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a process is a PostgreSQL server: by what it holds, since packagers rename and wrap the program. Private.

Every postmaster and backend maps a System V shared memory segment, also where the rest is memory of another kind; no shell,
editor or pager does. A postmaster that has just written its pid file has no segment yet.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Sequence

from ._errors import WalgError
from ._files import regular_opener
from ._process import User, call_as

if TYPE_CHECKING:
    from collections.abc import Callable

#: Names under which packages run the program. /proc/PID/comm is cut off after 15 bytes.
_NAME = re.compile(r"\.?(edb-)?(postgres|postmaster)(-wrap\w*|\.bin|\.real)?\Z")
_SEGMENT_LINE = 6  # of postmaster.pid, counted from 0: key and number of the segment
_CLOCK_SLACK = 5.0  # seconds by which the kernel's clock and the pid file's may differ
_MOST = 16 * 1024 * 1024  # bytes that are read of one file


def is_server(pid: int) -> bool:
    """Say whether a process is a PostgreSQL server, a postmaster or a child of one. When in doubt, it is."""
    if stat(pid)[:1] in ([], ["Z"]):
        return False
    return is_name(_comm(pid)) or (_in_cluster(pid) and (_maps_segment(pid) or _is_starting(pid)))


def is_name(program: str) -> bool:
    """Say whether a program's name is one of PostgreSQL's server."""
    return bool(_NAME.match(program))


def user_of(pid: int) -> int:
    """Return the number of the user that a process runs as, -1 if it is gone. Nothing of the process's own is touched by that."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as stream:
            return next((int(line.split()[2]) for line in stream if line.startswith("Uid:")), -1)  # the effective one
    except OSError:
        return -1


def works_in_its_own(pid: int) -> bool:
    """Say whether a process runs as the owner of the directory that it works in. PostgreSQL refuses to run in any other."""
    owner = read_as_owner(pid, _owner, f"/proc/{pid}/cwd")
    return owner is not None and owner == user_of(pid)


def _owner(path: str) -> int:
    return os.stat(path).st_uid


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


def _comm(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def _in_cluster(pid: int) -> bool:
    """Say whether it works in a data directory, one that was deleted under it included."""
    place = str(read_as_owner(pid, os.readlink, f"/proc/{pid}/cwd") or "")
    return place.endswith(" (deleted)") or bool(read_as_owner(pid, _is_there, f"/proc/{pid}/cwd/PG_VERSION"))


def _is_there(path: str) -> bool:
    os.stat(path)
    return True


def _maps_segment(pid: int) -> bool:
    maps = read_as_owner(pid, read, f"/proc/{pid}/maps")
    return maps is not None and " /SYSV" in maps


def _is_starting(pid: int) -> bool:
    """Say whether the pid file names a process that may not have its segment yet, or whose memory we can't see."""
    lines = str(read_as_owner(pid, read, f"/proc/{pid}/cwd/postmaster.pid") or "").splitlines()
    if not named_by(lines, pid):
        return False
    has_segment = len(lines) > _SEGMENT_LINE and bool(lines[_SEGMENT_LINE].strip())
    return not has_segment or not read_as_owner(pid, read, f"/proc/{pid}/maps")


def named_by(lines: Sequence[str], pid: int) -> bool:
    """Say whether the lines of a pid file mean this process, and not one that got its number later."""
    try:
        number, started = int(lines[0]), float(lines[2])
    except (ValueError, IndexError):
        return bool(lines) and lines[0].strip() == str(pid)
    return number in numbers(pid) and started_at(pid) <= started + _CLOCK_SLACK


def read(path: str) -> str:
    """Return a regular file's text. In a process's directory there may be anything."""
    with open(path, encoding="utf-8", errors="replace", newline="", opener=regular_opener) as stream:
        return stream.read(_MOST)
