# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: delete what retention no longer keeps. The module walg_retention and the job on the host are one and the same code.

The plan comes first (_retention); it is noted in retention.json before anything goes, and compared with what is gone afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._archive import _notes, _owner, _ownership, _recoverable
from .._errors import WalgError
from .._host import _locks, _progress
from .._host._counts import agree, many
from .._instance import _job_spec
from .._postgres._server import Server
from .._walg._objects import BACKUPS, WAL
from . import _retention, _retention_look, _retention_state
from ._deletion import Deletion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from .._host._process import Runner
    from .._instance._job_spec import Retention
    from .._instance._record import Instance
    from ._retention import Plan
    from ._retention_look import Seen
    from ._retention_state import State


def policy_of(instance: Instance, given: Mapping[str, int]) -> Retention:
    """Return what the instance's job keeps, or would, with what is given in its place."""
    kept = _job_spec.load(instance.config_dir, instance.name, instance.owner.uid).retention or _job_spec.Retention()
    return replace(kept, **given)


def run(
    runner: Runner, instance: Instance, policy: Retention, now: datetime, *, dry: bool, confirmed: bool = False
) -> dict[str, Any]:
    """Plan, and unless ``dry`` delete; run as the cluster's owner. Raises WalgError where nothing may be deleted.

    ``confirmed``: a plan need not have been shown before. Returns changed, text, shown_only, plan, locked and warnings.
    """
    _retention.check(policy)
    facts = Server(runner, instance.cluster).own_facts()
    if facts.in_recovery:
        return {**answer(None, "this is a standby; its primary deletes"), "changed": False}
    try:
        if dry:
            return _planned(
                _Run(runner, instance, policy, now, confirmed, _retention_look.archive(runner, instance, facts, now))
            )
        with _locks.locked(
            instance.files.backup_lock, f"A base backup or a deletion of the instance {instance.name!r}"
        ):
            seen = _retention_look.archive(runner, instance, facts, now)
            return _carried_out(_Run(runner, instance, policy, now, confirmed, seen))
    except _owner.ForeignError:
        _ownership.invalidate_note(instance)
        raise


class _Run:
    """One run: what was seen, what is remembered, and the plan."""

    def __init__(
        self, runner: Runner, instance: Instance, policy: Retention, now: datetime, confirmed: bool, seen: Seen
    ) -> None:
        self.runner, self.instance, self.policy, self.now, self.seen = runner, instance, policy, now, seen
        identifiers = {one.system_identifier for one in seen.known.backups if one.system_identifier}
        self.rules = _retention_state.digest(policy, instance.storage, "".join(sorted(identifiers)))
        self.state = _retention_state.load(instance.files.retention)
        self.made = _retention.plan(policy, seen.known, seen.wal, seen.files, now)
        self.resumed = _resumed(self.state, seen, self.made)
        self.why_shown = _retention_state.must_show(self.state, self.made, self.rules, now, confirmed)

    def warnings(self) -> list[str]:
        """What somebody should know."""
        return [
            f"{one.name} ended in the future ({one.finish_time}): a clock was ahead. Its age counts from then."
            for one in _retention_look.moved_back(self.seen.known, self.now)
        ]

    def save(self, text: str, **more: Any) -> None:
        self.state.last = {"time": self.now.isoformat(timespec="seconds"), "text": text, **more}
        _retention_state.save(self.instance.files.retention, self.state)


def _planned(this: _Run) -> dict[str, Any]:
    shown = bool(this.why_shown) and not this.made.empty()
    text = _retention.text(this.made, False) + (f"; shown only: {this.why_shown}" if shown else "")
    changed = bool(this.resumed) or not (this.made.empty() or shown)
    return {**answer(this.made, text), "changed": changed, "shown_only": shown, "warnings": this.warnings()}


def _carried_out(this: _Run) -> dict[str, Any]:
    if this.why_shown:
        _retention_state.note_shown(this.state, this.made, this.rules, this.now)
        deletion = _delete(this, None)
        shown = not this.made.empty()
        text = _retention.text(this.made, False) + (f"; shown only: {this.why_shown}" if shown else "")
    else:
        this.state.accepted = this.rules
        deletion, shown = _delete(this, this.made), False
        text = _retention.text(this.made, True)
    warnings = this.warnings()
    if deletion.locked:
        held = len(deletion.locked) + deletion.untried
        text = f"deleted {many(len(deletion.gone), 'object')}; {agree(held, 'object', 'is', 'are')} locked"
        warnings.append(
            f"The storage does not let {many(held, 'object')} go (the first: {deletion.locked[0]}): a retention policy, a hold, or a "
            f"right that is missing. {'It is' if held == 1 else 'They are'} tried again next time."
        )
    if this.resumed:
        warnings.append(
            f"An earlier run had been interrupted; {agree(len(this.resumed), 'object', 'that it had left is', 'that it had left are')} "
            "deleted."
        )
    this.save(text, deleted=len(deletion.gone), locked=deletion.locked)
    unmarked = bool(this.made.unmark) and not this.why_shown
    return {
        **answer(this.made, text),
        "changed": bool(deletion.gone) or unmarked,
        "shown_only": shown,
        "locked": deletion.locked,
        "warnings": warnings,
    }


def answer(made: Plan | None, text: str) -> dict[str, Any]:
    """Return what a run answers of a plan, or without one. ``rejected``: why there is none, where that is no error."""
    return {
        "text": text,
        "shown_only": False,
        "rejected": "",
        "plan": _retention.as_dict(made) if made else None,
        "locked": [],
        "warnings": [],
        "diff": _retention.diff(made) if made else {"before": "", "after": ""},
    }


def _resumed(state: State, seen: Seen, made: Plan) -> list[str]:
    """Return what an interrupted run has left of base backups without a record, unchanged since. WAL is planned again."""
    there = {f"{BACKUPS}/{one.name}": one for one in seen.files}
    listed = {one.name for one in seen.known.backups}
    planned = {name for drop in (*made.drop, *made.leftovers) for name in drop.objects}
    since = _retention_state.journal_time(state)
    found = []
    for name in state.journal.get("objects") or ():
        backup = str(name).split("/")[1] if str(name).startswith(f"{BACKUPS}/") and str(name).count("/") > 1 else ""
        ended = backup in listed or f"{BACKUPS}/{backup}{_retention.SENTINEL}" in there
        if backup and name in there and name not in planned and not ended and there[name].time <= since:
            found.append(str(name))
    return found


def _delete(this: _Run, made: Plan | None) -> Deletion:
    """Delete what an interrupted run left, and what the plan names; then compare. Without a plan only the former."""
    progress = _progress.Progress(this.instance.files.progress, "expire")
    objects = [*this.resumed, *(_every(made) if made else ())]
    deletion = Deletion(this.seen.walg, lambda done: _touch(progress, done, len(objects)))
    if not objects and not (made and made.unmark):
        this.state.journal = {}
        return deletion
    this.state.journal = _retention_state.journal_of(objects, this.now)
    this.save("deleting")
    progress.phase("deleting", objects=len(objects), deleted=0)
    with progress.ending():
        _carry_out(this, made, deletion)
    this.state.journal = {}
    progress.done({"deleted": len(deletion.gone)})
    return deletion


def _carry_out(this: _Run, made: Plan | None, deletion: Deletion) -> None:
    deletion.remove(this.resumed)
    if made:
        _unmark(this, made)
        bases = {one.name: [base.name for base in this.seen.known.bases(one)] for one in this.seen.known.backups}
        held = deletion.backups([*made.drop, *made.leftovers], bases)
        listed = {one.name for one in this.seen.known.backups}
        held = [name for name in held if name in listed]
        wal = made.wal
        if held:
            wal = _retention.holding(made, this.seen.known, this.seen.wal, held, this.policy, this.now)
        deletion.remove(wal)
    _compare(this, made, deletion)


def _every(made: Plan) -> list[str]:
    return [*(name for drop in (*made.drop, *made.leftovers) for name in drop.objects), *made.wal]


def _touch(progress: _progress.Progress, done: int, of: int) -> None:
    if done % 20 == 0 or done == of:
        progress.phase("deleting", objects=of, deleted=done)


def _unmark(this: _Run, made: Plan) -> None:
    """End what was permanent until now."""
    if not made.unmark:
        return
    notes = this.seen.known.notes
    for name in made.unmark:
        this.seen.walg.mark(name, permanent=False)
        kept = notes.backups[name]
        notes = notes.with_backup(name, _notes.BackupNote(None, kept.corrupt_blocks))
    _notes.write(this.seen.walg, notes, {one.name for one in this.seen.known.backups})


def _compare(this: _Run, made: Plan | None, deletion: Deletion) -> None:
    """Raise WalgError unless what is gone is what was deleted, and what stays can be restored as before."""
    wal, files = _retention_look.objects(this.seen.walg)
    before = {*_names(this.seen.wal, this.seen.files)}
    after = {*_names(wal, files)}
    strange, left = sorted(before - after - set(deletion.gone)), sorted(set(deletion.gone) & after)
    journal = set(map(str, this.state.journal["objects"]))
    strange = [name for name in strange if name not in journal]
    if strange:
        raise WalgError(
            f"While retention ran, {many(len(strange), 'object')} disappeared that its plan did not name (the first: "
            f"{strange[0]}). Something else deletes in {this.seen.walg.storage}: a lifecycle rule, another job, or somebody. Find it; see "
            "walg_backup_info for what "
            "is left.",
            found=strange[:20],
        )
    if left:
        raise WalgError(
            f"WAL-G reported success, but {agree(len(left), 'object', 'is', 'are')} still in {this.seen.walg.storage} (the first: "
            f"{left[0]}). Does it keep versions? Run again.",
            found=left[:20],
        )
    if made is None:
        return
    listed = _retention_look.listed_now(this.seen, files)
    archive = this.seen.walg.archive(this.seen.known.archive.segment_size, listed, [one.name for one in wal])
    fine = {name for window in _recoverable.windows(listed, archive) for name in window.backups}
    lost = [one.name for one in made.keep if one.name in made.counting and one.name not in fine]
    if lost:
        raise WalgError(
            f"After retention ran, {lost[0]} can't be restored any more, though nothing was deleted that it needs: see walg_backup_info.",
            found=lost,
        )


def _names(wal: Sequence[Any], files: Sequence[Any]) -> list[str]:
    return [*(f"{WAL}/{one.name}" for one in wal), *(f"{BACKUPS}/{one.name}" for one in files)]
