# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a storage holds of one cluster, looked at without reading objects: WAL, base backups, and the objects that could be read."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._archive import _recoverable
from .._errors import WalgError
from .._walg import _backups, _objects, _segment_size
from . import _books, _damage, _reread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._archive._recoverable import Window
    from .._instance._record import Instance
    from .._walg._backups import Backup
    from .._walg._client import Walg
    from ._books import Books
    from ._damage import Archive
    from ._reread import Stored

#: Seconds for segments that overtook others on their way.
_PATIENCE = 20.0


@dataclass
class Survey:
    """``lost``: why base backups can't be restored, by name. ``records``: damaged records that keep WAL-G from listing base backups."""

    system_identifier: str
    segment_size: int
    archive: Archive
    windows: list[Window]
    gaps: list[dict[str, Any]]
    lost: dict[str, str]
    books: Books
    stored: list[Stored]
    records: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """The base backups of this cluster."""
        return {one.name for one in self.archive.backups}


def survey(walg: Walg, instance: Instance, known: Mapping[str, list[str] | None]) -> Survey:
    """Look. ``known``: names of parts by base backup, from an earlier look. Raises StorageError."""
    folder = walg.objects(_objects.BACKUPS)
    records: dict[str, tuple[str, str]] = {}
    try:
        listed = walg.backups()
    except WalgError as exc:
        records = {} if exc.fields.get("timed_out") else _books.unreadable(walg, folder)
        if not records:
            raise
        listed = []
    size = _segment_size.of(instance, listed)
    there = _backups.identifiers(listed)
    own = instance.cluster.system_identifier or (there[0] if len(there) == 1 else "")
    mine = [one for one in listed if one.system_identifier == own]
    archive, windows, gaps, lost = _wal(walg, size, listed, mine)
    objects = _reread.wal_objects(walg.objects(_objects.WAL), size)
    objects += _reread.backup_objects(folder, {one.name: one for one in mine})
    books = _books.compare(walg, mine, folder, known)
    return Survey(own, size, archive, windows, gaps, lost, books, objects, records)


def _wal(
    walg: Walg, size: int, listed: Sequence[Backup], mine: Sequence[Backup]
) -> tuple[Archive, list[Window], list[dict[str, Any]], dict[str, str]]:
    """Ask for the WAL; again for a moment while a hole is open, since uploads overtake each other."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        archive = _damage.Archive(mine, walg.archive(size, listed))
        windows = archive.windows()
        gaps = _books.gaps(archive.wal, windows)
        lost = _recoverable.unrestorable(mine, archive.wal, windows)
        waiting = any(one["open"] for one in gaps) or set(lost) - set(_recoverable.broken_chains(mine))
        if not waiting or time.monotonic() >= deadline:
            return archive, windows, gaps, lost
        time.sleep(2.0)
