# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The swap: a recovered cluster takes the place of the old one. Journalled, with the service manager held off."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._archive import _linked
from .._errors import WalgError
from .._host import _facts, _progress, _times
from .._host._users import call_as
from .._host._waiting import wait_until
from .._postgres import _data_dir, _debian_entry, _server_process, _servers
from .._postgres._server import Server
from .._postgres._service import Service
from .._walg import _backups
from . import _journal, _layout, _salvage, _start_check, _state, _stopped
from ._hands import Hands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._host._process import Runner
    from .._instance._record import Instance
    from ._answer import Answer
    from ._plan import RestorePlan

_STOP_TIMEOUT = 120.0  # seconds for a server whose directory is gone


@dataclass
class Swap:
    """One swap, forth or back. Nothing else moves what is in its place."""

    runner: Runner
    instance: Instance
    progress: _progress.Progress
    started: Service | None = None  # how the server that was stopped had been started

    def apply(self, saved: _state.RestoreState, stop_running: bool) -> Answer:
        """Put the restored cluster in place, or finish that, start it and look at it."""
        self.progress.enter("swap")
        if saved.state not in ("swapping", "starting"):
            self._refuse_started(saved)
            self._refuse_unfit(saved)
            self._prove_start(saved)
            if _servers.servers_on(saved.data_dir) and stop_running and not saved.stopped:
                saved.stopped = True
                _state.save(self.instance, saved)
            stopped = self.make_way(saved.data_dir, stop_running)
            saved.old = saved.old or _stopped.snapshot(saved.data_dir, self.instance.owner)
            self._write_journal(saved, stopped)
        if saved.state == "swapping":
            self._move(saved, stop_running)
            _state.move_to(self.instance, saved, "starting")
        self.progress.enter("start")
        if not _servers.servers_on(saved.data_dir):
            saved.answer.take(_debian_entry.register(self.runner, self.instance.cluster))
        saved.answer.started = self.start(saved.data_dir)
        if saved.answer.started:
            saved.answer.take(self._look(saved))
            saved.answer.differs = self._differs(saved.answer.host_was or {})
        self._tidy(saved)
        self.progress.enter("done")
        saved.answer.take({"state": "done", "seconds": dict(self.progress.seconds), "finished": _times.now()})
        _state.move_to(self.instance, saved, "done")
        self.progress.done({"request": saved.request})
        return saved.answer

    def _move(self, saved: _state.RestoreState, stop_running: bool) -> None:
        """Go through the journal while no server can start on what is moved away."""
        try:
            self._refuse_started(saved)
            self.make_way(saved.data_dir, stop_running)
            with _stopped.kept_stopped(saved.data_dir, self.instance.owner):
                self._refuse_started(saved)
                _journal.run(saved.journal, self.hands.call, self.hands.owner.uid)
        except _stopped.StartedError as exc:
            self._give_up(saved, exc)
            raise

    def _refuse_started(self, saved: _state.RestoreState) -> None:
        """Raise StartedError if the old cluster, while it is in its place, was started since it was stopped."""
        owner, aside = self.instance.owner, saved.data.aside
        if saved.old and not call_as(owner, os.path.lexists, os.path.join(aside, "PG_VERSION")):
            _stopped.refuse_started(saved.data_dir, owner, saved.old)

    def _give_up(self, saved: _state.RestoreState, exc: WalgError) -> None:
        """Somebody started the old cluster: undo what was moved before it, and let the next run begin before the swap."""
        self.service().release()
        if not _servers.servers_on(saved.data_dir):
            _journal.back(saved.journal, self.hands.call, self.hands.owner.uid)
        elif _journal.split(saved.journal, self.hands.call):
            exc.msg += " Directories beside it were moved before that: stop this server first."
            return
        if saved.target.kind != "latest":  # what is written after a target in the past is not wanted
            saved.old = {}
        _state.move_to(self.instance, saved, "recovered")

    def service(self) -> Service:
        """Who starts and stops the real server."""
        made = Service(self.runner, self.instance.cluster, os.path.join(self.instance.log_dir, "server.log"))
        return replace(made, cluster=self.started.cluster, launch=self.started.launch) if self.started else made

    def stop_running(self, data_dir: str) -> None:
        """Stop what runs on a directory, by its manager and in fast mode."""
        if self.service().in_container:  # whose processes have other numbers here
            self.service().stop()
            return
        pids = _servers.servers_on(data_dir)
        self.started = self.started or self.service().as_started()
        orphans = _servers.orphans(pids)
        if os.path.lexists(os.path.join(data_dir, "postmaster.pid")) and not orphans:
            self.service().stop()
        # A directory deleted under its server leaves pg_ctl nothing to go by, and so does a postmaster that was killed.
        for pid in pids:
            if _server_process.is_server(pid):
                os.kill(pid, signal.SIGTERM if orphans else signal.SIGINT)
        if not wait_until(lambda: not _servers.servers_on(data_dir), _STOP_TIMEOUT):
            left = _servers.servers_on(data_dir)
            if left and not set(left) & set(pids):
                raise WalgError(
                    f"Somebody started the server on {data_dir} again (pid {', '.join(map(str, left))}) after it was stopped. Stop what "
                    "starts it, then run again.",
                    pids=left,
                )
            raise WalgError(
                f"The server (pid {', '.join(map(str, pids))}) on {data_dir} does not stop; end it, then run again."
            )

    @property
    def hands(self) -> Hands:
        """Who moves the cluster's directories."""
        return Hands(self.instance.owner)

    def remove_old(self, plan: RestorePlan) -> None:
        """Remove the old cluster, whose identifier was named, before the restore: there is no room for two. Its last WAL is kept."""
        owner = self.instance.owner
        if plan.salvage and plan.salvage_from not in _salvage.all_saved(plan.data):
            part = f"{_salvage.saved(plan.data)}.part"
            self.hands.remove(part)  # a killed run's copy is not whole
            self.hands.make_new(part)
            call_as(owner, _salvage.copy, plan.salvage_from, list(plan.salvage), part)
            self.hands.remove(_salvage.saved(plan.data))  # of an earlier run, after which the cluster wrote more
            self.hands.rename(part, _salvage.saved(plan.data))
        for one in plan.places:
            if one.used_by(plan.data.path, plan.found.links):
                self.hands.clear(one, plan.found.own_entry)

    def _refuse_unfit(self, saved: _state.RestoreState) -> None:
        """Raise WalgError, before the first change, where the parts are not where they belong or something else is mounted now."""
        _layout.refuse_changed_mounts(saved.places, saved.request)
        call_as(self.instance.owner, _layout.refuse_incomplete, saved.places)

    def _prove_start(self, saved: _state.RestoreState) -> None:
        """Make the restored directory what it will be in its place, and refuse what would not start there."""
        owner = self.instance.owner
        call_as(owner, _linked.refuse_lost_settings, saved.data.work)
        call_as(owner, _linked.lay, saved.data.work, saved.recovery.links)
        if saved.recovery.check_start:
            _start_check.StartCheck(self.runner, self.instance, saved).refuse()

    def _write_journal(self, saved: _state.RestoreState, stopped: bool) -> None:
        """Write down all steps before the first; where that fails, nothing was moved, and what was stopped runs again."""
        owner = self.instance.owner
        try:
            saved.journal = _journal.decode(call_as(owner, _steps, saved.places, owner.uid, owner.gid))
            _state.move_to(self.instance, saved, "swapping")
        except WalgError:
            self.give_way(stopped)
            raise

    def give_way(self, stopped: bool) -> None:
        """Nothing was moved: what was stopped runs again, and what was held is free."""
        if stopped:
            self.service().start()
        else:
            self.service().release()

    def make_way(self, data_dir: str, stop_running: bool) -> bool:
        """No server may run on the directory, and none may start by itself. Returns whether one was stopped."""
        service = self.service()
        if _servers.servers_on(data_dir):
            if not stop_running:
                raise WalgError(
                    f"A server runs on {data_dir}, where the restored cluster should be put. Stop it and run again, or set "
                    "walg_restore_stop_running: true; nothing was changed there."
                )
            service.hold()
            try:
                self.stop_running(data_dir)
            except WalgError:
                service.release()
                raise
            return True
        service.hold()
        return False

    def start(self, data_dir: str) -> bool:
        """Start the server unless it runs already or nothing is configured to start it; returns whether it runs."""
        service = self.service()
        service.release()
        running = bool(_servers.servers_on(data_dir))
        if service.managed and not running:
            service.start()
            return True
        return running

    def look_at_started(self, saved: _state.RestoreState) -> None:
        """Wait for a server that was started from outside, and look at it as at one that was started here."""
        self.service().wait_ready()
        saved.answer.started = True
        if not saved.rolled_back:
            saved.answer.take(self._look(saved))
            saved.answer.differs = self._differs(saved.answer.host_was or {})
        _state.save(self.instance, saved)

    def _look(self, saved: _state.RestoreState) -> dict[str, Any]:
        """Ask the started server whether it is what was restored; returns its timeline and archive_mode."""
        server = Server(self.runner, self.instance.cluster)
        wanted = "t" if saved.standby else "f"
        if not wait_until(lambda: server.run_sql("SELECT pg_is_in_recovery()").stdout.strip() == wanted, 60):
            state = "not in recovery" if saved.standby else "in recovery"
            raise WalgError(
                f"The restored server on {saved.data_dir} was started, but is {state}. Is there a standby.signal, "
                "or are there recovery settings, that this collection did not write?"
            )
        facts = server.own_facts()
        if facts.system_identifier != saved.system_identifier:
            raise WalgError(
                f"The server on {saved.data_dir} has system identifier {facts.system_identifier}, not {saved.system_identifier}."
            )
        wanted_timeline = saved.answer.timeline
        if wanted_timeline and not saved.standby and facts.timeline != wanted_timeline:
            raise WalgError(
                f"The server on {saved.data_dir} is on timeline {facts.timeline}, and timeline {wanted_timeline} was restored: it is not "
                "the server that should have been started. Find out who started it, and on what.",
                found=facts.timeline,
                wanted=wanted_timeline,
            )
        mode = server.ask("SHOW archive_mode")
        if saved.recovery.archive == "none" and mode != "off":
            self.service().stop()
            raise WalgError(
                f"The copy on {saved.data_dir} was stopped again: something on the server's command line switches archiving on, and a "
                "copy must not write into the archive that it was made from. Remove it there."
            )
        return {"timeline": facts.timeline, "archive_mode": mode}

    def _differs(self, was: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        """Name what the lost server had otherwise, as far as its base backup tells."""
        limits = was.get("limits") or {}
        rows = Server(self.runner, self.instance.cluster).settings(sorted(limits)) if limits else {}
        now = {name: str(row["setting"]) for name, row in rows.items()}
        return _backups.differing(was, now, _facts.libc())

    def _tidy(self, saved: _state.RestoreState) -> None:
        """Remove what the restore alone needed: directories inside mount points, the saved WAL."""
        data = saved.data
        for copy in _salvage.all_saved(data):
            if copy in (_salvage.saved(data), saved.recovery.salvage_from):
                self.hands.remove(copy)
        for one in saved.places:
            call_as(self.hands.owner, _layout.clear_work, one)
            if one.mount or one.tablespace:
                self.hands.remove_empty(one.work)
            if not saved.keeps_old:  # an empty directory that was in the way holds nothing to keep
                self.hands.remove_empty(one.aside)


def _steps(places: Sequence[_layout.Location], uid: int, gid: int) -> list[dict[str, Any]]:
    old = _data_dir.links(places[-1].path) if os.path.isdir(places[-1].path) else {}
    return _journal.encode(_layout.swap_steps(places, old, uid, gid))
