# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL of the old cluster that never reached the archive: the last commits before the loss are in it.

PostgreSQL reads a segment from its own pg_wal when the archive lacks it. So what follows the archive's last segment without
a gap, on the same timeline and of the same cluster, is copied there.
"""

from __future__ import annotations

import glob
import os
import shutil

from .._errors import WalgError
from .._host._files import open_regular, write_atomic
from .._postgres import _wal, _wal_page
from . import _layout


def after(wal_dir: str, archived: str, system_identifier: str, size: int) -> list[str]:
    """Return the names of the segments in ``wal_dir`` that follow ``archived``. Called as the owner; ``size`` of a segment in bytes.

    A segment that PostgreSQL recycled has the name of a coming one and the content of an old one: the page address in its
    header tells. The last one may be half full; recovery reads it as far as it goes.
    """
    timeline, number = _wal.timeline_of(archived), _wal.segment_number(archived, size)
    found: list[str] = []
    while True:
        number += 1
        name = _wal.segment_name(timeline, number, size)
        if not _is_of(os.path.join(wal_dir, name), timeline, number * size, system_identifier, size):
            return found
        found.append(name)


def _is_of(path: str, timeline: int, address: int, system_identifier: str, size: int) -> bool:
    try:
        if os.path.getsize(path) != size:
            return False
        with open(open_regular(path), "rb") as stream:
            head = _wal_page.first_page(stream.read(_wal_page.LONG_SIZE))
    except (OSError, WalgError):
        return False
    if head is None:
        return False
    return (head.timeline, head.address, str(head.system_identifier)) == (timeline, address, system_identifier)


def queue(wal_dir: str, names: list[str], target: str, system_identifier: str, size: int) -> None:
    """Have the restored cluster archive segments that only the old one had. Called as the owner.

    PostgreSQL removes them at the end of its recovery, unarchived; without them the archive would keep a gap. One that the
    old cluster, having gone on, has reused since is its own to archive.
    """
    for name in names:
        address = _wal.segment_number(name, size) * size
        timeline = _wal.timeline_of(name)
        if not os.path.lexists(os.path.join(target, name)):
            if not _is_of(os.path.join(wal_dir, name), timeline, address, system_identifier, size):
                continue
            copy(wal_dir, [name], target)
        status = os.path.join(target, "archive_status", name)
        if not os.path.lexists(f"{status}.done"):
            write_atomic(f"{status}.ready", "")


def copy(wal_dir: str, names: list[str], target: str) -> None:
    """Copy segments durably, into the restored cluster's pg_wal or to where they are saved. Called as the owner."""
    for name in names:
        with open(open_regular(os.path.join(wal_dir, name)), "rb") as origin, open(
            os.path.join(target, name), "wb"
        ) as stream:
            os.fchmod(stream.fileno(), 0o600)
            shutil.copyfileobj(origin, stream, 1024 * 1024)
            stream.flush()
            os.fsync(stream.fileno())


def saved(data: _layout.Location) -> str:
    """Return where the old cluster's last WAL is kept while it is overwritten. No request's name can end so."""
    return f"{data.work}~wal"


def all_saved(data: _layout.Location) -> list[str]:
    """Return what was saved of a cluster that is gone, this request's first: a restore that was given up may have left it."""
    others = os.path.join(os.path.dirname(data.work), f"{glob.escape(os.path.basename(_before_request(data)))}*~wal")
    found = sorted(path for path in glob.glob(others) if os.path.isdir(path))
    return sorted(found, key=lambda path: path != saved(data))


def _before_request(data: _layout.Location) -> str:
    return "restore-" if data.mount else f"{data.path}.restore-"
