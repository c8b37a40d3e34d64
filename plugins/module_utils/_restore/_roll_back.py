# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back from a restore, from every state: what lies beside is removed, what was swapped is swapped back.

From the first undone step on the marker says "rolling back", so that a killed run is finished by the next one.
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
from .._walg._client import client
from . import _journal, _layout, _state, _stopped

if TYPE_CHECKING:
    from .._host._users import User
    from ._swap import Swap


def refuse_no_way_back(marker: _state.Marker) -> None:
    """Raise WalgError when there is nothing to roll back to."""
    if marker.state != "done":
        return
    if not marker.keeps_old:
        raise WalgError(
            f"The restore {marker.request!r} is done, and it found no old cluster in {marker.data_dir} or was told to overwrite it: "
            "there is nothing to go back to. The restored cluster stays where it is."
        )
    for one in _layout.decode(marker.places):
        if not one.link and not os.path.lexists(one.aside):
            raise WalgError(f"{one.aside}, where the old directory was kept, is gone: there is nothing to go back to.")


@dataclass
class RollBack:
    """One way back, with the hands of the swap."""

    swap: Swap

    def run(self, marker: _state.Marker, stop_running: bool, seconds: dict[str, float]) -> dict[str, Any]:
        """Put the old cluster back in place; the restored one is kept where it was recovered."""
        self.swap.enter("roll back")
        refuse_no_way_back(marker)
        if not marker.moved_back:
            self._move(marker, stop_running)
        self.swap.enter("start")
        started = self._start_old(marker)
        if started and not marker.never_ran:
            self._disown(int(marker.result.get("timeline") or 0))
        marker.moved_back = False
        work = marker.work_dirs()[-1]  # what was restored may have been lost before
        kept = work if call_as(self._owner(), os.path.lexists, work) else None
        return self._conclude(marker, {"started": started, "restored_kept_as": kept}, seconds)

    def give_up(self, marker: _state.Marker, saved_wal: str, seconds: dict[str, float]) -> dict[str, Any]:
        """End a restore that never came to its swap, after what lay beside was removed: what it has stopped runs again."""
        self.swap.enter("start")
        again = marker.stopped and _data_dir.look(marker.data_dir, self._owner()).kind == "cluster"
        started = again and not _servers.servers_on(marker.data_dir) and self.swap.start(marker.data_dir)
        if not started:
            self.swap.service().release()
        told = {"started": started, "restored_kept_as": None, **({"saved_wal": saved_wal} if saved_wal else {})}
        return self._conclude(marker, told, seconds)

    def _conclude(self, marker: _state.Marker, told: dict[str, Any], seconds: dict[str, float]) -> dict[str, Any]:
        self.swap.enter("done")
        marker.result.update({"state": "rolled back", **told, "seconds": dict(seconds), "finished": _times.now()})
        self.swap.set_state(marker, "rolled back")
        self.swap.progress.done({"request": marker.request})
        return marker.result

    def _owner(self) -> User:
        return self.swap.instance.owner

    def _move(self, marker: _state.Marker, stop_running: bool) -> None:
        if marker.state in ("starting", "done"):
            _layout.refuse_changed_mounts(_layout.decode(marker.places), marker.request)
        stopped, before = self.swap.make_way(marker.data_dir, stop_running), marker.state
        owner = self._owner()
        try:
            if before in ("starting", "done"):  # every step was done, and a server may have run since
                marker.journal = call_as(owner, _steps_back, marker.places, marker.journal)
            marker.never_ran = marker.never_ran or before == "swapping"
            self.swap.set_state(marker, "rolling back")
        except WalgError:
            self.swap.give_way(stopped)
            raise
        for one in _layout.decode(marker.places):
            if _layout.needs_work(one, _journal.decode(marker.journal)):  # it was empty after the swap, and removed
                self.swap.hands.make(one.work)
            elif not marker.keeps_old and self._emptied(marker, one):
                self.swap.hands.make(one.aside)
        self._back(marker, before)
        marker.moved_back = True
        self.swap.set_state(marker, "rolling back")

    def _back(self, marker: _state.Marker, before: str) -> None:
        """Go back through the journal while no server can start on what is moved away."""
        owner = self._owner()
        stopped = _stopped.snapshot(marker.data_dir, owner)
        try:
            with _stopped.held(marker.data_dir, owner):
                _stopped.refuse_started(marker.data_dir, owner, stopped)
                _journal.back(marker.journal, self.swap.hands.call, owner.uid)
        except _stopped.StartedError:
            self.swap.service().release()
            self.swap.set_state(marker, before)
            raise

    @staticmethod
    def _emptied(marker: _state.Marker, one: _layout.Place) -> bool:
        """Say whether an empty directory was in the way, and was removed when the restored one was in place."""
        moved = any((step.action, step.target) == ("out", one.aside) for step in _journal.decode(marker.journal))
        return moved and not os.path.lexists(one.aside) and not os.path.lexists(one.work)

    def _start_old(self, marker: _state.Marker) -> bool:
        """Start the old server if the old directory is a whole cluster. Where it can't start, the directories are back all the same."""
        if _data_dir.look(marker.data_dir, self._owner()).kind != "cluster":
            self.swap.service().release()
            return False
        try:
            return self.swap.start(marker.data_dir)
        except WalgError as exc:
            marker.result.update({"state": "rolled back", "started": False})
            self.swap.set_state(marker, "rolled back")
            exc.msg = (
                f"{marker.data_dir} is the old directory again, but its server does not start: {exc.msg} Fix that. A new restore "
                "(a new walg_restore_request) is possible, too."
            )
            raise

    def _disown(self, left: int) -> None:
        """Have the archive's marker say that the timeline of the restore was left; "latest" must not go there again."""
        runner, instance = self.swap.runner, self.swap.instance
        facts = Server(runner, instance.cluster).own_facts()
        try:
            _ownership.leave(client(runner, instance), facts, left, instance.state_dir)
        except WalgError as exc:
            exc.msg = (
                f"The old cluster runs again, but the archive could not be told that timeline {left} was left, and a restore to the "
                f"latest state might follow it. Run this again. {exc.msg}"
            )
            raise


def _steps_back(places: list[dict[str, Any]], journal: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return _journal.encode(_layout.way_back(_layout.decode(places), _journal.decode(journal)))
