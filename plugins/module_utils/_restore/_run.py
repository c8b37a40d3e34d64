# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: this data directory holds the cluster as of the target. Fetch beside, recover beside, prove, swap.

Production's path is touched only by the journalled renames at the end; the old directory is kept. Every step is written to
the saved before it begins: a run that was cut off before it had recovered is undone by the next, a later one is finished.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._archive import _linked, _recorded
from .._errors import WalgError
from .._host import _files, _progress
from .._host._files import read_conf, write_atomic
from .._host._users import call_as
from .._postgres import _catalog_check, _data_dir, _debian_entry, _recovery, _targets, _wal
from .._postgres._targets import Target
from .._walg import _client
from .._walg._client import Walg
from . import (
    _fetched,
    _own_settings,
    _own_settings_check,
    _proved,
    _recovery_server,
    _roll_back,
    _salvage,
    _stall,
    _state,
    _stopped,
    _swap,
    _verdict,
)

if TYPE_CHECKING:
    from .._host._process import Runner
    from .._instance._record import Instance
    from ._answer import Answer
    from ._options import RestoreOptions
    from ._plan import RestorePlan


@dataclass
class RestoreRun:
    """One run. Times in seconds by phase are part of the answer."""

    runner: Runner
    instance: Instance
    fetch_timeout: float
    recovery_timeout: float
    fetch_stall_timeout: float = 0.0  # seconds without anything new; 0: not looked at
    stopped: bool = False  # the old server, by this run or by one that was cut off
    #: The control file of the cluster whose latest state is asked for, since its server was stopped (_stopped).
    old: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path = self.instance.files.progress
        self.progress = _progress.Progress(path, "restore", owner=self.instance.owner)
        self.runner.tick = self.progress.touch
        self.swapper = _swap.Swap(self.runner, self.instance, self.progress)

    def run(self, plan: RestorePlan, before: _state.RestoreState | None) -> Answer:
        """Carry the plan out. ``before``: an unfinished run, whose leftovers are removed first."""
        if before is not None:
            self.stopped = self.stopped or (before.stopped and before.state in _state.BESIDE)
            self.discard(before)
        saved = self._new_state(plan)
        saved.socket_dir = _recovery_server.make_socket_dir(self.instance)
        try:
            self._fetch(plan, saved)
            self._recover(saved, plan.options)
        except BaseException:
            _recovery_server.remove_directory(self.instance, saved.socket_dir)
            raise
        return self._conclude(saved, plan.options)

    def forward(self, saved: _state.RestoreState, options: RestoreOptions) -> Answer:
        """Take a restore that waits on: to a later target, or to its promotion. Nothing is fetched again."""
        work = saved.data.work
        _recovery_server.stop_left_running(work)
        _recovery_server.stop_stray(work, self.instance.binary)  # children of one that died
        saved.target, saved.recovery.settings = options.target, dict(options.settings)
        saved.answer.target, saved.answer.action, saved.answer.settings = (
            options.target.as_dict(),
            options.action,
            dict(options.settings),
        )
        _recovery_server.remove_directory(self.instance, saved.socket_dir)
        saved.socket_dir = _recovery_server.make_socket_dir(self.instance)
        self._recover(saved, options, "moving on")
        return self._conclude(saved, options)

    def _conclude(self, saved: _state.RestoreState, options: RestoreOptions) -> Answer:
        if saved.waits:
            saved.answer.seconds = dict(self.progress.seconds)
            _state.save(self.instance, saved)
            return saved.answer
        _recovery_server.remove_directory(self.instance, saved.socket_dir)
        return self.swap(saved, options)

    def swap(self, saved: _state.RestoreState, options: RestoreOptions) -> Answer:
        """Put the recovered directories in place and start the server; from the beginning, or from where a killed run stopped."""
        _linked.refuse_unfit(options.links)
        saved.recovery.check_start = options.check_start
        saved.recovery.links = {**saved.recovery.links, **options.links}
        return self.swapper.apply(saved, options.stop_running)

    def roll_back(self, saved: _state.RestoreState, stop_running: bool) -> Answer:
        """Put the old directories back."""
        return _roll_back.RollBack(self.swapper).run(saved, stop_running)

    def give_up(self, saved: _state.RestoreState) -> Answer:
        """Remove what lies beside, and start what was stopped for it."""
        self.discard(saved)
        return _roll_back.RollBack(self.swapper).give_up(saved, self.discard_saved_wal(saved))

    def stop_old(self, data_dir: str) -> None:
        """Stop what runs on the old directory: a clean stop archives its last WAL."""
        self.swapper.stop_running(data_dir)
        self.stopped = True

    def start_old(self) -> None:
        """Start what was stopped for a restore that did not come to its swap."""
        self.swapper.service().start()

    def discard(self, saved: _state.RestoreState) -> None:
        """Remove what an unfinished run left: its server, its directories, its socket directory. Only ours, by what it wrote down."""
        if saved.state not in _state.BESIDE:
            return
        if saved.state != "fetching":  # removed by half, it must not be taken up where it was: it has lost files
            _state.move_to(self.instance, saved, "fetching")
        for work in saved.work_dirs():
            _recovery_server.stop_stray(work, self.instance.binary)
        for work in saved.work_dirs():
            self.swapper.hands.remove(work)
        _recovery_server.remove_directory(self.instance, saved.socket_dir)

    def discard_saved_wal(self, saved: _state.RestoreState) -> str:
        """Remove the copy of the old cluster's last WAL, unless that cluster is gone; returns where it is kept then."""
        data = saved.data
        copy = _salvage.saved(data)
        if not os.path.isdir(copy):
            return ""
        found = _data_dir.inspect(data.path, self.instance.owner)
        if found.kind != "cluster" or found.system_identifier != saved.system_identifier:
            return copy
        self.swapper.hands.remove(copy)
        return ""

    def _new_state(self, plan: RestorePlan) -> _state.RestoreState:
        return _state.RestoreState(
            request=plan.options.request,
            state="fetching",
            target=plan.options.target,
            standby=plan.options.standby,
            backup=plan.backup.name,
            system_identifier=str(plan.backup.system_identifier),
            data_dir=plan.data.path,
            places=list(plan.places),
            recovery=plan.recovery(),
            answer=plan.answer(),
            keeps_old=plan.kept_as is not None,
            stopped=self.stopped,
            old=dict(self.old),
        )

    def _fetch(self, plan: RestorePlan, saved: _state.RestoreState) -> None:
        self.progress.enter("fetch", expected_bytes=plan.backup.uncompressed_size)
        _state.move_to(self.instance, saved, "fetching")
        owner, work = self.instance.owner, plan.data.work
        if plan.options.overwrite:
            with _stopped.kept_stopped(saved.data_dir, owner):
                if saved.old:
                    _stopped.refuse_started(saved.data_dir, owner, saved.old)
                self.swapper.remove_old(plan)
            saved.old = {}
        _debian_entry.make_parent(self.instance.cluster)
        for one in plan.places:
            self.swapper.hands.make_new(one.work)
        spec = ""
        spaces = {one.link.rpartition("/")[2]: one.work for one in plan.places if one.link.startswith("pg_tblspc/")}
        if spaces:
            spec = os.path.join(self.instance.state_dir, "restore-spec.json")
            call_as(owner, write_atomic, spec, _client.restore_spec_text(work, spaces), 0o644)
        self._backup_fetch(plan, saved, spec)
        call_as(owner, _fetched.settle, plan.places, dict(plan.spec))
        call_as(owner, _linked.after_fetch, work)
        if plan.salvage:
            call_as(owner, _salvage.copy, saved.recovery.salvage_from, list(plan.salvage), os.path.join(work, "pg_wal"))

    def _backup_fetch(self, plan: RestorePlan, saved: _state.RestoreState, spec: str) -> None:
        owner, walg = self.instance.owner, Walg.of(self.runner, self.instance)
        fields: dict[str, Any] = {}
        self.progress.watch = _stall.Stall(saved.work_dirs(), owner, self.fetch_stall_timeout).details
        self.progress.touch()
        try:
            fetched = walg.backup_fetch(plan.data.work, plan.backup.name, self.fetch_timeout, spec)
            if fetched.rc == 0 and not fetched.timed_out:
                return
            trouble, fields = f"ended with {fetched.rc}: {fetched.last_line()}", fetched.fields()
            if fetched.timed_out:
                trouble = f"did not end within {self.fetch_timeout:.0f} s (walg_restore_fetch_timeout)"
        except _stall.StalledError as exc:
            fields, said = exc.fields, exc.fields.pop("said", "")
            trouble = f"was ended: {exc.msg} (walg_restore_fetch_stall_timeout). WAL-G said: {said or 'nothing'}"
        finally:
            self.progress.watch = None
        self.discard(saved)
        untouched = "" if plan.options.overwrite else f" {plan.data.path} was not touched."
        raise WalgError(
            f"Fetching the base backup {plan.backup.name} from {self.instance.storage} {trouble.rstrip('.')}.{untouched}",
            **fields,
        )

    def _recover(self, saved: _state.RestoreState, options: RestoreOptions, state: _state.State = "recovering") -> None:
        self.progress.enter("recover")
        _state.move_to(self.instance, saved, state)
        instance, plan, target = self.instance, saved.recovery, saved.target
        fragment = instance.files.restore_plan
        text = _recovery.plan_fragment(plan.last_segments, _client.sentinel_object(saved.backup))
        call_as(instance.owner, write_atomic, fragment, text, 0o644)
        work, major = saved.data.work, plan.major
        if options.standby:
            recovery = _recovery.follow(major, self._fetch_command("standby", "-"), timeline=plan.stays_on)
        else:
            command = self._fetch_command("recovery", fragment)
            recovery = _recovery.recover_to(major, command, plan.along, target, options.action)
        beside = _recovery_server.RecoveryServer(
            self.runner, instance, work, major, saved.socket_dir, self._own_settings(saved, work)
        )
        if options.standby:
            beside.follow_until = (_verdict.must_reach(plan) or (0, ""))[0]
        beside.prepare(recovery, plan.settings)
        self.progress.watch = _verdict.Watch(beside, plan).details
        try:
            ended = self._through(beside, recovery, "follow" if options.standby else options.action, target)
            proof = beside.prove() if ended == "promoted" else beside.position() if ended != "shut down" else {}
            _verdict.refuse_less(plan, saved.system_identifier, target, ended, proof, beside.lines())
            _verdict.refuse_other_icu(plan, proof)
            if ended in ("promoted", "following"):
                _catalog_check.refuse_missing(beside.server())
            stopped_at = _targets.proof(beside.lines(), target)
            saved.answer.take(
                {
                    **proof,
                    "stopped_at": stopped_at,
                    "state": ended,
                    "made_again": self._made_again(saved),
                    "connect": None,
                }
            )
            if ended in ("promoted", "following"):
                if ended == "promoted":
                    self._tell_of_subscriptions(saved, beside)
                self.progress.enter("stop beside")
                beside.stop()
                self._finish(saved, work)
                if ended == "promoted" and plan.archive == "resume":
                    self._queue_salvaged(saved, work, str(proof["replayed_lsn"]))
        except BaseException as exc:
            beside.kill()
            if isinstance(exc, WalgError):
                exc.msg += f" {saved.data_dir} was not touched; what was recovered so far is in {work}."
            if isinstance(exc, _targets.NotReachedError):
                exc.msg += _verdict.older_backups(plan, saved.backup, target)
            raise
        finally:
            self.progress.watch = None
        if ended == "paused":
            saved.answer.connect = f"psql -h {saved.socket_dir} -p {_recovery_server.PORT} -U {instance.cluster.user}"
        _proved.tell(self.instance, saved)
        _state.move_to(self.instance, saved, ended if ended in ("paused", "shut down") else "recovered")

    def _own_settings(self, saved: _state.RestoreState, work: str) -> _own_settings.Own:
        """Return the cluster's own settings, now that its files are here. Raises WalgError for what this host lacks for them."""
        plan, cluster = saved.recovery, self.instance.cluster
        recorded, wished = _recorded.read(plan.recorded), dict(plan.settings)
        own = _own_settings.fetched(cluster, work, recorded, wished)
        try:
            _own_settings_check.Checker(self.runner, cluster, plan.major, recorded, wished, saved.standby).refuse(own)
        except WalgError as exc:
            exc.msg += f"\n{saved.data_dir} was not touched; the base backup that was fetched is in {work}."
            raise
        return own

    def _tell_of_subscriptions(self, saved: _state.RestoreState, beside: _recovery_server.RecoveryServer) -> None:
        """Name the cluster's subscriptions in the answer; those of a copy are cut off first."""
        copy = saved.recovery.archive == "none"
        found = beside.subscriptions(cut_off=copy)
        saved.answer.subscriptions = found
        told = _own_settings_check.subscriptions_note(found, copy=copy)
        before = [one for one in saved.answer.notes or [] if not _own_settings_check.is_on_subscriptions(one)]
        saved.answer.notes = [*before, *([told] if found else [])]

    def _made_again(self, saved: _state.RestoreState) -> dict[str, str]:
        """Return the tablespaces that replay made, OID -> location: they are in their place already, and no part of the swap."""
        found = _data_dir.inspect(saved.data.work, self.instance.owner)
        planned = {one.link for one in saved.places}
        return {oid: path for oid, path in found.tablespaces().items() if f"pg_tblspc/{oid}" not in planned}

    def _fetch_command(self, mode: str, fragment: str) -> str:
        return _recovery.fetch_command(self.instance.program_dir, mode, self.instance.record_file, fragment)

    def _finish(self, saved: _state.RestoreState, work: str) -> None:
        """Write into the recovered directory what it should be when it is in place."""
        follow = None
        major = saved.recovery.major
        if saved.standby:
            primary, stays = saved.recovery.primary_conninfo, saved.recovery.stays_on
            follow = _recovery.follow(major, self._fetch_command("standby", "-"), primary, timeline=stays)
        archive_off = saved.recovery.archive == "none"
        files = dict(follow.files) if follow else {}
        settings = dict(follow.settings) if follow else {}
        call_as(self.instance.owner, _recovery_files, work, files, settings, archive_off, major)

    def _queue_salvaged(self, saved: _state.RestoreState, work: str, replayed: str) -> None:
        """The segments of the old cluster's own that were replayed to their end are archived by the restored one."""
        size, end = saved.recovery.segment_size, _wal.parse_lsn(replayed)
        names = saved.recovery.salvaged_segments
        full = [name for name in names if (_wal.segment_number(name, size) + 1) * size <= end]
        if full:
            pg_wal = os.path.join(work, "pg_wal")
            source, identifier = saved.recovery.salvage_from, saved.system_identifier
            call_as(self.instance.owner, _salvage.queue, source, full, pg_wal, identifier, size)

    def _through(
        self, beside: _recovery_server.RecoveryServer, recovery: _recovery.Recovery, action: str, target: Target
    ) -> _recovery_server.Ended:
        """Start and wait. A promotion does not need a server that can be read meanwhile: where that fails, it continues without."""
        owner = self.instance.owner
        limits = _data_dir.inspect(beside.directory, owner).limits or None
        beside.start(recovery, limits)
        try:
            return beside.wait(action, target, self.recovery_timeout)
        except _recovery_server.UnreadableError:
            if action in ("pause", "follow"):
                raise
            beside.kill()
            beside.start(recovery, None)
            return beside.wait(action, target, self.recovery_timeout)


def _recovery_files(work: str, files: dict[str, str], settings: dict[str, str], archive_off: bool, major: int) -> None:
    """As the owner: signal files, and postgresql.auto.conf, where a standby's settings stand as pg_basebackup -R has them."""
    _files.remove_files(work, _recovery.LEFTOVERS)
    for name, content in files.items():
        write_atomic(os.path.join(work, name), content)
    path = os.path.join(work, "postgresql.auto.conf")
    before = read_conf(path) or ""
    after = _recovery.with_settings(_recovery.scrub(before), settings)
    if archive_off:
        after = _recovery.without_archiving(after, major)
    if after != before:
        write_atomic(path, after)
