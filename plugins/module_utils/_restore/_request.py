# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: what a request for a restore still needs: to be begun, finished, taken on, undone, or nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._archive import _ownership
from .._errors import WalgError
from .._host import _inside
from .._host._waiting import wait_until
from .._postgres import _data_dir, _servers
from .._postgres._server import Server
from .._walg._client import Walg
from . import _answer, _host_check, _next_step, _options, _plan, _roll_back, _run, _state, _stopped, _swap, _ways
from ._answer import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._host._process import Runner
    from .._instance._record import Instance
    from ._options import RestoreOptions
    from ._plan import RestorePlan

_SWITCH = "SELECT pg_walfile_name(pg_logical_emit_message(false, 'mapswipe.walg', 'restore')); SELECT pg_switch_wal()"
_SHIP_TIMEOUT = 120.0  # seconds for a running server to archive its current segment
_STOP_TIMEOUT = 300.0  # seconds for a server that was told to stop


@dataclass
class RestoreRequest:
    """One call of the module. Times in seconds."""

    runner: Runner
    instance: Instance
    options: RestoreOptions
    fetch_timeout: float
    recovery_timeout: float
    fetch_stall_timeout: float = 0.0
    pending: Sequence[str] = ()  # what earlier tasks would have made; in check mode on a host that restores first

    def __post_init__(self) -> None:
        _options.check_request(self.options.request)
        _state.refuse_former(self.instance, self.options.request)

    def nothing_left(self, verb: str) -> bool:
        """Say whether nothing is left to do, so that no lock is needed."""
        if verb == "restore":
            return _next_step.find(self.instance, self.options)[0] in ("done", "waits")
        saved = self._own()
        return saved is not None and saved.rolled_back if verb == "roll back" else saved is None

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
        saved = self._own()
        if saved is None or saved.finished:
            return
        ways = _ways.of(saved)
        exc.msg += "" if ways in exc.msg else f" {ways}"

    def _let_stop(self) -> None:
        """Wait for a server that a killed run has already told to stop: it no longer answers, and is not gone yet."""
        cluster = self.instance.cluster
        if _data_dir.inspect(os.path.realpath(cluster.data_dir), cluster.owner()).status == "stopping":
            wait_until(lambda: not _servers.servers_on(cluster.data_dir), _STOP_TIMEOUT)

    def _restore(self, check: bool) -> dict[str, Any]:
        state, saved = _next_step.find(self.instance, self.options)
        if state in ("done", "waits") and saved:
            return _answered(saved.answer, changed=False)
        restore = self._flow()
        if state == "finish" and saved:
            return _answered(saved.answer if check else restore.swap(saved, self.options))
        if state == "forward" and saved:
            found = _data_dir.inspect(saved.data_dir, self.instance.owner)
            _host_check.refuse_directory(self.runner, self.instance, found, self.options)
            if check:
                target = self.options.target.as_dict()
                return _answered(replace(saved.answer, target=target, action=self.options.action))
            return _answered(restore.forward(saved, self.options))
        ours = [*saved.work_dirs()] if saved and saved.state in _state.BESIDE else []
        if check and self.pending:
            return self._not_asked()
        plan = _plan.make(self.runner, self.instance, self.options, ours)
        if check:
            return {**_answered(plan.answer()), "diff": plan.diff()}
        return self._begin(restore, plan, saved, ours)

    def _not_asked(self) -> dict[str, Any]:
        """The answer of check mode where nothing is there yet by which the archive could be asked."""
        found = _data_dir.inspect(os.path.realpath(self.instance.cluster.data_dir), self.instance.owner)
        _host_check.refuse_directory(self.runner, self.instance, found, self.options)
        note = (
            "The archive was not checked: the play must create this first, which check mode does not do: "
            f"{', '.join(self.pending)}. If the restore can't work, the run stops before it changes {found.path}."
        )
        told = Answer(
            request=self.options.request,
            data_dir=found.path,
            target=self.options.target.as_dict(),
            action=self.options.action,
            standby=self.options.standby,
            data_dir_found=found.kind,
            notes=[note],
        )
        return _answered(told)

    def _begin(
        self, restore: _run.RestoreRun, plan: RestorePlan, saved: _state.RestoreState | None, ours: list[str]
    ) -> dict[str, Any]:
        data_dir, stopped = plan.data.path, False
        if _servers.servers_on(data_dir):
            # A point in the past is recovered while the server keeps running; the latest state is that of a server that has stopped.
            if self.options.target.kind == "latest" or self.options.overwrite:
                restore.stop_old(data_dir)
                stopped = True
            elif not _inside.in_helper():  # else it was done where the restore was rehearsed
                self._ship()
        try:
            restore.old = self._stopped_state(data_dir)
            options = replace(self.options, stop_running=self.options.stop_running and not stopped)
            plan = self._plan_again(options, ours, restore.old if stopped else {})
            if options.take_over and options.archive == "resume":
                _ownership.succeed(Walg.of(self.runner, self.instance), data_dir, self.instance.state_dir)
            answer = restore.run(replace(plan, options=self.options), saved)
            return {**_answered(answer), "diff": plan.diff()}
        except WalgError as exc:
            if (
                stopped
                and not self.options.overwrite
                and self._untouched()
                and not isinstance(exc, _stopped.StartedError)
            ):
                exc.msg += self._start_again(restore, data_dir)
            raise

    def _plan_again(self, options: RestoreOptions, ours: list[str], stopped_at: dict[str, Any]) -> RestorePlan:
        """Return the plan of what is there now; who started the server that we have stopped comes before all else that it finds."""
        try:
            return _plan.make(self.runner, self.instance, options, ours)
        except WalgError:
            if stopped_at:
                data_dir = os.path.realpath(self.instance.cluster.data_dir)
                _stopped.refuse_started(data_dir, self.instance.owner, stopped_at)
            raise

    def _stopped_state(self, data_dir: str) -> dict[str, Any]:
        """Return what the cluster says whose latest state is asked for: at the swap it must be the same."""
        if self.options.target.kind != "latest" and not self.options.overwrite:
            return {}
        owner = self.instance.owner
        found = _stopped.snapshot(data_dir, owner)
        if self.options.stop_running and _servers.servers_on(data_dir):
            _stopped.refuse_started(data_dir, owner, found)
        return found

    @staticmethod
    def _start_again(restore: _run.RestoreRun, data_dir: str) -> str:
        if _servers.servers_on(data_dir):
            return f" The server on {data_dir} runs again: somebody else started it."
        restore.start_old()
        return f" The server on {data_dir} was started again."

    def _untouched(self) -> bool:
        saved = _state.load(self.instance)
        return saved is None or not saved.swap_begun

    def rehearse(self, verb: str) -> dict[str, Any]:
        """Say what is left to do, where the server runs, before it is done where it can't be seen; have what is written so far archived."""
        answer = self.act(verb, check=True)
        wanted = verb == "restore" and answer["changed"] and self.options.target.kind != "latest"
        if wanted and not self.options.overwrite and _servers.servers_on(self.instance.cluster.data_dir):
            self._ship()
        return answer

    def looked(self) -> dict[str, Any]:
        """Look at the server that was started from outside after a restore, and note what it says."""
        saved = self._own()
        if saved is None:
            raise WalgError(f"There is no restore {self.options.request!r} of this cluster.")
        _swap.Swap(self.runner, self.instance, self._flow().progress).look_at_started(saved)
        return _answered(saved.answer)

    def _ship(self) -> None:
        """Have the running server archive what it has written so far; a target of a minute ago is in its current segment.

        Where archiving does not work the plan continues without: what is missing in the archive is salvaged from pg_wal.
        """
        server = Server(self.runner, self.instance.cluster)
        # (Something is written first: where nothing was since the last switch, PostgreSQL 17 names a segment that is yet to come.)
        segment = server.ask(_SWITCH).splitlines()[0]
        wait_until(
            lambda: server.ask("SELECT coalesce(max(last_archived_wal), '') FROM pg_stat_archiver") >= segment,
            _SHIP_TIMEOUT,
        )

    def _roll_back(self, check: bool) -> dict[str, Any]:
        saved = self._own()
        if saved is None:
            raise WalgError(f"There is no restore {self.options.request!r} of this cluster to roll back.")
        if saved.rolled_back:
            return _answered(saved.answer, changed=False)
        if saved.state in _state.BESIDE:
            told = replace(saved.answer, state="rolled back")
            return _answered(told if check else self._flow().give_up(saved))
        _roll_back.refuse_no_way_back(saved)
        running = _servers.servers_on(saved.data_dir)
        if running and not saved.moved_back and not self.options.stop_running:
            raise WalgError(
                f"A server (pid {', '.join(map(str, running))}) runs on {saved.data_dir}. What was written since the restore is not in "
                "the old cluster. Stop it, or set walg_restore_stop_running: true.",
                pids=running,
            )
        if check:
            return _answered(replace(saved.answer, state="rolled back"))
        return _answered(self._flow().roll_back(saved, self.options.stop_running))

    def _discard(self, check: bool) -> dict[str, Any]:
        saved = self._own()
        if saved is None:
            return _answered(Answer(request=self.options.request, state="unknown"), changed=False)
        if saved.state not in _state.BESIDE:
            raise WalgError(
                f"The restore {saved.request!r} is {saved.state}: there is nothing to discard. {_ways.of(saved)}"
            )
        answer = replace(saved.answer, state="discarded")
        if not check:
            flow = self._flow()
            flow.discard(saved)
            kept = flow.discard_saved_wal(saved)
            os.unlink(_state.path(self.instance))
            answer.saved_wal = kept or None
        return _answered(answer)

    def _own(self) -> _state.RestoreState | None:
        saved = _state.load(self.instance)
        data_dir = os.path.realpath(self.instance.cluster.data_dir)
        return saved if saved and saved.is_of(self.options.request, data_dir) else None

    def _flow(self) -> _run.RestoreRun:
        limits = self.fetch_timeout, self.recovery_timeout, self.fetch_stall_timeout
        return _run.RestoreRun(self.runner, self.instance, *limits)


def _answered(answer: Answer, *, changed: bool = True) -> dict[str, Any]:
    return {"changed": changed, "restore": _answer.as_dict(answer)}
