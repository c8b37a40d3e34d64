# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who started a running server and would start it again, by its process alone."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from .._host import _proc

if TYPE_CHECKING:
    from .._host._process import Runner

_UNIT = re.compile(r"/([^/-][^/]*\.service)$")
#: Programs that start their child again when it ends (the name in /proc/PID/comm has 15 characters at most).
_SUPERVISORS = (
    "supervisord",
    "runsv",
    "s6-supervise",
    "supervise",
    "circusd",
    "patroni",
    "pg_autoctl",
    "stolon-keeper",
)
#: What the command line of a container's first process names when the server is what the container is for.
_SERVER_WORDS = ("postgres", "postmaster", "docker-entrypoint.sh", "docker-ensure-initdb.sh")


def systemd_runs() -> bool:
    """Say whether systemd is this host's init (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def unit_of(runner: Runner, pid: int) -> str:
    """Return the systemd unit whose main process this is, else an empty text.

    The control group alone does not prove it: a server started by hand from a unit's shell is in that unit's group.
    """
    if not systemd_runs():
        return ""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as stream:
            paths = [line.strip().split(":", 2)[2] for line in stream]
    except (OSError, IndexError):
        return ""
    for path in paths:
        match = _UNIT.search(path)
        if match and main_process(runner, match.group(1)) == pid:
            return match.group(1)
    return ""


def main_process(runner: Runner, unit: str) -> int:
    """Return the main process of a unit, 0 if it has none."""
    answer = unit_property(runner, unit, "MainPID")
    return int(answer) if answer.isdigit() else 0


def unit_property(runner: Runner, unit: str, name: str) -> str:
    """Return a property of a unit, an empty text if systemctl can't tell. (systemd 219 has no option --value.)"""
    shown = runner.run(["systemctl", "show", "-p", name, unit], timeout=30)
    lines = shown.stdout.splitlines() if shown.rc == 0 else []
    return next((line.partition("=")[2].strip() for line in lines if line.startswith(f"{name}=")), "")


def supervisor(pid: int) -> str:
    """Return what would end with this server, or start it again behind our back; an empty text for neither.

    A container's main process can't be stopped without ending the container, and Docker's restart policy then starts it
    on whatever is in the data directory. What was started by `docker exec` or a newer pg_ctl has a session of its own.
    """
    if pid == 1:
        return "it is the main process of a container (process 1): stopping it ends the container"
    parent, session = _proc.family(pid)
    name = _comm(parent)
    if name in _SUPERVISORS:
        return f"its parent is {name} (process {parent}), which would start it again"
    if systemd_runs():
        return ""
    words = [os.path.basename(word) for word in _proc.command_line(1)]
    named = parent == 1 and any(word in _SERVER_WORDS for word in words)
    if named or 0 < session == _proc.family(1)[1]:
        return (
            f"the container's first process ({_comm(1)}) started it and is there for it: stopping it ends the container"
        )
    return ""


def _comm(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as stream:
            return stream.read().strip()
    except OSError:
        return ""
