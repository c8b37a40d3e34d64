# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a process is a PostgreSQL server: by what it holds, since packagers rename and wrap the program.

Every postmaster and backend maps a System V shared memory segment, also where the rest is memory of another kind; no shell,
editor or pager does. A postmaster that has just written its pid file has no segment yet.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Sequence

from .._host import _proc

if TYPE_CHECKING:
    pass

#: Names under which packages run the program. /proc/PID/comm is cut off after 15 bytes.
_NAME = re.compile(r"\.?(edb-)?(postgres|postmaster)(-wrap\w*|\.bin|\.real)?\Z")
_SEGMENT_LINE = 6  # of postmaster.pid, counted from 0: key and number of the segment
_CLOCK_SLACK = 5.0  # seconds by which the kernel's clock and the pid file's may differ


def is_server(pid: int) -> bool:
    """Say whether a process is a PostgreSQL server, a postmaster or a child of one. When in doubt, it is."""
    if _proc.stat(pid)[:1] in ([], ["Z"]):
        return False
    return is_name(_comm(pid)) or (_in_cluster(pid) and (_maps_segment(pid) or _is_starting(pid)))


def is_name(program: str) -> bool:
    """Say whether a program's name is one of PostgreSQL's server."""
    return bool(_NAME.match(program))


def works_in_its_own(pid: int) -> bool:
    """Say whether a process runs as the owner of the directory that it works in. PostgreSQL refuses to run in any other."""
    owner = _proc.read_as_owner(pid, _owner, f"/proc/{pid}/cwd")
    return owner is not None and owner == _proc.user_of(pid)


def _owner(path: str) -> int:
    return os.stat(path).st_uid


def _comm(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def _in_cluster(pid: int) -> bool:
    """Say whether it works in a data directory, one that was deleted under it included."""
    place = str(_proc.read_as_owner(pid, os.readlink, f"/proc/{pid}/cwd") or "")
    return place.endswith(" (deleted)") or bool(_proc.read_as_owner(pid, _is_there, f"/proc/{pid}/cwd/PG_VERSION"))


def _is_there(path: str) -> bool:
    os.stat(path)
    return True


def _maps_segment(pid: int) -> bool:
    maps = _proc.read_as_owner(pid, _proc.read, f"/proc/{pid}/maps")
    return maps is not None and " /SYSV" in maps


def _is_starting(pid: int) -> bool:
    """Say whether the pid file names a process that may not have its segment yet, or whose memory we can't see."""
    lines = str(_proc.read_as_owner(pid, _proc.read, f"/proc/{pid}/cwd/postmaster.pid") or "").splitlines()
    if not named_by(lines, pid):
        return False
    has_segment = len(lines) > _SEGMENT_LINE and bool(lines[_SEGMENT_LINE].strip())
    return not has_segment or not _proc.read_as_owner(pid, _proc.read, f"/proc/{pid}/maps")


def named_by(lines: Sequence[str], pid: int) -> bool:
    """Say whether the lines of a pid file mean this process, and not one that got its number later."""
    try:
        number, started = int(lines[0]), float(lines[2])
    except (ValueError, IndexError):
        return bool(lines) and lines[0].strip() == str(pid)
    return number in _proc.numbers(pid) and _proc.started_at(pid) <= started + _CLOCK_SLACK
