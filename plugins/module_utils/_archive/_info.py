# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: what an archive holds and which points it can be restored to. Changes nothing."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _times
from .._postgres import _wal
from .._walg import _backups, _inventory, _segment_size
from .._walg._client import Walg
from . import _ownership, _recoverable, _trunk, _wal_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from .._host._process import Runner
    from .._instance._record import Instance
    from .._walg._backups import Backup
    from .._walg._client import Walg
    from .._walg._inventory import Inventory
    from ._owner import Owner
    from ._ownership import StoragePrefix
    from ._recoverable import Bound, Window
    from ._trunk import Trunk

#: Segments that are read back from a window's end in search of a commit; an idle server writes some without any.
_READ_BACK = 16


def read(runner: Runner, instance: Instance, now: datetime, *, read_last_commit: bool = False) -> dict[str, Any]:
    """Return backups, chains, timelines and recoverable windows of an instance's archive, and whose it is by its marker."""
    return look(Walg.of(runner, instance), instance, now, read_last_commit=read_last_commit)[0]


def look(
    walg: Walg, instance: Instance, now: datetime, *, read_last_commit: bool = False
) -> tuple[dict[str, Any], StoragePrefix | None]:
    """Return the same, and where the marker stands (None: there is none, or it can't be read)."""
    listed = _oldest_first(walg.backups())
    size = _segment_size.of(instance, listed)
    table = walg.wal_table_if_any() if listed else ""
    archive = walg.archive(size, listed, _inventory.names_in(table) if table else None)
    clusters = _clusters(listed)
    found = {one: _recoverable.windows(members, archive) for one, members in clusters.items()}
    ends = {_end(window, archive) for windows in found.values() for window in windows}
    ends |= {wal.end for wal in archive.timelines.values() if wal.end}
    uploaded = _inventory.upload_times(table or walg.wal_table(), ends) if ends else {}
    found = {one: _recoverable.windows(members, archive, uploaded) for one, members in clusters.items()}
    there = _backups.identifiers(listed)
    own = instance.cluster.system_identifier or (there[0] if len(there) == 1 else "")
    owner, place, problem = _owner_of(walg)
    ours = owner if owner and owner.system_identifier == own else None
    trunk = _trunk.trunk(
        archive, clusters.get(own, []), ours.timeline if ours else None, ours.highest_timeline if ours else 0
    )
    commits: list[dict[str, Any]] = []
    if read_last_commit:
        found[own], commits = _read_ends(walg, found.get(own, []), trunk, archive)
    reasons = {
        name: why
        for one, members in clusters.items()
        for name, why in _recoverable.unrestorable(members, archive, found[one]).items()
    }
    answer = {
        "owner": asdict(owner) if owner else None,
        "owner_problem": problem,
        "system_identifiers": there,
        "foreign": [one for one in there if one != own],
        "backups": [_backup(one, reasons, own, now) for one in listed],
        "chains": [_chain(members) for members in _backups.chains(listed)],
        "timelines": [_timeline(one, archive, trunk, uploaded) for one in sorted(archive.timelines)],
        "trunk": {"timeline": trunk.timeline, "candidates": list(trunk.candidates), "reason": trunk.reason},
        "windows": [_window(window, one or None) for one, windows in found.items() for window in windows],
        "last_commits": commits,
        "ages": _ages(clusters.get(own, []), reasons, trunk, archive, uploaded, now),
        "segment_size": size,
    }
    return answer, place


def _owner_of(walg: Walg) -> tuple[Owner | None, StoragePrefix | None, str | None]:
    """Return the archive's marker and its place, or why it can't be read: an archive with a damaged one is looked at all the more."""
    try:
        return (*_ownership.find(walg), None)
    except WalgError as exc:
        return None, None, exc.msg


def _oldest_first(listed: Sequence[Backup]) -> list[Backup]:
    """Sort by the ends of the backups: WAL-G's own order is that of the objects' times, which a copied bucket changes."""
    known = [one for one in listed if one.finish_time]
    return [one for one in listed if not one.finish_time] + _backups.newest_first(known)[::-1]


def _clusters(listed: Iterable[Backup]) -> dict[str, list[Backup]]:
    """Return the base backups by system identifier ("" where WAL-G did not record one)."""
    found: dict[str, list[Backup]] = {}
    for backup in listed:
        found.setdefault(backup.system_identifier or "", []).append(backup)
    return found


def _end(window: Window, archive: Inventory) -> str:
    """Return the name of the last segment of a window."""
    number = window.last.lsn // archive.segment_size - 1
    return _wal.segment_name(window.last.timeline, number, archive.segment_size)


def _read_ends(
    walg: Walg, found: Sequence[Window], trunk: Trunk, archive: Inventory
) -> tuple[list[Window], list[dict[str, Any]]]:
    """Read the end of the last window of each timeline that "latest" may follow: that makes its bound known."""
    last = {window.timeline: window for window in found if window.timeline in trunk.candidates}
    read = {window: _read_end(walg, window, archive) for window in last.values()}
    return [read[one][0] if one in read else one for one in found], [commit for _window, commit in read.values()]


def _read_end(walg: Walg, window: Window, archive: Inventory) -> tuple[Window, dict[str, Any]]:
    size = archive.segment_size
    last, end = None, window.last.lsn // size
    first = max(window.first.lsn // size, end - _READ_BACK)
    for number in range(end - 1, first - 1, -1):
        content = walg.segment_content(_wal_path.name_at(window.timeline, number, archive), size)
        last = content.last_record if last is None else last
        if content.commit_time is not None and content.last_commit is not None and last is not None:
            bound = replace(window.last, lsn=last, time=content.commit_time, lsn_known=True, time_known=True)
            commit = {"timeline": window.timeline, "time": content.commit_time, **_lsn("lsn", content.last_commit)}
            return replace(window, last=bound), {**commit, "segments_read": end - number}
    none = {"timeline": window.timeline, "time": None, "lsn": None, "lsn_int": None, "segments_read": end - first}
    return window, none


def _lsn(name: str, lsn: int) -> dict[str, Any]:
    return {name: _wal.format_lsn(lsn), f"{name}_int": lsn}


def _backup(backup: Backup, reasons: dict[str, str], own: str, now: datetime) -> dict[str, Any]:
    finished = _times.moment(backup.finish_time) if backup.finish_time else None
    return {
        **_backups.as_dict(backup),
        **_lsn("start_lsn", backup.start_lsn),
        **_lsn("finish_lsn", backup.finish_lsn),
        "delta_base": f"base_{backup.name.rpartition('_D_')[2]}" if backup.delta else None,
        "hostname": backup.hostname,
        "data_dir": backup.data_dir,
        "user_data": backup.user_data,
        "foreign": (backup.system_identifier or "") != own,
        "restorable": backup.name not in reasons,
        "reason": reasons.get(backup.name),
        "age": round((now - finished).total_seconds(), 3) if finished else None,
    }


def _chain(members: Sequence[Backup]) -> dict[str, Any]:
    whole = not members[0].delta
    return {
        "full": members[0].name if whole else None,
        "deltas": [one.name for one in members if one.delta],
        "system_identifier": members[0].system_identifier,
        "uncompressed_size": sum(one.uncompressed_size for one in members),
        "compressed_size": sum(one.compressed_size for one in members),
    }


def _timeline(timeline: int, archive: Inventory, trunk: Trunk, uploaded: dict[str, str]) -> dict[str, Any]:
    wal = archive.timelines[timeline]
    return {
        "timeline": timeline,
        "parent": wal.parent,
        "switch_lsn": _wal.format_lsn(wal.switch_lsn) if wal.switch_lsn else None,
        "switch_lsn_int": wal.switch_lsn,
        "first_segment": wal.start or None,
        "last_segment": wal.end or None,
        "last_uploaded": uploaded.get(wal.end),
        "orphan": timeline in trunk.orphans,
        "gaps": [
            {"first": first, "last": last, "segments": count}
            for first, last, count in _recoverable.missing_ranges(timeline, archive)
        ],
    }


def _window(window: Window, identifier: str | None) -> dict[str, Any]:
    return {
        "system_identifier": identifier,
        "timeline": window.timeline,
        "first": _bound(window.first),
        "last": _bound(window.last),
        "backups": list(window.backups),
        "missing": window.missing,
    }


def _bound(bound: Bound) -> dict[str, Any]:
    return {
        "timeline": bound.timeline,
        **_lsn("lsn", bound.lsn),
        "lsn_known": bound.lsn_known,
        "time": bound.time,
        "time_known": bound.time_known,
    }


def _ages(
    mine: Sequence[Backup],
    reasons: dict[str, str],
    trunk: Trunk,
    archive: Inventory,
    uploaded: dict[str, str],
    now: datetime,
) -> dict[str, Any]:
    """Return seconds since the newest restorable base backup ended and since the newest segment of the trunk was uploaded."""
    ends = [_times.moment(one.finish_time) for one in mine if one.finish_time and one.name not in reasons]
    last = uploaded.get(archive.last(trunk.timeline) or "") if trunk.timeline else None
    return {
        "backup": round((now - max(ends)).total_seconds(), 3) if ends else None,
        "wal": round((now - _times.moment(last)).total_seconds(), 3) if last else None,
    }
