# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back from a restore, from every state: what lies beside is removed, what was swapped is swapped back.

From the first undone step on the state says "rolling back", so that a killed run is finished by the next one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._archive import _ownership
from .._errors import WalgError
from .._host import _times
from .._host._users import call_as
from .._postgres import _data_dir, _servers
from .._postgres._server import Server
from .._walg._client import Walg
from . import _journal, _layout, _state, _stopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._host._users import User
    from ._answer import Answer
    from ._swap import Swap


def refuse_no_way_back(saved: _state.RestoreState) -> None:
    """Raise WalgError when there is nothing to roll back to."""
    if saved.state != "done":
        return
    if not saved.keeps_old:
        raise WalgError(
            f"The restore {saved.request!r} is done, and it found no old cluster in {saved.data_dir} or was told to overwrite it: "
            "there is nothing to go back to. The restored cluster stays where it is."
        )
    for one in saved.places:
        if not one.link and not os.path.lexists(one.aside):
            raise WalgError(f"{one.aside}, where the old directory was kept, is gone: there is nothing to go back to.")


@dataclass
class RollBack:
    """One way back, with the hands of the swap."""

    swap: Swap

    def run(self, saved: _state.RestoreState, stop_running: bool) -> Answer:
        """Put the old cluster back in place; the restored one is kept where it was recovered."""
        self.swap.progress.enter("roll back")
        refuse_no_way_back(saved)
        if not saved.moved_back:
            self._move(saved, stop_running)
        self.swap.progress.enter("start")
        started = self._start_old(saved)
        if started and not saved.never_ran:
            self._disown(saved.answer.timeline or 0)
        saved.moved_back = False
        work = saved.data.work  # what was restored may have been lost before
        kept = work if call_as(self._owner(), os.path.lexists, work) else None
        return self._conclude(saved, {"started": started, "restored_kept_as": kept})

    def give_up(self, saved: _state.RestoreState, saved_wal: str) -> Answer:
        """End a restore that never came to its swap, after what lay beside was removed: what it has stopped runs again."""
        self.swap.progress.enter("start")
        again = saved.stopped and _data_dir.inspect(saved.data_dir, self._owner()).kind == "cluster"
        started = again and not _servers.servers_on(saved.data_dir) and self.swap.start(saved.data_dir)
        if not started:
            self.swap.service().release()
        return self._conclude(saved, {"started": started, "saved_wal": saved_wal or None})

    def _conclude(self, saved: _state.RestoreState, told: dict[str, Any]) -> Answer:
        self.swap.progress.enter("done")
        seconds = dict(self.swap.progress.seconds)
        saved.answer.take({"state": "rolled back", **told, "seconds": seconds, "finished": _times.now()})
        _state.move_to(self.swap.instance, saved, "rolled back")
        self.swap.progress.done({"request": saved.request})
        return saved.answer

    def _owner(self) -> User:
        return self.swap.instance.owner

    def _move(self, saved: _state.RestoreState, stop_running: bool) -> None:
        if saved.state in ("starting", "done"):
            _layout.refuse_changed_mounts(saved.places, saved.request)
        stopped, before = self.swap.make_way(saved.data_dir, stop_running), saved.state
        owner = self._owner()
        try:
            if before in ("starting", "done"):  # every step was done, and a server may have run since
                saved.journal = _journal.decode(call_as(owner, _steps_back, saved.places, saved.journal))
            saved.never_ran = saved.never_ran or before == "swapping"
            _state.move_to(self.swap.instance, saved, "rolling back")
        except WalgError:
            self.swap.give_way(stopped)
            raise
        for one in saved.places:
            if _layout.needs_work(one, saved.journal):  # it was empty after the swap, and removed
                self.swap.hands.make(one.work)
            elif not saved.keeps_old and self._emptied(saved, one):
                self.swap.hands.make(one.aside)
        self._back(saved, before)
        saved.moved_back = True
        _state.move_to(self.swap.instance, saved, "rolling back")

    def _back(self, saved: _state.RestoreState, before: _state.State) -> None:
        """Go back through the journal while no server can start on what is moved away."""
        owner = self._owner()
        stopped = _stopped.snapshot(saved.data_dir, owner)
        try:
            with _stopped.kept_stopped(saved.data_dir, owner):
                _stopped.refuse_started(saved.data_dir, owner, stopped)
                _journal.back(saved.journal, self.swap.hands.call, owner.uid)
        except _stopped.StartedError:
            self.swap.service().release()
            _state.move_to(self.swap.instance, saved, before)
            raise

    @staticmethod
    def _emptied(saved: _state.RestoreState, one: _layout.Location) -> bool:
        """Say whether an empty directory was in the way, and was removed when the restored one was in place."""
        moved = any((step.action, step.target) == ("out", one.aside) for step in saved.journal)
        return moved and not os.path.lexists(one.aside) and not os.path.lexists(one.work)

    def _start_old(self, saved: _state.RestoreState) -> bool:
        """Start the old server if the old directory is a whole cluster. Where it can't start, the directories are back anyway."""
        if _data_dir.inspect(saved.data_dir, self._owner()).kind != "cluster":
            self.swap.service().release()
            return False
        try:
            return self.swap.start(saved.data_dir)
        except WalgError as exc:
            saved.answer.take({"state": "rolled back", "started": False})
            _state.move_to(self.swap.instance, saved, "rolled back")
            exc.msg = (
                f"{saved.data_dir} is the old directory again, but its server does not start: {exc.msg} Fix that. A new restore "
                "(a new walg_restore_request) is possible, too."
            )
            raise

    def _disown(self, left: int) -> None:
        """Have the archive's owner record say that the timeline of the restore was left; "latest" must not go there again."""
        runner, instance = self.swap.runner, self.swap.instance
        facts = Server(runner, instance.cluster).own_facts()
        try:
            _ownership.record_rollback(Walg.of(runner, instance), facts, left, instance.state_dir)
        except WalgError as exc:
            exc.msg = (
                f"The old cluster runs again, but the archive could not be told that timeline {left} was left, and a restore to the "
                f"latest state might follow it. Run this again. {exc.msg}"
            )
            raise


def _steps_back(places: Sequence[_layout.Location], journal: Sequence[_journal.Step]) -> list[dict[str, Any]]:
    return _journal.encode(_layout.way_back(places, journal))
