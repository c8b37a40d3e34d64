# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a base backup is: what WAL-G has read, by the kernel's count, of what the data directory holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._host._files import read_state

if TYPE_CHECKING:
    from .._host._process import Runner
    from .._instance._record import Instance

#: Folders whose content no base backup has.
_LEFT_OUT = frozenset(
    (
        *("pg_wal", "pg_xlog", "pg_log", "log", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots"),
        *("pg_stat_tmp", "pg_subtrans", "pgsql_tmp"),
    )
)


@dataclass
class Pushed:
    """``whole``: whether all of the data directory is read, which a delta does not do. ``bytes``: read so far."""

    runner: Runner
    data_dir: str
    whole: bool
    total: int = 0
    bytes: int = 0

    def details(self) -> dict[str, Any]:
        """Return the bytes for the progress file; those that WAL-G reads from the network are few beside them."""
        if self.whole and not self.total:
            self.total = content(self.data_dir)
        self.bytes = max(self.bytes, read_by(self.runner.child))
        return {"bytes": self.bytes, **({"bytes_planned": self.total} if self.total else {})}


def deltas(instance: Instance) -> bool:
    """Say whether WAL-G takes deltas where it can. Run as the cluster's owner."""
    return str(read_state(instance.settings_file).get("WALG_DELTA_MAX_STEPS") or "0").strip() != "0"


def read_by(pid: int | None) -> int:
    """Return the bytes that a process has read; 0 where the kernel does not say."""
    try:
        with open(f"/proc/{pid}/io", encoding="ascii") as stream:
            return int(stream.readline().partition(":")[2])
    except (OSError, ValueError):
        return 0


def content(directory: str) -> int:
    """Return the bytes of the files that a base backup reads: of a data directory with its tablespaces."""
    found = 0
    spaces = os.path.join(directory, "pg_tblspc")
    links = [os.path.join(spaces, name) for name in (os.listdir(spaces) if os.path.isdir(spaces) else ())]
    for top in (directory, *(os.path.realpath(link) for link in links)):
        for folder, folders, files in os.walk(top):
            folders[:] = [one for one in folders if one not in _LEFT_OUT]
            for file in files:
                try:
                    found += os.lstat(os.path.join(folder, file)).st_size
                except OSError:
                    continue  # it was dropped meanwhile
    return found
