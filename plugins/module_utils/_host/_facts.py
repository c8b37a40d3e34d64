# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is: what decides whether a cluster's indexes are right on it, and how much it can do at a time."""

from __future__ import annotations

import contextlib
import glob
import os
import platform
import re

from . import _inside
from ._files import read_text, regular_opener

MACHINE_ID = "/etc/machine-id"
#: Where a container sees its limit in bytes: control groups 2, and 1.
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_MEMORY_USED = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")
#: Where a system keeps glibc, and what that says of itself.
_LIBC = ("/lib/*/libc.so.6", "/lib64/libc.so.6", "/lib/libc.so.6", "/usr/lib/libc.so.6")
_BANNER = re.compile(rb"GNU C Library [^\0\n]{0,200}version ([0-9]{1,6}(?:\.[0-9]{1,6}){1,4})")
_MOST_LIBC = 16 * 1024 * 1024  # bytes


def machine_id() -> str:
    """Return this machine's ID (machine-id(5)); empty where it has none, as in a container."""
    return (read_text(MACHINE_ID) or "").strip()


def libc() -> str:
    """Return this host's C library and its version, such as "glibc 2.36"; text sorts as it says."""
    if _inside.current():
        version = ".".join(map(str, glibc_here()))
        return f"glibc {version}" if version else ""
    return " ".join(platform.libc_ver()).strip()


def glibc_here() -> tuple[int, ...]:
    """Return the version of the glibc that lies here, whatever this process itself runs with; empty where there is none."""
    for path in (path for pattern in _LIBC for path in sorted(glob.glob(pattern))):
        with contextlib.suppress(OSError), open(path, "rb", opener=regular_opener) as stream:
            match = _BANNER.search(stream.read(_MOST_LIBC))
            if match:
                return tuple(map(int, match.group(1).decode().split(".")))
    return ()


def system() -> str:
    """Return the operating system as it calls itself, such as "Debian GNU/Linux 12 (bookworm)"; empty if it does not say."""
    try:
        with open("/etc/os-release", encoding="utf-8") as stream:
            lines = dict(line.rstrip("\n").split("=", 1) for line in stream if "=" in line)
    except OSError:
        return ""
    return lines.get("PRETTY_NAME", "").strip('"')


def cores() -> int:
    """Return how many processors we may run on."""
    return len(os.sched_getaffinity(0))


def memory_mib() -> int:
    """Return this host's memory in MiB, or what its control group allows if that is less (a container's); 0 if it does not say."""
    told = [_number(path) >> 20 for path in _MEMORY_LIMITS]
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            told += [int(line.split()[1]) >> 10 for line in stream if line.startswith("MemTotal:")]
    except OSError:
        pass
    return min(filter(None, told), default=0)


def memory_left() -> int | None:
    """Return the bytes of memory that programs may still take here, or None if the host does not say."""
    told = [_number(limit) - _number(used) for limit, used in zip(_MEMORY_LIMITS, _MEMORY_USED) if _number(limit)]
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            told += [int(line.split()[1]) << 10 for line in stream if line.startswith("MemAvailable:")]
    except OSError:
        pass
    return max(0, min(told)) if told else None


def _number(path: str) -> int:
    """Return the number in a file, 0 if there is none."""
    try:
        with open(path, encoding="ascii") as stream:
            text = stream.read().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0  # "max" is no limit
