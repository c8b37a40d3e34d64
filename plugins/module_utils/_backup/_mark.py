# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: a base backup is permanent, for ever or until a time, or ordinary. WAL-G keeps the mark, the notes in the storage keep the time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._archive import _notes, _ownership
from .._errors import WalgError
from .._host import _locks, _times
from .._walg import _backups
from .._walg._client import Walg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from .._archive._notes import Notes
    from .._host._process import Runner
    from .._instance._record import Instance
    from .._walg._backups import Backup
    from .._walg._client import Walg


@dataclass(frozen=True)
class Wanted:
    """``until``: RFC 3339, "" for ever."""

    name: str
    permanent: bool = True
    until: str = ""

    def check(self, now: datetime) -> None:
        """Raise WalgError for a time that can't be meant."""
        if not self.until:
            return
        if not self.permanent:
            raise WalgError(
                "until is given, but permanent is false: an ordinary base backup has no such time. Leave it out."
            )
        if _times.moment(self.until) <= now:
            raise WalgError(f"until is {self.until}, which is past. Give a time to come.", found=self.until)


@dataclass(frozen=True)
class MarkPlan:
    """``marks``: whether it will be permanent, by name, in the order in which WAL-G is told. ``notes``: as they will be."""

    marks: Mapping[str, bool]
    notes: Notes
    changed: Sequence[str]


def ensure(runner: Runner, instance: Instance, wanted: Wanted, now: datetime, *, dry: bool) -> dict[str, Any]:
    """Mark a base backup, or unmark it; run as the cluster's owner. Raises WalgError. Returns changed, marked, permanent and a diff."""
    wanted.check(now)
    walg = Walg.of(runner, instance)
    if instance.cluster.system_identifier:
        _ownership.refuse_other_cluster(walg, instance.cluster.system_identifier)
    if dry:
        listed, notes = walg.backups(), _notes.read(walg)
        return _answer(plan(wanted, listed, notes, walg.storage), listed, notes)
    with _locks.locked(instance.files.backup_lock, f"A base backup or a deletion of the instance {instance.name!r}"):
        listed, notes = walg.backups(), _notes.read(walg)
        made = plan(wanted, listed, notes, walg.storage)
        # A time too early would let go what is marked for longer; so the notes come first where they protect more, and last where less.
        if wanted.permanent and not wanted.until:
            _write(walg, made, notes, listed)
        for name, permanent in made.marks.items():
            walg.mark(name, permanent=permanent)
        _write(walg, made, notes, listed)
        return _answer(made, listed, notes)


def _write(walg: Walg, made: MarkPlan, before: Notes, listed: Sequence[Backup]) -> None:
    if made.notes != before and _notes.read(walg) != made.notes:
        _notes.write(walg, made.notes, {one.name for one in listed})


def plan(wanted: Wanted, listed: Sequence[Backup], notes: Notes, storage: str) -> MarkPlan:
    """Decide what is marked. What a delta is based on is permanent as long as it is."""
    by_name = {one.name: one for one in listed}
    backup = by_name.get(wanted.name)
    if backup is None:
        raise WalgError(
            f"There is no base backup {wanted.name!r} in {storage}. Those that are there: {', '.join(by_name) or 'none'}.",
            found=sorted(by_name),
        )
    if not wanted.permanent:
        return _unmarked(backup, listed, notes)
    marks: dict[str, bool] = {} if backup.permanent else {backup.name: True}
    after, changed = notes, list(marks)
    for one in _backups.chain(backup, listed):
        until = _until(one, notes, wanted, named=one.name == wanted.name)
        if until != _note(notes, one.name).keep_until:
            after = after.with_backup(one.name, replace(_note(notes, one.name), keep_until=until))
        if (until != _note(notes, one.name).keep_until or not one.permanent) and one.name not in changed:
            changed.append(one.name)
    return MarkPlan(marks, after, changed)


def _until(one: Backup, notes: Notes, wanted: Wanted, *, named: bool) -> str | None:
    """Return the end of a backup's mark: the one that is asked for, but of what it is based on never an earlier one than it had."""
    had, asked = _note(notes, one.name).keep_until, wanted.until or None
    if named or not one.permanent or asked is None:
        return asked
    if had is None:
        return None
    return max(had, asked, key=_times.moment)


def _unmarked(backup: Backup, listed: Sequence[Backup], notes: Notes) -> MarkPlan:
    heirs = [
        one.name for one in listed if one.permanent and one is not backup and backup in _backups.chain(one, listed)
    ]
    if heirs and backup.permanent:
        raise WalgError(
            f"{backup.name} can't be made ordinary: {heirs[0]} is permanent and is based on it. Unmark that one first.",
            found=heirs,
        )
    after = notes.with_backup(backup.name, replace(_note(notes, backup.name), keep_until=None))
    marks = {backup.name: False} if backup.permanent else {}
    return MarkPlan(marks, after, [backup.name] if marks or after != notes else [])


def _note(notes: Notes, name: str) -> _notes.BackupNote:
    return notes.backups.get(name) or _notes.BackupNote()


def _answer(made: MarkPlan, listed: Sequence[Backup], notes: Notes) -> dict[str, Any]:
    before = {one.name: _note(notes, one.name).keep_until for one in listed if one.permanent}
    after = {
        one.name: _note(made.notes, one.name).keep_until
        for one in listed
        if made.marks.get(one.name, one.permanent or (one.name in made.changed and True in made.marks.values()))
    }
    return {
        "changed": bool(made.changed),
        "marked": list(made.changed),
        "permanent": [{"name": name, "until": until} for name, until in after.items()],
        "diff": {"before": _shown(before), "after": _shown(after)},
    }


def _shown(permanent: Mapping[str, str | None]) -> str:
    return "".join(f"{name} permanent{f' until {until}' if until else ''}\n" for name, until in permanent.items())
