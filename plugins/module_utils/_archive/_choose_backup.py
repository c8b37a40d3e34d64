# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on which base backup and which WAL lead to a target; what is known to be out of reach is refused here. Private.

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
class Situation:
    """What is chosen from. ``mine``: the cluster's base backups, newest first. ``uploaded``: when segments arrived (RFC 3339),
    where it is known.

    ``more``: WAL that is not in the archive may be used too (a running server that will ship it, salvage): no upper limit is known.
    """

    storage: str
    mine: Sequence[Backup]
    archive: Inventory
    uploaded: Mapping[str, str] = field(default_factory=dict)
    more: bool = False


def counts(backup: Backup, archive: Inventory) -> bool:
    """Say whether the storage holds all WAL from the start to the finish of a backup."""
    last = max(backup.finish_lsn - 1, backup.start_lsn)
    return not archive.missing_between(backup.timeline, backup.start_lsn, last)


def telling(archive: Inventory) -> set[str]:
    """Return the segments whose upload times are worth knowing: the last of each timeline, and the last before each gap."""
    found = set()
    for timeline, wal in archive.timelines.items():
        found.add(wal.end)
        for missing in wal.missing:
            number = _wal.segment_number(missing, archive.segment_size) - 1
            found.add(_wal.segment_name(timeline, number, archive.segment_size))
    return found


def choose(situation: Situation, target: Target, timeline: int, name: str = "") -> Choice:
    """Return the newest base backup that finished before the target, on a way that leads to it along ``timeline``.

    ``name``: this base backup and no other. Raises WalgError for what is known to be out of reach, with the nearest reachable point.
    """
    leading = _leading(situation, timeline)
    all_leading = [one.name for one, _legs in leading]
    if name:
        leading = [_named(situation, leading, timeline, name)]
    if not leading:
        raise _nothing(situation, timeline)
    backup, legs = _before(situation, leading, target)
    usable = {one.name for one, _legs in leading}
    skipped = [one.name for one in situation.mine[: situation.mine.index(backup)] if one.name not in usable]
    needed = _needed(situation, backup, legs, target)
    _refuse_gap(situation, leading, backup, needed, target)
    _refuse_beyond(situation, legs, target)
    older = all_leading[all_leading.index(backup.name) + 1 :]
    return Choice(backup, timeline, legs, needed, skipped, older)


def _leading(situation: Situation, timeline: int) -> list[tuple[Backup, list[Leg]]]:
    found, broken = [], _recoverable.broken_chains(situation.mine)
    for backup in situation.mine:
        legs = _wal_path.path_to(timeline, backup.start_lsn, backup.finish_lsn, backup.timeline, situation.archive)
        if legs is not None and backup.name not in broken and counts(backup, situation.archive):
            found.append((backup, legs))
    return found


def _named(
    situation: Situation, leading: list[tuple[Backup, list[Leg]]], timeline: int, name: str
) -> tuple[Backup, list[Leg]]:
    for backup, legs in leading:
        if backup.name == name:
            return backup, legs
    known = {backup.name: backup for backup in situation.mine}
    if name not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise WalgError(
            f"There is no base backup {name} of this cluster in {situation.storage}. Available: {listed}.",
            found=sorted(known),
        )
    lost = _recoverable.broken_chains(situation.mine).get(name)
    if lost or not counts(known[name], situation.archive):
        raise _nothing(situation, timeline, known[name])
    raise WalgError(
        f"The base backup {name} (timeline {known[name].timeline}, finished at {format_lsn(known[name].finish_lsn)}) does not lead "
        f"to timeline {timeline}. Those that do: {_names(leading)}.",
        wanted=[backup.name for backup, _legs in leading],
    )


def _names(leading: Sequence[tuple[Backup, Sequence[Leg]]]) -> str:
    return ", ".join(backup.name for backup, _legs in leading) or "none"


def _nothing(situation: Situation, timeline: int, backup: Backup | None = None) -> WalgError:
    archive, broken = situation.archive, _recoverable.broken_chains(situation.mine)
    for one in [backup] if backup else situation.mine:
        if one.name in broken:
            return WalgError(
                f"No base backup in {situation.storage} can be restored to timeline {timeline}: {one.name} is a delta, and its chain lacks "
                f"{broken[one.name]}, which is not in the storage.",
                missing=[broken[one.name]],
            )
        missing = archive.missing_between(one.timeline, one.start_lsn, max(one.finish_lsn - 1, one.start_lsn))
        if missing:
            return WalgError(
                f"No base backup in {situation.storage} can be restored to timeline {timeline}: WAL that each of them needs is missing "
                f"(for {one.name}: {', '.join(missing[:5])}).",
                missing=missing,
            )
    known = ", ".join(str(number) for number in sorted(archive.timelines)) or "none"
    return WalgError(
        f"No base backup in {situation.storage} leads to timeline {timeline}. The archive holds WAL of the timelines {known}.",
        wanted=timeline,
    )


def _before(situation: Situation, leading: list[tuple[Backup, list[Leg]]], target: Target) -> tuple[Backup, list[Leg]]:
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
        f"The earliest point that can be reached from {situation.storage}: LSN {format_lsn(first.finish_lsn)}, time {first.finish_time}.",
        found=target.value,
        wanted={"lsn": format_lsn(first.finish_lsn), "time": first.finish_time},
    )


def cut(legs: Sequence[Leg], lsn: int, size: int) -> list[Leg]:
    """Return the legs up to and with the segment that holds ``lsn``; where a timeline was left, the next one has that segment."""
    kept: list[Leg] = []
    for leg in legs:
        if leg.last is not None and lsn // size >= leg.last // size:
            kept.append(leg)
            continue
        return [*kept, Leg(leg.timeline, leg.first, (lsn // size + 1) * size)]
    return kept


def _needed(situation: Situation, backup: Backup, legs: Sequence[Leg], target: Target) -> Sequence[Leg]:
    size = situation.archive.segment_size
    if target.kind == "immediate":
        return cut(legs, max(backup.finish_lsn - 1, backup.start_lsn), size)
    if target.lsn is not None:
        return cut(legs, target.lsn, size)
    return legs


def end_lsn(legs: Sequence[Leg], archive: Inventory) -> int:
    """Return the end of the last segment that the archive holds on the last leg's timeline."""
    last = archive.last(legs[-1].timeline)
    return (_wal.segment_number(last, archive.segment_size) + 1) * archive.segment_size if last else legs[-1].first


def _refuse_gap(
    situation: Situation, leading: list[tuple[Backup, list[Leg]]], backup: Backup, needed: Sequence[Leg], target: Target
) -> None:
    """Refuse what needs WAL that is not there. A time, a transaction or a name may lie before the gap: only what is known is refused."""
    archive = situation.archive
    beyond = end_lsn(needed, archive)
    if target.lsn is not None and target.lsn >= beyond:
        return  # above the end: said by _refuse_beyond
    missing = _wal_path.gaps(needed, archive)
    if not missing:
        return
    size = archive.segment_size
    start = _wal.segment_number(missing[0], size) * size
    if target.kind in ("xid", "name") or (
        target.moment is not None and not _after(situation, missing[0], target.moment)
    ):
        return
    above = [one for one, _legs in leading if one.finish_lsn > start]
    nearest = f"LSN {format_lsn(start)} before it"
    if above:
        nearest += f"; LSN {format_lsn(above[-1].finish_lsn)} (time {above[-1].finish_time}, base backup {above[-1].name}) after it"
    raise WalgError(
        f"The archive has a gap: {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''} ({len(missing)} in all) after the base "
        f"backup {backup.name} {'is' if len(missing) == 1 else 'are'} not in {situation.storage}, and the target {target.shown()} needs "
        f"them. Nearest reachable points: {nearest}.",
        missing=missing,
    )


def _after(situation: Situation, missing: str, wanted: datetime) -> bool:
    """Say whether a time is known to lie after the WAL before a gap: what was uploaded then was committed before."""
    size = situation.archive.segment_size
    number = _wal.segment_number(missing, size) - 1
    before = situation.uploaded.get(_wal.segment_name(_wal.timeline_of(missing), number, size))
    return before is not None and wanted > _times.moment(before) + _CLOCKS


def _refuse_beyond(situation: Situation, legs: Sequence[Leg], target: Target) -> None:
    if situation.more:
        return
    archive, last = situation.archive, situation.archive.last(legs[-1].timeline)
    end = end_lsn(legs, archive)
    if target.lsn is not None and target.lsn >= end:
        raise WalgError(
            f"The target {target.shown()} is after the end of the archive, whose last segment {last} ends at {format_lsn(end)}. "
            "Choose an earlier one, or the latest state (walg_restore_target: latest).",
            found=target.value,
            wanted=format_lsn(end),
        )
    arrived = situation.uploaded.get(last or "")
    if target.moment is not None and arrived and target.moment > _times.moment(arrived) + _CLOCKS:
        raise WalgError(
            f"The target {target.shown()} is later than anything in the archive: its last segment, {last}, was "
            f"uploaded at {arrived}. No WAL is missing, so the state at that time is the latest one: use "
            "walg_restore_target: latest.",
            found=target.value,
            wanted=arrived,
        )
