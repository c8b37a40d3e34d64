# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: what a request for a restore still needs: to be begun, finished, taken on, undone, or nothing. Private."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._archive import _ownership
from .._errors import WalgError
from .._host._waiting import wait_until
from .._postgres import _data_dir, _servers
from .._postgres._server import Server
from .._walg._client import client
from . import _host_check, _next_step, _plan, _roll_back, _run, _state, _stopped, _ways, _wish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._host._process import Runner
    from .._instance._record import Instance
    from ._plan import RestorePlan
    from ._wish import Wish

REQUEST = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_SWITCH = "SELECT pg_walfile_name(pg_logical_emit_message(false, 'mapswipe.walg', 'restore')); SELECT pg_switch_wal()"
_SHIP_TIMEOUT = 120.0  # seconds for a running server to archive its current segment
_STOP_TIMEOUT = 300.0  # seconds for a server that was told to stop


def check_request(request: str) -> None:
    """Raise WalgError unless the request can name a directory."""
    if not REQUEST.match(request):
        raise WalgError(
            f"Restore request {request!r} is not allowed: use letters, digits, '.', '_' and '-', at most 64. It is part of directory names."
        )


@dataclass
class Run:
    """One call of the module. Times in seconds."""

    runner: Runner
    instance: Instance
    wish: Wish
    fetch_timeout: float
    recovery_timeout: float
    fetch_stall_timeout: float = 0.0
    pending: Sequence[str] = ()  # what earlier tasks would have made; in check mode on a host that restores first

    def __post_init__(self) -> None:
        check_request(self.wish.request)
        _state.refuse_former(self.instance, self.wish.request)

    def settled(self, verb: str) -> bool:
        """Say whether nothing is left to do, so that no lock is needed."""
        if verb == "restore":
            return _next_step.standing(self.instance, self.wish)[0] in ("done", "waits")
        marker = self._own()
        return marker is not None and _rolled_back(marker) if verb == "roll back" else marker is None

    def act(self, verb: str, check: bool) -> dict[str, Any]:
        """Do what is left, or in check mode say what that would be. Returns the module's answer."""
        if not check:
            self._let_stop()
        try:
            return {"restore": self._restore, "roll back": self._roll_back, "discard": self._discard}[verb](check)
        except WalgError as exc:
            self._tell_ways(exc)
            raise

    def _tell_ways(self, exc: WalgError) -> None:
        """Say in the message of a restore that stopped half way what leads on, and what back."""
        marker = self._own()
        if marker is None or marker.state == "done" or _rolled_back(marker):
            return
        ways = _ways.of(marker)
        exc.msg += "" if ways in exc.msg else f" {ways}"

    def _let_stop(self) -> None:
        """Wait for a server that stops already, as a run that was killed had told it: it neither answers nor is gone yet."""
        cluster = self.instance.cluster
        if _data_dir.look(os.path.realpath(cluster.data_dir), cluster.owner()).status == "stopping":
            wait_until(lambda: not _servers.servers_on(cluster.data_dir), _STOP_TIMEOUT)

    def _restore(self, check: bool) -> dict[str, Any]:
        state, marker = _next_step.standing(self.instance, self.wish)
        if state in ("done", "waits") and marker:
            return {"changed": False, "restore": marker.result}
        restore = self._flow()
        if state == "finish" and marker:
            return {"changed": True, "restore": marker.result if check else restore.swap(marker, self.wish)}
        if state == "forward" and marker:
            found = _data_dir.look(marker.data_dir, self.instance.owner)
            _host_check.refuse_directory(self.runner, self.instance, found, self.wish)
            if check:
                return {
                    "changed": True,
                    "restore": {**marker.result, "target": self.wish.target.as_dict(), "action": self.wish.action},
                }
            return {"changed": True, "restore": restore.forward(marker, self.wish)}
        ours = [*marker.work_dirs()] if marker and marker.state in _state.BESIDE else []
        if check and self.pending:
            return self._unknown()
        plan = _plan.make(self.runner, self.instance, self.wish, ours)
        if check:
            return {"changed": True, "restore": plan.summary(), "diff": plan.diff()}
        return self._begin(restore, plan, marker, ours)

    def _unknown(self) -> dict[str, Any]:
        """The answer of check mode where nothing is there yet by which the archive could be asked."""
        found = _data_dir.look(os.path.realpath(self.instance.cluster.data_dir), self.instance.owner)
        _host_check.refuse_directory(self.runner, self.instance, found, self.wish)
        note = (
            "The archive was not checked: the play must create this first, which check mode does not do: "
            f"{', '.join(self.pending)}. If the restore can't work, the run stops before it changes {found.path}."
        )
        told = {
            "request": self.wish.request,
            "target": self.wish.target.as_dict(),
            "action": self.wish.action,
            "standby": self.wish.standby,
            "data_dir": found.path,
            "data_dir_found": found.kind,
            "notes": [note],
        }
        return {"changed": True, "restore": told, "unknown": ["storage"]}

    def _begin(
        self, restore: _run.Restore, plan: RestorePlan, marker: _state.Marker | None, ours: list[str]
    ) -> dict[str, Any]:
        data_dir, stopped = plan.data.path, False
        if _servers.servers_on(data_dir):
            # A point in the past is recovered while the server goes on; the latest state is that of a server that has stopped.
            if self.wish.target.kind == "latest" or self.wish.overwrite:
                restore.stop_old(data_dir)
                stopped = True
            else:
                self._ship()
        try:
            restore.old = self._stopped_state(data_dir)
            wish = replace(self.wish, stop_running=self.wish.stop_running and not stopped)
            plan = self._plan_again(wish, ours, restore.old if stopped else {})
            if wish.take_over and wish.archive == "resume":
                _ownership.succeed(client(self.runner, self.instance), data_dir, self.instance.state_dir)
            return {"changed": True, "restore": restore.run(replace(plan, wish=self.wish), marker), "diff": plan.diff()}
        except WalgError as exc:
            if stopped and not self.wish.overwrite and self._untouched() and not isinstance(exc, _stopped.StartedError):
                exc.msg += self._start_again(restore, data_dir)
            raise

    def _plan_again(self, wish: _wish.Wish, ours: list[str], stopped_at: dict[str, Any]) -> RestorePlan:
        """Return the plan of what is there now; who started the server that we have stopped comes before all else that it finds."""
        try:
            return _plan.make(self.runner, self.instance, wish, ours)
        except WalgError:
            if stopped_at:
                data_dir = os.path.realpath(self.instance.cluster.data_dir)
                _stopped.refuse_started(data_dir, self.instance.owner, stopped_at)
            raise

    def _stopped_state(self, data_dir: str) -> dict[str, Any]:
        """Return what the cluster says whose latest state is wanted: at the swap it has to be the same."""
        if self.wish.target.kind != "latest" and not self.wish.overwrite:
            return {}
        owner = self.instance.owner
        found = _stopped.snapshot(data_dir, owner)
        if self.wish.stop_running and _servers.servers_on(data_dir):
            _stopped.refuse_started(data_dir, owner, found)
        return found

    @staticmethod
    def _start_again(restore: _run.Restore, data_dir: str) -> str:
        if _servers.servers_on(data_dir):
            return f" The server on {data_dir} runs again: somebody else started it."
        restore.start_old()
        return f" The server on {data_dir} was started again."

    def _untouched(self) -> bool:
        marker = _state.load(self.instance)
        return marker is None or not marker.swap_begun

    def _ship(self) -> None:
        """Have the running server archive what it has written so far; a target of a minute ago is in its current segment.

        Where archiving does not work the plan goes on without: what is missing in the archive is salvaged from pg_wal.
        """
        server = Server(self.runner, self.instance.cluster)
        # (Something is written first: where nothing was since the last switch, PostgreSQL 17 names a segment that is yet to come.)
        segment = server.ask(_SWITCH).splitlines()[0]
        wait_until(
            lambda: server.ask("SELECT coalesce(max(last_archived_wal), '') FROM pg_stat_archiver") >= segment,
            _SHIP_TIMEOUT,
        )

    def _roll_back(self, check: bool) -> dict[str, Any]:
        marker = self._own()
        if marker is None:
            raise WalgError(f"There is no restore {self.wish.request!r} of this cluster to roll back.")
        if _rolled_back(marker):
            return {"changed": False, "restore": marker.result}
        if marker.state in _state.BESIDE:
            told = {"request": marker.request, "state": "rolled back"}
            return {"changed": True, "restore": told if check else self._flow().give_up(marker)}
        _roll_back.refuse_no_way_back(marker)
        running = _servers.servers_on(marker.data_dir)
        if running and not marker.moved_back and not self.wish.stop_running:
            raise WalgError(
                f"A server (pid {', '.join(map(str, running))}) runs on {marker.data_dir}. What was written since the restore is not in "
                "the old cluster. Stop it, or set walg_restore_stop_running: true.",
                pids=running,
            )
        if check:
            return {"changed": True, "restore": {**marker.result, "state": "rolled back"}}
        return {"changed": True, "restore": self._flow().roll_back(marker, self.wish.stop_running)}

    def _discard(self, check: bool) -> dict[str, Any]:
        marker = self._own()
        if marker is None:
            return {"changed": False, "restore": {"request": self.wish.request, "state": "unknown"}}
        if marker.state not in _state.BESIDE:
            raise WalgError(
                f"The restore {marker.request!r} is {marker.state}: there is nothing to discard. {_ways.of(marker)}"
            )
        answer = {"request": marker.request, "state": "discarded"}
        if not check:
            flow = self._flow()
            flow.discard(marker)
            kept = flow.discard_saved_wal(marker)
            os.unlink(_state.path(self.instance))
            answer.update({"saved_wal": kept} if kept else {})
        return {"changed": True, "restore": answer}

    def _own(self) -> _state.Marker | None:
        marker = _state.load(self.instance)
        data_dir = os.path.realpath(self.instance.cluster.data_dir)
        return marker if marker and marker.is_of(self.wish.request, data_dir) else None

    def _flow(self) -> _run.Restore:
        limits = self.fetch_timeout, self.recovery_timeout, self.fetch_stall_timeout
        return _run.Restore(self.runner, self.instance, *limits)


def _rolled_back(marker: _state.Marker) -> bool:
    return marker.state == "rolled back" and not marker.moved_back
