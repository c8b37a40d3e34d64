# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on what works together: WAL-G, PostgreSQL, storage.

One table; each row says what can't work, why, and what would. Measured with WAL-G 1.1.3 to 3.0.9 against PostgreSQL 10
to 19 unless the row names another source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._storage import _url
from . import _releases

if TYPE_CHECKING:
    from collections.abc import Sequence

    Version = tuple[int, int, int]

#: Major versions of PostgreSQL that this collection serves.
PG_OLDEST = 10
PG_NEWEST = 19

BACKUP = "backup"  # base backups and the archiving of WAL
RESTORE = "restore"


@dataclass(frozen=True)
class Row:
    """A combination that is rejected: all that is given must apply. Versions from ``since`` on and before ``until``."""

    reason: str
    remedy: str
    purposes: Sequence[str] = (BACKUP, RESTORE)
    since: Version = (0, 0, 0)
    until: Version | None = None
    pg_since: int = 0
    storages: Sequence[str] = ()
    tablespaces: bool = False
    delta: bool = False

    def applies(
        self, walg: Version, pg_major: int, storage_kind: str, purpose: str, has_tablespaces: bool, is_delta: bool
    ) -> bool:
        """Say whether this combination is the refused one."""
        return (
            purpose in self.purposes
            and self.since <= walg
            and (self.until is None or walg < self.until)
            and pg_major >= self.pg_since
            and (not self.storages or storage_kind in self.storages)
            and (has_tablespaces or not self.tablespaces)
            and (is_delta or not self.delta)
        )


ROWS = (
    # Older ones have other commands and releases; none was tried.
    Row("this collection was never tested with a WAL-G before 1.1", "WAL-G 1.1 or newer", until=(1, 1, 0)),
    # Exit 1 with "function pg_start_backup(unknown, boolean, boolean) does not exist"; wal-g/wal-g#1319. Archiving
    # alone would work and make a site believe that it is protected.
    Row(
        "it calls pg_start_backup, which PostgreSQL 15 removed, so no base backup can be taken",
        "WAL-G 2.0.1 or newer",
        purposes=(BACKUP,),
        until=(2, 0, 1),
        pg_since=15,
    ),
    # googleapis/google-cloud-go#11845: the error is wrapped since 1.51, WAL-G compares with ==. wal-fetch of a missing
    # file ends with 1 like every other trouble, and WAL stored as br, zst or lzma can't be fetched at all.
    Row(
        "on Google Cloud Storage it can't tell a missing file from an error, so a recovery can't find its end",
        "WAL-G 3.0.8",
        purposes=(RESTORE,),
        since=(3, 0, 9),
        until=(3, 0, 10),
        storages=("gs",),
    ),
    # wal-g/wal-g#2139: exit 0, the files land as plain directories in pg_tblspc, and the server doesn't start. Up to
    # 2.0.1 the specification works, if tablespace_map is removed after the fetch.
    Row(
        "it ignores the restore specification, so tablespaces land in the wrong place",
        "WAL-G 3.0.8 or newer",
        purposes=(RESTORE,),
        since=(3, 0, 0),
        until=(3, 0, 8),
        tablespaces=True,
    ),
    # wal-g/wal-g#499, #585: the full base backup's links are there when the delta makes them again, "file exists".
    Row(
        "it can't restore a delta of a cluster with tablespaces",
        "WAL-G 3.0.8 or newer, or choose a full base backup (walg_restore_backup)",
        purposes=(RESTORE,),
        until=(3, 0, 0),
        tablespaces=True,
        delta=True,
    ),
    # internal/storage_adapter.go of v3.0.7 and v3.0.8: "Failed to find any configured storage" before.
    Row("it does not know the storage oss://", "WAL-G 3.0.8 or newer", until=(3, 0, 8), storages=("oss",)),
)


def check_pair(
    walg: Version | None,
    pg_major: int,
    storage_kind: str,
    purpose: str,
    has_tablespaces: bool = False,
    is_delta: bool = False,
    untested: bool = False,
) -> list[str]:
    """Return why this combination can't work, one sentence each: what was found, why not, what would do.

    ``walg`` None: a build without a release's number, of which nothing can be refused. ``storage_kind`` as in _storage;
    ``purpose`` "backup" (archiving too) or "restore"; ``has_tablespaces``: the base backup has others than the default;
    ``is_delta``: it is a delta; ``untested``: a newer PostgreSQL than any that was tried is asked for anyway.
    """
    if purpose not in (BACKUP, RESTORE):
        raise ValueError(purpose)
    refusals = []
    served = f"Found PostgreSQL {pg_major}; this collection serves PostgreSQL {PG_OLDEST} to {PG_NEWEST}"
    if pg_major < PG_OLDEST:
        refusals.append(f"{served}.")
    if pg_major > PG_NEWEST and not untested:
        refusals.append(
            f"{served} and was tested with no newer one. Look for a newer release of the collection, or try this one "
            "anyway, and a restore with it, by adding this line:\n  walg_pg_untested: true\n"
        )
    if walg is not None:
        found = f"Found WAL-G {'.'.join(map(str, walg))} with PostgreSQL {pg_major} on {storage_kind}:// for {purpose}"
        refusals += [
            f"{found}: {row.reason}. Use {row.remedy} (walg_version)."
            for row in ROWS
            if row.applies(walg, pg_major, storage_kind, purpose, has_tablespaces, is_delta)
        ]
    return refusals


def refuse_unfit(version: str | None, pg_major: int, storage: str | None, purpose: str, untested: bool = False) -> None:
    """Raise WalgError if the wanted WAL-G can't serve this PostgreSQL on this storage's URL. No WAL-G, no check."""
    if not version or not storage:
        return
    wanted = None if version == "devel" else _releases.parse_version(version)
    kind = _url.kind(_url.storage_settings(storage))
    refusals = check_pair(wanted, pg_major, kind, purpose, untested=untested)
    if refusals:
        raise WalgError(" ".join(refusals), found=pg_major)
