# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on base backups: reading WAL-G's list, choosing one.

The shape of the list is the same from WAL-G 1.1.3 to 3.0.9. WAL-G is never asked for LATEST: that
is the newest *object*, which a copied bucket changes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import RefusedError, WalgError
from .._host._times import moment
from .._postgres._wal import SEGMENT_NAME, timeline_of
from . import _foreign_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Backup:
    """One base backup. Times are RFC 3339 in UTC as WAL-G wrote them, LSNs integers, sizes bytes."""

    name: str
    start_time: str
    finish_time: str
    start_lsn: int
    finish_lsn: int
    system_identifier: str | None
    pg_version: int
    data_dir: str
    hostname: str
    uncompressed_size: int
    compressed_size: int
    permanent: bool
    user_data: Any = None

    @property
    def timeline(self) -> int:
        """The timeline on which it started."""
        return timeline_of(self.name)

    @property
    def pg_major(self) -> int:
        """PostgreSQL's major version, 10 and later (140023 is 14)."""
        return self.pg_version // 10000

    @property
    def last_lsn(self) -> int:
        """The last byte of WAL that it needs to be consistent."""
        return max(self.finish_lsn - 1, self.start_lsn)

    @property
    def delta(self) -> bool:
        """True for a delta; a restore of it needs its whole chain."""
        return "_D_" in self.name


#: It becomes part of paths and of command lines.
_NAME = re.compile(r"[A-Za-z0-9_]{1,200}\Z")


def parse_list(text: str) -> list[Backup]:
    """Parse ``backup-list --detail --json``; empty text is an empty storage up to WAL-G 3.0.5."""
    if not text.strip():
        return []
    try:
        entries = _foreign_json.parse(text)
    except ValueError as exc:
        raise WalgError(f"WAL-G's backup list is not JSON: {exc}", stdout=text[:2000]) from exc
    try:
        return [_backup(entry) for entry in entries or []]
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise WalgError(
            f"WAL-G's backup list has another form than is known: {type(exc).__name__} {exc}.", stdout=text[:2000]
        ) from exc


def _backup(entry: Mapping[str, Any]) -> Backup:
    identifier = entry.get("system_identifier")
    name = str(entry["backup_name"])
    if not _NAME.match(name):
        raise ValueError(f"{name[:80]!r} is not the name of a base backup")
    return Backup(
        name=name,
        start_time=str(entry.get("start_time") or ""),
        finish_time=str(entry.get("finish_time") or ""),
        start_lsn=int(entry.get("start_lsn") or 0),
        finish_lsn=int(entry.get("finish_lsn") or 0),
        system_identifier=str(identifier) if identifier else None,
        pg_version=int(entry.get("pg_version") or 0),
        data_dir=str(entry.get("data_dir") or ""),
        hostname=str(entry.get("hostname") or ""),
        uncompressed_size=int(entry.get("uncompressed_size") or 0),
        compressed_size=int(entry.get("compressed_size") or 0),
        permanent=bool(entry.get("is_permanent")),
        user_data=entry.get("user_data"),
    )


def identifiers(backups: Iterable[Backup]) -> list[str]:
    """Return the distinct system identifiers, sorted."""
    return sorted({backup.system_identifier for backup in backups if backup.system_identifier})


def newest_first(backups: Iterable[Backup]) -> list[Backup]:
    """Sort by the end of the backup (its own record, not the object's time), newest first."""
    return sorted(
        backups, key=lambda backup: (moment(backup.finish_time), backup.finish_lsn, backup.name), reverse=True
    )


def of_cluster(backups: Iterable[Backup], system_identifier: str) -> list[Backup]:
    """Return the backups of one cluster, newest first."""
    return newest_first(backup for backup in backups if backup.system_identifier == system_identifier)


def by_segment(backups: Iterable[Backup]) -> dict[str, Backup]:
    """Return base backups by the segment in which they began, which is how a delta names the one that it rests on."""
    return {one.name.split("_")[1]: one for one in backups if one.name.startswith("base_")}


def base_of(backup: Backup, segments: Mapping[str, Backup]) -> Backup | None:
    """Return the backup that a delta rests on (base_X_D_Y on Y); None for a full one, and where it is missing."""
    return segments.get(backup.name.rpartition("_D_")[2]) if backup.delta else None


def chain(backup: Backup, backups: Iterable[Backup]) -> list[Backup]:
    """Return the backups that a restore of ``backup`` fetches: itself and, for a delta, those it rests on."""
    segments = by_segment(backups)
    found = [backup]
    while found[-1].delta:
        base = base_of(found[-1], segments)
        if base is None or base in found:
            break  # WAL-G itself will say that the base is missing
        found.append(base)
    return found


def chains(backups: Iterable[Backup]) -> list[list[Backup]]:
    """Return all chains in the order of their first members; one that begins with a delta lacks that one's base."""
    every = list(backups)
    segments = by_segment(every)
    first: dict[str, str] = {}
    for backup in every:
        way, base = {backup.name}, base_of(backup, segments)
        last = backup
        while base is not None and base.name not in way and last.name not in first:
            way.add(base.name)
            last, base = base, base_of(base, segments)
        first.update(dict.fromkeys(way, first.get(last.name, last.name)))
    found: dict[str, list[Backup]] = {}
    for backup in every:
        found.setdefault(first[backup.name], []).append(backup)
    return [sorted(members, key=lambda one: one.name != root) for root, members in found.items()]


def refuse_foreign(backups: Iterable[Backup], system_identifier: str, storage: str) -> None:
    """Raise WalgError if the storage holds base backups of another cluster."""
    foreign = [found for found in identifiers(backups) if found != system_identifier]
    if foreign:
        raise RefusedError(
            f"The storage {storage} already holds base backups of another cluster (system identifier "
            f"{', '.join(foreign)}); this cluster is {system_identifier}. WAL-G's retention would delete across both. "
            "Give this cluster a prefix of its own in walg_storage. To restore the other one here, move this one away first "
            "(Debian: pg_dropcluster).",
            found=foreign,
            wanted=system_identifier,
        )


#: Of what our own job records; whoever can write into the storage may have changed it.
_TYPES = {
    "wal_level_minimal": list,
    "limits": dict,
    "libc": str,
    "settings": dict,
    "withheld": list,
    "altered": list,
    "origins": int,
    "subscriptions": list,
}


def recorded(backup: Backup) -> Mapping[str, Any]:
    """Return what our own job wrote into a base backup's user data; empty for one that another tool took."""
    told = backup.user_data.get("mapswipe_walg") if isinstance(backup.user_data, dict) else None
    return _foreign_json.of_type(told, _TYPES) if isinstance(told, dict) else {}


def passed(backups: Iterable[Backup]) -> list[str]:
    """Return the segments that no recovery passes, as the base backups that began after them tell (see _wal_level)."""
    told = [name for backup in backups for name in recorded(backup).get("wal_level_minimal") or ()]
    return sorted({name for name in told if isinstance(name, str) and SEGMENT_NAME.match(name)})


def host_of(backup: Backup) -> dict[str, Any]:
    """Return what a backup of this collection says about the server it was taken of, for a restore on another host."""
    told = recorded(backup)
    return {"hostname": backup.hostname, "limits": told.get("limits") or {}, "libc": str(told.get("libc") or "")}


def icu_of(backup: Backup) -> str:
    """Return the version of ICU's collations that the cluster sorted by, as our own base backup recorded it."""
    return str(recorded(backup).get("icu") or "")


def differing(was: Mapping[str, Any], limits: Mapping[str, str], libc: str) -> dict[str, dict[str, str]]:
    """Compare what host_of told with a server's limits and its host's C library; what is not told is no difference."""
    then = {**(was.get("limits") or {}), "libc": was.get("libc")}
    now = {**limits, "libc": libc}
    return {
        name: {"then": str(value), "now": now[name]}
        for name, value in sorted(then.items())
        if value and name in now and str(value) != now[name]
    }


def as_dict(backup: Backup) -> dict[str, Any]:
    """Return a backup as modules return it; the identifier stays a string (it is above 2^53)."""
    return {
        "name": backup.name,
        "start_time": backup.start_time,
        "finish_time": backup.finish_time,
        "timeline": backup.timeline,
        "system_identifier": backup.system_identifier,
        "pg_version": backup.pg_version,
        "uncompressed_size": backup.uncompressed_size,
        "compressed_size": backup.compressed_size,
        "permanent": backup.permanent,
        "delta": backup.delta,
    }


def tablespaces(sentinel: Mapping[str, Any]) -> dict[str, str]:
    """Return the tablespaces of a base backup, OID -> location, from its record (key ``Spec``).

    Whoever can write into the storage may have changed that.
    """
    spec = sentinel.get("Spec") or {}
    try:
        found = {str(oid): str(spec[str(oid)]["loc"]) for oid in spec.get("tablespaces") or []}
    except (KeyError, TypeError, AttributeError):
        found = {"": ""}
    for oid, location in found.items():
        if not oid.isdecimal() or not oid.isascii() or not location.startswith("/") or not location.isprintable():
            raise WalgError(
                "The base backup's record of its tablespaces (Spec in its sentinel) is damaged, or not PostgreSQL's: "
                f"{oid or spec!r} at {location!r}. Choose another base backup (walg_restore_backup).",
                found=location,
            )
    return found
