# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control groups of another process, to work within their limits. A container's keep it away from the machine's devices."""

from __future__ import annotations

import os

from .._errors import WalgError
from ._files import read_text

_HERE = "/proc/self"


def opened(process: str) -> list[int]:
    """Return descriptors by which a process enters the groups of another one, given as its directory in /proc. Raises WalgError.

    Those that both are in need no entering.
    """
    theirs, ours = _groups(process), _groups(_HERE)
    needed = "devices" if "devices" in theirs else ""  # control groups 1, and 2
    handles = []
    for controllers, path in theirs.items():
        if ours.get(controllers) == path:
            continue
        try:
            place = _mounted(controllers)
            if not place:
                raise FileNotFoundError(2, "it is not mounted")
            handles.append(os.open(f"{place}{path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
        except OSError as exc:
            if controllers == needed:
                for handle in handles:
                    os.close(handle)
                what = f"The container's control group {path} can't be entered: {exc.strerror}."
                raise WalgError(f"{what} Without it, what runs there would reach the machine's devices.") from exc
    return handles


def enter(handles: list[int]) -> None:
    """Put this process into the groups."""
    for handle in handles:
        try:
            os.write(handle, b"0")
        except OSError as exc:
            raise WalgError(f"Cannot enter the container's control group: {exc.strerror}") from exc


def _groups(process: str) -> dict[str, str]:
    """Return the paths of a process's groups by their controllers; "" is that of control groups 2."""
    lines = (read_text(f"{process}/cgroup") or "").splitlines()
    rows = (line.split(":", 2) for line in lines)
    return {row[1]: row[2] for row in rows if len(row) == 3}


def _mounted(controllers: str) -> str:
    """Return where a hierarchy is mounted here; "" where it is not."""
    for line in (read_text(f"{_HERE}/mountinfo") or "").splitlines():
        place, _dash, told = line.partition(" - ")
        kind, _source, options = [*told.split(" ", 2), "", "", ""][:3]
        named = set(options.split(","))
        if (kind == "cgroup2" and not controllers) or (
            kind == "cgroup" and controllers and named.issuperset(controllers.split(","))
        ):
            return place.split(" ")[4]
    return ""
