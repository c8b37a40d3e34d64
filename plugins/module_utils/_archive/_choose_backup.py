# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on which base backup and which WAL lead to a target; what is known to be out of reach is rejected here.

LSNs are facts; a time is one only where a record of WAL-G's has it (the end of a base backup). When a segment was uploaded
is no commit's time, but an upper bound of it: nothing in a segment was committed after its upload.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _times
from .._postgres import _wal
from .._postgres._wal import format_lsn
from . import _recoverable, _wal_path
from ._wal_path import Leg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from .._postgres._targets import Target
    from .._walg._backups import Backup
    from .._walg._inventory import Inventory

#: How far the clocks of the storage and of the database host may be apart; within that, only replay can tell.
_CLOCKS = timedelta(minutes=1)


@dataclass(frozen=True)
class Choice:
    """``legs``: from the base backup to the end of what the archive has on ``timeline``; ``needed``: those up to the target, as far
    as it is known. ``skipped``: newer base backups that were passed over; ``older``: others that
    lead there as well, the newest first.
    """

    backup: Backup
    timeline: int
    legs: Sequence[Leg]
    needed: Sequence[Leg]
    skipped: Sequence[str] = ()
    older: Sequence[str] = ()


@dataclass(frozen=True)
class ArchiveView:
    """What is chosen from. ``mine``: the cluster's base backups, newest first. ``uploaded``: when segments arrived (RFC 3339),
    where it is known.

    ``more``: WAL that is not in the archive may be used too (a running server that will ship it, salvage): no upper limit is known.
    """

    storage: str
    mine: Sequence[Backup]
    archive: Inventory
    uploaded: Mapping[str, str] = field(default_factory=dict)
    more: bool = False


def segments_worth_dating(archive: Inventory) -> set[str]:
    """Return the segments whose upload times are worth knowing: the last of each timeline, and the last before each gap."""
    found = set()
    for timeline, wal in archive.timelines.items():
        found.add(wal.end)
        for missing in wal.missing:
            number = _wal.segment_number(missing, archive.segment_size) - 1
            found.add(_wal.segment_name(timeline, number, archive.segment_size))
    return found


def pick(view: ArchiveView, target: Target, timeline: int, name: str = "") -> Choice:
    """Return the newest base backup that finished before the target, on a way that leads to it along ``timeline``.

    ``name``: this base backup and no other. Raises WalgError for what is known to be out of reach, with the nearest reachable point.
    """
    leading = _leading(view, timeline)
    all_leading = [one.name for one, _legs in leading]
    if name:
        leading = [_named(view, leading, timeline, name)]
    if not leading:
        raise _nothing(view, timeline)
    backup, legs = _before(view, leading, target)
    usable = {one.name for one, _legs in leading}
    skipped = [one.name for one in view.mine[: view.mine.index(backup)] if one.name not in usable]
    needed = _needed(view, backup, legs, target)
    _refuse_gap(view, leading, backup, needed, target)
    _refuse_beyond(view, legs, target)
    older = all_leading[all_leading.index(backup.name) + 1 :]
    return Choice(backup, timeline, legs, needed, skipped, older)


def _leading(view: ArchiveView, timeline: int) -> list[tuple[Backup, list[Leg]]]:
    """Return the base backups of the windows of a timeline, newest first, each with its way."""
    found = _recoverable.windows(view.mine, view.archive, timelines=[timeline])
    inside = {name for window in found for name in window.backups}
    ways = [(one, _path(view, one, timeline)) for one in view.mine if one.name in inside]
    return [(one, legs) for one, legs in ways if legs is not None]


def _path(view: ArchiveView, backup: Backup, timeline: int) -> list[Leg] | None:
    return _wal_path.path_to(timeline, backup.start_lsn, backup.finish_lsn, backup.timeline, view.archive)


def _named(
    view: ArchiveView, leading: list[tuple[Backup, list[Leg]]], timeline: int, name: str
) -> tuple[Backup, list[Leg]]:
    for backup, legs in leading:
        if backup.name == name:
            return backup, legs
    known = {backup.name: backup for backup in view.mine}
    if name not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise WalgError(
            f"There is no base backup {name} of this cluster in {view.storage}. Available: {listed}.",
            found=sorted(known),
        )
    lost = _recoverable.broken_chains(view.mine).get(name)
    if lost or _wal_path.lacking(known[name], timeline, view.archive):
        raise _nothing(view, timeline, known[name])
    raise WalgError(
        f"The base backup {name} (timeline {known[name].timeline}, finished at {format_lsn(known[name].finish_lsn)}) does not lead "
        f"to timeline {timeline}. Those that do: {_names(leading)}.",
        wanted=[backup.name for backup, _legs in leading],
    )


def _names(leading: Sequence[tuple[Backup, Sequence[Leg]]]) -> str:
    return ", ".join(backup.name for backup, _legs in leading) or "none"


def _nothing(view: ArchiveView, timeline: int, backup: Backup | None = None) -> WalgError:
    archive, broken = view.archive, _recoverable.broken_chains(view.mine)
    for one in [backup] if backup else view.mine:
        if one.name in broken:
            return WalgError(
                f"No base backup in {view.storage} can be restored to timeline {timeline}: {one.name} is a delta, and its chain lacks "
                f"{broken[one.name]}, which is not in the storage.",
                missing=[broken[one.name]],
            )
        missing = _wal_path.lacking(one, timeline, archive)
        if missing:
            return WalgError(
                f"No base backup in {view.storage} can be restored to timeline {timeline}: WAL that each of them needs is missing "
                f"(for {one.name}: {', '.join(missing[:5])}).",
                missing=missing,
            )
    known = ", ".join(str(number) for number in sorted(archive.timelines)) or "none"
    return WalgError(
        f"No base backup in {view.storage} leads to timeline {timeline}. The archive holds WAL of the timelines {known}.",
        wanted=timeline,
    )


def _before(view: ArchiveView, leading: list[tuple[Backup, list[Leg]]], target: Target) -> tuple[Backup, list[Leg]]:
    """Return the newest that finished before the target; any target but a time or an LSN is looked for from the newest."""
    for backup, legs in leading:
        if target.lsn is not None and backup.finish_lsn > target.lsn:
            continue
        if target.moment is not None and _times.moment(backup.finish_time) > target.moment:
            continue
        return backup, legs
    first = leading[-1][0]
    raise WalgError(
        f"The target {target.shown()} is before the end of the first base backup that could lead there, {first.name}. "
        f"The earliest point that can be reached from {view.storage}: LSN {format_lsn(first.finish_lsn)}, time {first.finish_time}.",
        found=target.value,
        wanted={"lsn": format_lsn(first.finish_lsn), "time": first.finish_time},
    )


def _needed(view: ArchiveView, backup: Backup, legs: Sequence[Leg], target: Target) -> Sequence[Leg]:
    size = view.archive.segment_size
    if target.kind == "immediate":
        return _wal_path.cut(legs, backup.last_lsn, size)
    if target.lsn is not None and target.lsn < end_lsn(legs, view.archive):
        return _wal_path.cut(legs, target.lsn, size)
    return legs


def end_lsn(legs: Sequence[Leg], archive: Inventory) -> int:
    """Return the end of the last segment that the archive holds on the last leg's timeline."""
    last = archive.last(legs[-1].timeline)
    return (_wal.segment_number(last, archive.segment_size) + 1) * archive.segment_size if last else legs[-1].first


def _refuse_gap(
    view: ArchiveView, leading: list[tuple[Backup, list[Leg]]], backup: Backup, needed: Sequence[Leg], target: Target
) -> None:
    """Refuse what needs WAL that is not there. A time, a transaction or a name may lie before the gap: only what is known is rejected."""
    archive = view.archive
    missing = _wal_path.gaps(needed, archive)
    if not missing:
        return
    size = archive.segment_size
    start = _wal.segment_number(missing[0], size) * size
    if target.kind in ("xid", "name") or (target.moment is not None and not _after(view, missing[0], target.moment)):
        return
    above = [one for one, _legs in leading if one.finish_lsn > start]
    nearest = f"LSN {format_lsn(start)} before it"
    if above:
        nearest += f"; LSN {format_lsn(above[-1].finish_lsn)} (time {above[-1].finish_time}, base backup {above[-1].name}) after it"
    raise WalgError(
        f"The archive has a gap: {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''} ({len(missing)} in all) after the base "
        f"backup {backup.name} {'is' if len(missing) == 1 else 'are'} not in {view.storage}, and the target {target.shown()} needs "
        f"them. Nearest reachable points: {nearest}.",
        missing=missing,
    )


def _after(view: ArchiveView, missing: str, wanted: datetime) -> bool:
    """Say whether a time is known to lie after the WAL before a gap: what was uploaded then was committed before."""
    size = view.archive.segment_size
    number = _wal.segment_number(missing, size) - 1
    before = view.uploaded.get(_wal.segment_name(_wal.timeline_of(missing), number, size))
    return before is not None and wanted > _times.moment(before) + _CLOCKS


def _refuse_beyond(view: ArchiveView, legs: Sequence[Leg], target: Target) -> None:
    if view.more:
        return
    archive, last = view.archive, view.archive.last(legs[-1].timeline)
    end = end_lsn(legs, archive)
    if target.lsn is not None and target.lsn >= end:
        raise WalgError(
            f"The target {target.shown()} is after the end of the archive, whose last segment {last} ends at {format_lsn(end)}. "
            "Choose an earlier one, or the latest state (walg_restore_target: latest).",
            found=target.value,
            wanted=format_lsn(end),
        )
    arrived = view.uploaded.get(last or "")
    if target.moment is not None and arrived and target.moment > _times.moment(arrived) + _CLOCKS:
        raise WalgError(
            f"The target {target.shown()} is later than anything in the archive: its last segment, {last}, was "
            f"uploaded at {arrived}. No WAL is missing, so the state at that time is the latest one: use "
            "walg_restore_target: latest.",
            found=target.value,
            wanted=arrived,
        )
