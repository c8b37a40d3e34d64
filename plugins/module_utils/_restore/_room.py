# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room on this host's file systems for what a restore brings."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .._errors import WalgError
from .._host._files import first_existing_parent, free_bytes
from .._host._users import call_as
from .._instance._record import Instance
from .._postgres import _data_dir
from . import _layout

#: Bytes that recovery needs besides the files: WAL that is replayed, and PostgreSQL's own.
ROOM = 512 * 1024 * 1024
_AHEAD = 12  # segments that lie there at a time, at most: those that are fetched ahead, and the last ones replayed


def wal_room(segments: int, segment_size: int) -> int:
    """Return the bytes for the WAL of a recovery that reads so many segments: WAL-G fetches up to ten ahead, PostgreSQL makes three."""
    return max(ROOM, (min(segments, _AHEAD) + 3) * segment_size)


@dataclass(frozen=True)
class Room:
    """Bytes that the restored parts need. Of a tablespace the size is not known before: all of them together have ``files``."""

    files: int
    salvaged: int
    wal: int = ROOM

    @property
    def total(self) -> int:
        """Return what all places need together."""
        return self.files + self.wal + self.salvaged

    def of(self, link: str, apart: Collection[str]) -> int:
        """Return what one place needs at least. ``apart``: the links of the places outside of the data directory."""
        wal = self.wal + self.salvaged
        if link:
            return wal if link == "pg_wal" else 0
        spaces = any(one.startswith("pg_tblspc/") for one in apart)
        return (0 if spaces else self.files) + (0 if "pg_wal" in apart else wal)


def refuse_full(
    instance: Instance,
    places_: Sequence[_layout.Location],
    room: Room,
    name: str,
    overwritten: _data_dir.DataDir | None,
) -> int:
    """Return the free bytes on the file systems in question. Raises WalgError when they are too few, on one or on all.

    ``overwritten``: the old cluster, whose room is free before the restore.
    """
    free: dict[int, int] = {}
    least: dict[int, int] = {}
    where: dict[int, str] = {}
    apart = {one.link for one in places_ if one.link}
    for one in places_:
        path = first_existing_parent(one.parent)
        system = file_system(path)
        free.setdefault(system, free_bytes(path))
        if overwritten is not None and one.used_by(overwritten.path, overwritten.links):
            old = os.path.join(one.path, overwritten.own_entry) if one.tablespace else one.path
            free[system] += int(call_as(instance.owner, tree_size, old))
        least[system] = least.get(system, 0) + room.of(one.link, apart)
        where[system] = one.path  # the data directory comes last
    total = sum(free.values())
    short = [(where[system], least[system], free[system]) for system in free if free[system] < least[system]]
    if not short and total < room.total:
        short = [(places_[-1].path, room.total, total)]
    for place, wanted, found in short:
        raise WalgError(
            f"Too little room beside {place}: {wanted} bytes are needed (the base backup {name} and {room.wal} for WAL, as far as they go "
            f"there), {found} are free. Free some space, restore on another host, or have the old cluster removed first "
            "(walg_restore_overwrite, its system identifier).",
            found=found,
            wanted=wanted,
        )
    return total


def file_system(path: str) -> int:
    """Return the number of the file system that a directory is on."""
    return os.stat(path).st_dev


def tree_size(path: str) -> int:
    """Return the bytes that the files of a directory tree take, as far as its file system goes."""
    total, system = 0, os.lstat(path).st_dev if os.path.lexists(path) else 0
    for folder, folders, files in os.walk(path):
        folders[:] = [one for one in folders if os.lstat(os.path.join(folder, one)).st_dev == system]
        for file in files:
            found = os.lstat(os.path.join(folder, file))
            total += found.st_blocks * 512
    return total
