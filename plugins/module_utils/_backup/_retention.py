# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules: what retention deletes of an archive, object by object, and which windows stay. Pure; nothing is deleted that no plan names."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .._archive import _recoverable
from .._errors import RefusedError, WalgError
from .._host._counts import many
from .._postgres import _wal
from .._walg._objects import BACKUPS, WAL
from . import _keep, _needed_wal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from .._archive._recoverable import Window
    from .._instance._job_spec import Retention
    from .._walg._backups import Backup
    from .._walg._objects import Object
    from ._keep import Kept, Known

SENTINEL = "_backup_stop_sentinel.json"
#: Seconds by which the storage must have moved on since the last object of a base backup that never ended.
REST = 86400.0
_FOLDER = re.compile(r"base_[0-9A-F]{24}(?:_D_[0-9A-F]{24})?\Z")
_MOST = 36500  # days and numbers: 100 years


@dataclass(frozen=True)
class Drop:
    """A base backup, or what is left of one, that goes. ``objects``: names below the prefix, in the order in which they are deleted."""

    name: str
    reason: str
    objects: tuple[str, ...]
    bytes: int


@dataclass(frozen=True)
class Plan:
    """``drop``: a delta comes before its base. ``wal``: objects, in order. ``unmark``: permanent until a time that has come.

    ``counting``: the base backups that count before; ``before`` and ``after`` are the windows.
    """

    keep: Sequence[Kept]
    drop: Sequence[Drop]
    leftovers: Sequence[Drop]
    wal: Sequence[str]
    wal_bytes: int
    ranges: Sequence[Mapping[str, object]]
    unmark: Sequence[str]
    counting: frozenset[str]
    before: Sequence[Window]
    after: Sequence[Window]

    def empty(self) -> bool:
        """Say whether there is nothing to do."""
        return not (self.drop or self.leftovers or self.wal or self.unmark)

    def bytes(self) -> int:
        """Return the bytes of all that goes."""
        return self.wal_bytes + sum(one.bytes for one in (*self.drop, *self.leftovers))

    def segments(self) -> int:
        """Return how many segments go."""
        return sum(int(str(one["segments"])) for one in self.ranges)


def check(policy: Retention) -> None:
    """Raise WalgError for a policy that can't be meant."""
    for name, number in asdict(policy).items():
        if not 0 <= number <= _MOST:
            raise RefusedError(
                f"{name} of the retention is {number}; expected a whole number from 0 to {_MOST}.", found=number
            )
    if not any(asdict(policy).values()):
        raise RefusedError(
            "This retention keeps nothing: days, backups, weekly, monthly, minimum_backups and minimum_days are all 0. Nothing is deleted. "
            "Set at least one of them; to delete nothing ever, turn retention off."
        )


def plan(policy: Retention, known: Known, wal: Sequence[Object], files: Sequence[Object], now: datetime) -> Plan:
    """Return what goes of an archive. ``wal`` and ``files``: what is in WAL-G's two folders, listed before ``known`` was.

    Raises WalgError if nothing that counts would stay, or where what stays would not be whole: then nothing may be deleted.
    """
    check(policy)
    counting = known.counting
    if not known.leading(known.lines[0]):
        raise RefusedError(
            f"No base backup that counts leads to timeline {known.lines[0]}, on which the server is, so nothing is deleted: see "
            "walg_backup_info for why none counts. Take one first.",
            found=known.lines[0],
        )
    kept = _keep.keep(policy, known, now)
    names = {one.name for one in kept}
    by_name = {one.name: one for one in known.backups}
    need = _needed_wal.needed(
        (by_name[one.name] for one in kept if not one.alone),
        (by_name[one.name] for one in kept if one.alone),
        known.archive,
    )
    gone = _needed_wal.unneeded(wal, need, known.archive, now.timestamp() - policy.minimum_days * 86400)
    folders = _by_backup(files)
    drop = [
        _drop(one, folders.get(one.name, []), _why(one, counting, known, policy))
        for one in dependants_first(known)
        if one.name not in names
    ]
    left = [by_name[one.name] for one in kept]
    made = Plan(
        kept,
        drop,
        _leftovers(folders, by_name, [*wal, *files]),
        [f"{WAL}/{one.name}" for one in gone.objects],
        sum(one.size for one in gone.objects),
        _needed_wal.ranges_of(gone.segments, known.archive.segment_size),
        [one.name for one in dependants_first(known) if _ended(one, kept, known, now)],
        counting,
        known.windows,
        _recoverable.windows(left, _needed_wal.without(known.archive, gone.segments)),
    )
    _prove(made)
    return made


def _ended(backup: Backup, kept: Iterable[Kept], known: Known, now: datetime) -> bool:
    """Say whether a backup that stays becomes an ordinary one; not while a permanent one is based on it."""
    if not backup.permanent or not _keep.expired(backup, known.notes, now):
        return False
    heirs = [one for one in known.backups if one.permanent and not _keep.expired(one, known.notes, now)]
    based = any(backup.name in (one.name, *(base.name for base in known.bases(one))) for one in heirs)
    return not based and any(one.name == backup.name for one in kept)


def _prove(made: Plan) -> None:
    """Raise WalgError unless all that stays can be restored as before, and as far as before: the rules are not believed blindly."""
    fine = {name for window in made.after for name in window.backups}
    lost = [one.name for one in made.keep if one.name in made.counting and one.name not in fine]
    reach = {(window.timeline, name): window.last.lsn for window in made.after for name in window.backups}
    whole = {one.name for one in made.keep if not one.alone}
    for window in made.before:
        lost += [
            name for name in window.backups if name in whole and reach.get((window.timeline, name), 0) < window.last.lsn
        ]
    if lost:
        raise WalgError(
            f"The plan would damage {lost[0]}, which should stay. This is a defect of the collection; nothing is deleted. Please report it "
            "with the answer of walg_backup_info.",
            found=sorted(set(lost)),
        )


def _by_backup(files: Iterable[Object]) -> dict[str, list[Object]]:
    """Return what belongs to each base backup by name: its record, and all in its folder."""
    found: dict[str, list[Object]] = {}
    for one in files:
        name, slash, _rest = one.name.partition("/")
        if not slash:
            name = name[: -len(SENTINEL)] if name.endswith(SENTINEL) else ""
        if name:
            found.setdefault(name, []).append(one)
    return found


def _drop(backup: Backup, objects: Sequence[Object], reason: str) -> Drop:
    return Drop(backup.name, reason, *_ordered(objects))


def _ordered(objects: Sequence[Object]) -> tuple[tuple[str, ...], int]:
    """Return names and bytes: first the record, with which the backup is no longer listed, then what describes it, then the parts."""

    def place(one: Object) -> tuple[int, str]:
        parts = one.name.split("/")
        return (0 if len(parts) == 1 else 1 if len(parts) == 2 else 2, one.name)

    return tuple(f"{BACKUPS}/{one.name}" for one in sorted(objects, key=place)), sum(one.size for one in objects)


def _leftovers(
    folders: Mapping[str, Sequence[Object]], listed: Mapping[str, Backup], every: Iterable[Object]
) -> list[Drop]:
    """Return what is left of base backups that never ended, or whose deletion was interrupted, after a day of rest."""
    newest = max((one.time for one in every), default=0.0)
    found = []
    for name, objects in sorted(folders.items()):
        ended = name in listed or any("/" not in one.name for one in objects)
        if _FOLDER.match(name) and not ended and max(one.time for one in objects) <= newest - REST:
            found.append(Drop(name, "it has no record: it never ended", *_ordered(objects)))
    return found


def dependants_first(known: Known) -> list[Backup]:
    """Return the base backups so that none comes after one that is based on it."""
    depth = {one.name: len(known.bases(one)) for one in known.backups}
    return sorted(known.backups, key=lambda one: (-depth[one.name], one.name))


def _why(backup: Backup, counting: frozenset[str], known: Known, policy: Retention) -> str:
    if backup.name not in counting:
        return "it can't be restored: its own WAL or its chain is not whole"
    if backup.name in known.spoiled:
        return "it has corrupt blocks, and no rule keeps it"
    return f"no rule keeps it ({', '.join(f'{name}={number}' for name, number in asdict(policy).items() if number)})"


def as_dict(made: Plan) -> dict[str, Any]:
    """Return the plan as modules and the job return it."""
    return {
        "keep": [{"name": one.name, "reasons": list(one.reasons)} for one in made.keep],
        "delete": [_shown(one) for one in made.drop],
        "wal": {"segments": made.segments(), "bytes": made.wal_bytes, "ranges": [dict(one) for one in made.ranges]},
        "leftovers": [_shown(one) for one in made.leftovers],
        "unmark": list(made.unmark),
        "windows_before": [_window(one) for one in made.before],
        "windows_after": [_window(one) for one in made.after],
        "bytes": made.bytes(),
    }


def _shown(drop: Drop) -> dict[str, Any]:
    return {"name": drop.name, "reason": drop.reason, "bytes": drop.bytes, "objects": len(drop.objects)}


def _window(window: Window) -> dict[str, Any]:
    return {
        "timeline": window.timeline,
        "first_time": window.first.time,
        "first_lsn": _wal.format_lsn(window.first.lsn),
        "last_lsn": _wal.format_lsn(window.last.lsn),
        "backups": len(window.backups),
        "missing": window.missing,
    }


def text(made: Plan, done: bool) -> str:
    """Return one line for people."""
    if made.empty():
        return "nothing to delete"
    parts = [
        many(number, word)
        for number, word in (
            (len(made.drop), "base backup"),
            (made.segments(), "segment"),
            (len(made.leftovers), "leftover"),
            (len(made.unmark), "mark"),
        )
        if number
    ]
    return f"{'deleted' if done else 'would delete'} {', '.join(parts)} ({made.bytes()} bytes)"


def diff(made: Plan) -> dict[str, str]:
    """Return the plan as before and after, for people."""
    stays = [f"base backup {one.name}" for one in made.keep]
    goes = [f"base backup {one.name}, {one.bytes} bytes: {one.reason}" for one in (*made.drop, *made.leftovers)]
    wal = [f"WAL {one['first']} to {one['last']}, {many(int(str(one['segments'])), 'segment')}" for one in made.ranges]
    before, after = (
        [
            f"window on timeline {one['timeline']}: {one['first_time']} ({one['first_lsn']}) to {one['last_lsn']}, "
            f"{many(one['backups'], 'base backup')}"
            for one in map(_window, windows)
        ]
        for windows in (made.before, made.after)
    )
    return {"before": _lines([*before, *stays, *goes, *wal]), "after": _lines([*after, *stays])}


def _lines(rows: Iterable[str]) -> str:
    return "".join(f"{row}\n" for row in rows)


def holding(
    made: Plan, known: Known, wal: Iterable[Object], held: Iterable[str], policy: Retention, now: datetime
) -> list[str]:
    """Return the WAL that goes when base backups of the plan can't be deleted (``held``): those keep their own."""
    by_name = {one.name: one for one in known.backups}
    need = _needed_wal.needed(
        (by_name[one.name] for one in made.keep if not one.alone),
        (by_name[name] for name in {*(one.name for one in made.keep if one.alone), *held}),
        known.archive,
    )
    youngest = (now - timedelta(days=policy.minimum_days)).timestamp()
    return [f"{WAL}/{one.name}" for one in _needed_wal.unneeded(wal, need, known.archive, youngest).objects]
