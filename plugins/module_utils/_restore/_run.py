# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: this data directory holds the cluster as of the target. Fetch beside, recover beside, prove, swap. Private.

Production's path is touched only by the journalled renames at the end; the old directory is kept. Every step is written to
the marker before it begins: a run that was cut off before it had recovered is undone by the next, a later one is finished.
"""

from __future__ import annotations

import os
import time
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
from .._walg._client import client
from . import (
    _fetched,
    _layout,
    _own_settings,
    _own_settings_check,
    _plan,
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
    from ._plan import RestorePlan
    from ._wish import Wish


@dataclass
class Restore:
    """One run. Times in seconds by phase are part of the answer."""

    runner: Runner
    instance: Instance
    fetch_timeout: float
    recovery_timeout: float
    fetch_stall_timeout: float = 0.0  # seconds without anything new; 0: not looked at
    seconds: dict[str, float] = field(default_factory=dict)
    stopped: bool = False  # the old server, by this run or by one that was cut off
    #: The control file of the cluster whose latest state is wanted, since its server was stopped (_stopped).
    old: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path = self.instance.files.progress
        self.progress = _progress.Progress(path, "restore", owner=self.instance.owner)
        self.runner.tick = self.progress.touch
        self.swapper = _swap.Swap(self.runner, self.instance, self.progress, self.enter)
        self._phase = ""
        self._since = time.monotonic()

    def run(self, plan: RestorePlan, before: _state.Marker | None) -> dict[str, Any]:
        """Carry the plan out. ``before``: the marker of an unfinished run, whose leftovers are removed first."""
        if before is not None:
            self.stopped = self.stopped or (before.stopped and before.state in _state.BESIDE)
            self.discard(before)
        marker = self._new_marker(plan)
        marker.socket_dir = _recovery_server.make_socket_dir(self.instance)
        try:
            self._fetch(plan, marker)
            self._recover(marker, plan.wish)
        except BaseException:
            _recovery_server.remove_directory(self.instance, marker.socket_dir)
            raise
        return self._conclude(marker, plan.wish)

    def forward(self, marker: _state.Marker, wish: Wish) -> dict[str, Any]:
        """Take a restore that waits on: to a later target, or to its promotion. Nothing is fetched again."""
        work = marker.work_dirs()[-1]
        _recovery_server.stop_left_running(work)
        _recovery_server.stop_stray(work, self.instance.binary)  # children of one that died
        marker.target = wish.target.as_dict()
        marker.plan.update({"target": marker.target, "action": wish.action, "settings": dict(wish.settings)})
        _recovery_server.remove_directory(self.instance, marker.socket_dir)
        marker.socket_dir = _recovery_server.make_socket_dir(self.instance)
        self._recover(marker, wish, "moving on")
        return self._conclude(marker, wish)

    def _conclude(self, marker: _state.Marker, wish: Wish) -> dict[str, Any]:
        if marker.waits:
            marker.result["seconds"] = dict(self.seconds)
            _state.save(self.instance, marker)
            return marker.result
        _recovery_server.remove_directory(self.instance, marker.socket_dir)
        return self.swap(marker, wish)

    def swap(self, marker: _state.Marker, wish: Wish) -> dict[str, Any]:
        """Put the recovered directories in place and start the server; begun anew or taken up where a killed run stopped."""
        _linked.refuse_unfit(wish.links)
        marker.plan["check_start"] = wish.check_start
        marker.plan["links"] = {**(marker.plan.get("links") or {}), **wish.links}
        return self.swapper.forth(marker, wish.stop_running, self.seconds)

    def roll_back(self, marker: _state.Marker, stop_running: bool) -> dict[str, Any]:
        """Put the old directories back."""
        return _roll_back.RollBack(self.swapper).run(marker, stop_running, self.seconds)

    def give_up(self, marker: _state.Marker) -> dict[str, Any]:
        """Remove what lies beside, and start what was stopped for it."""
        self.discard(marker)
        return _roll_back.RollBack(self.swapper).give_up(marker, self.discard_saved_wal(marker), self.seconds)

    def stop_old(self, data_dir: str) -> None:
        """Stop what runs on the old directory: a clean stop archives its last WAL."""
        self.swapper.stop_running(data_dir)
        self.stopped = True

    def start_old(self) -> None:
        """Start what was stopped for a restore that did not come to its swap."""
        self.swapper.service().start()

    def discard(self, marker: _state.Marker) -> None:
        """Remove what an unfinished run left: its server, its directories, its socket directory. Only ours, by the marker."""
        if marker.state not in _state.BESIDE:
            return
        if marker.state != "fetching":  # removed by half, it must not be taken up where it was: it has lost files
            self._set(marker, "fetching")
        for work in marker.work_dirs():
            _recovery_server.stop_stray(work, self.instance.binary)
        for work in marker.work_dirs():
            self.swapper.hands.remove(work)
        _recovery_server.remove_directory(self.instance, marker.socket_dir)

    def discard_saved_wal(self, marker: _state.Marker) -> str:
        """Remove the copy of the old cluster's last WAL, unless that cluster is gone; returns where it is kept then."""
        data = _layout.decode(marker.places)[-1]
        copy = _salvage.saved(data)
        if not os.path.isdir(copy):
            return ""
        found = _data_dir.look(data.path, self.instance.owner)
        if found.kind != "cluster" or found.system_identifier != marker.system_identifier:
            return copy
        self.swapper.hands.remove(copy)
        return ""

    def _new_marker(self, plan: RestorePlan) -> _state.Marker:
        return _state.Marker(
            request=plan.wish.request,
            state="fetching",
            target=plan.wish.target.as_dict(),
            standby=plan.wish.standby,
            backup=plan.backup.name,
            system_identifier=str(plan.backup.system_identifier),
            data_dir=plan.data.path,
            places=_layout.encode(plan.places),
            plan={
                **plan.summary(),
                "major": plan.backup.pg_major,
                "segment_size": plan.segment_size,
                "primary_conninfo": plan.wish.primary_conninfo,
                "stays_on": plan.stays_on,
                "along": plan.along,
                "archive": plan.wish.archive,
                "salvage_from": _plan.salvaged_from(plan),
                "icu": str(_verdict.recorded_icu(plan.backup)),
                "other_host_allowed": plan.wish.other_host_allowed,
                "recorded": _recorded.as_dict(plan.backup),
            },
            keeps_old=plan.kept_as is not None,
            stopped=self.stopped,
            old=dict(self.old),
        )

    def _fetch(self, plan: RestorePlan, marker: _state.Marker) -> None:
        self.enter("fetch", expected_bytes=plan.backup.uncompressed_size)
        self._set(marker, "fetching")
        owner, work = self.instance.owner, plan.data.work
        if plan.wish.overwrite:
            with _stopped.held(marker.data_dir, owner):
                if marker.old:
                    _stopped.refuse_started(marker.data_dir, owner, marker.old)
                self.swapper.remove_old(plan)
            marker.old = {}
        _debian_entry.make_parent(self.instance.cluster)
        for one in plan.places:
            self.swapper.hands.make_new(one.work)
        spec = ""
        spaces = {one.link.rpartition("/")[2]: one.work for one in plan.places if one.link.startswith("pg_tblspc/")}
        if spaces:
            spec = os.path.join(self.instance.state_dir, "restore-spec.json")
            call_as(owner, write_atomic, spec, _client.restore_spec_text(work, spaces), 0o644)
        self._backup_fetch(plan, marker, spec)
        call_as(owner, _fetched.settle, _layout.encode(plan.places), dict(plan.spec))
        call_as(owner, _linked.after_fetch, work)
        if plan.salvage:
            call_as(owner, _salvage.copy, marker.plan["salvage_from"], list(plan.salvage), os.path.join(work, "pg_wal"))

    def _backup_fetch(self, plan: RestorePlan, marker: _state.Marker, spec: str) -> None:
        owner, walg = self.instance.owner, client(self.runner, self.instance)
        fields: dict[str, Any] = {}
        self.progress.watch = _stall.Stall(marker.work_dirs(), owner, self.fetch_stall_timeout).details
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
        self.discard(marker)
        untouched = "" if plan.wish.overwrite else f" {plan.data.path} was not touched."
        raise WalgError(
            f"Fetching the base backup {plan.backup.name} from {self.instance.storage} {trouble.rstrip('.')}.{untouched}",
            **fields,
        )

    def _recover(self, marker: _state.Marker, wish: Wish, state: str = "recovering") -> None:
        self.enter("recover")
        self._set(marker, state)
        instance, plan, target = self.instance, marker.plan, Target(**marker.target)
        fragment = instance.files.restore_plan
        text = _recovery.plan_fragment(list(plan["last_segments"]), _client.sentinel_object(marker.backup))
        call_as(instance.owner, write_atomic, fragment, text, 0o644)
        work, major = marker.work_dirs()[-1], int(plan["major"])
        if wish.standby:
            recovery = _recovery.follow(major, self._fetch_command("standby", "-"), timeline=plan.get("stays_on"))
        else:
            command = self._fetch_command("recovery", fragment)
            recovery = _recovery.recover_to(
                major, command, plan.get("along") or int(plan["timeline"]), target, wish.action
            )
        beside = _recovery_server.Beside(
            self.runner, instance, work, major, marker.socket_dir, self._own_settings(marker, work)
        )
        if wish.standby:
            beside.follow_until = (_verdict.must_reach(plan) or (0, ""))[0]
        beside.prepare(recovery, plan.get("settings") or {})
        self.progress.watch = _verdict.Watch(beside, plan).details
        try:
            state = self._through(beside, recovery, "follow" if wish.standby else wish.action, target)
            proof = beside.prove() if state == "promoted" else beside.standing() if state != "shut down" else {}
            _verdict.refuse_less(plan, marker.system_identifier, target, state, proof, beside.lines())
            _verdict.refuse_other_icu(plan, proof)
            if state in ("promoted", "following"):
                _catalog_check.refuse_missing(beside.server())
            stopped_at = _targets.proof(beside.lines(), target)
            marker.result = {
                **{name: value for name, value in plan.items() if name not in ("recorded", "stays_on", "along")},
                **proof,
                "stopped_at": stopped_at,
                "state": state,
                "made_again": self._made_again(marker),
            }
            if state in ("promoted", "following"):
                if state == "promoted":
                    self._tell_of_subscriptions(marker, beside)
                self.enter("stop beside")
                beside.stop()
                self._finish(marker, work)
                if state == "promoted" and plan["archive"] == "resume":
                    self._queue_salvaged(marker, work, str(proof["replayed_lsn"]))
        except BaseException as exc:
            beside.kill()
            if isinstance(exc, WalgError):
                exc.msg += f" {marker.data_dir} was not touched; what was recovered so far is in {work}."
            if isinstance(exc, _targets.NotReachedError):
                exc.msg += _verdict.older_backups(plan, target)
            raise
        finally:
            self.progress.watch = None
        if state == "paused":
            marker.result["connect"] = (
                f"psql -h {marker.socket_dir} -p {_recovery_server.PORT} -U {instance.cluster.user}"
            )
        self._set(marker, "recovered" if state in ("promoted", "following") else state)

    def _own_settings(self, marker: _state.Marker, work: str) -> _own_settings.Own:
        """Return the cluster's own settings, now that its files are here. Raises WalgError for what this host lacks for them."""
        plan, cluster = marker.plan, self.instance.cluster
        recorded, wished = _recorded.read(plan.get("recorded") or {}), dict(plan.get("settings") or {})
        own = _own_settings.fetched(cluster, work, recorded, wished)
        try:
            _own_settings_check.Checker(
                self.runner, cluster, int(plan["major"]), recorded, wished, marker.standby
            ).refuse(own)
        except WalgError as exc:
            exc.msg += f"\n{marker.data_dir} was not touched; the base backup that was fetched is in {work}."
            raise
        return own

    def _tell_of_subscriptions(self, marker: _state.Marker, beside: _recovery_server.Beside) -> None:
        """Name the cluster's subscriptions in the answer; those of a copy are cut off first."""
        copy = marker.plan["archive"] == "none"
        found = beside.subscriptions(cut_off=copy)
        marker.result["subscriptions"] = found
        told = _own_settings_check.subscriptions_note(found, copy=copy)
        before = [one for one in marker.result.get("notes") or [] if not _own_settings_check.is_on_subscriptions(one)]
        marker.result["notes"] = [*before, *([told] if found else [])]

    def _made_again(self, marker: _state.Marker) -> dict[str, str]:
        """Return the tablespaces that replay made, OID -> location: they are in their place already, and no part of the swap."""
        found = _data_dir.look(marker.work_dirs()[-1], self.instance.owner)
        planned = {one.link for one in _layout.decode(marker.places)}
        return {oid: path for oid, path in found.tablespaces().items() if f"pg_tblspc/{oid}" not in planned}

    def _fetch_command(self, mode: str, fragment: str) -> str:
        return _recovery.fetch_command(self.instance.program_dir, mode, self.instance.record_file, fragment)

    def _finish(self, marker: _state.Marker, work: str) -> None:
        """Write into the recovered directory what it is to be when it is in place."""
        follow = None
        major = int(marker.plan["major"])
        if marker.standby:
            primary = str(marker.plan["primary_conninfo"])
            stays = marker.plan.get("stays_on")
            follow = _recovery.follow(major, self._fetch_command("standby", "-"), primary, timeline=stays)
        archive_off = marker.plan["archive"] == "none"
        files = dict(follow.files) if follow else {}
        settings = dict(follow.settings) if follow else {}
        call_as(self.instance.owner, _recovery_files, work, files, settings, archive_off, major)

    def _queue_salvaged(self, marker: _state.Marker, work: str, replayed: str) -> None:
        """The segments of the old cluster's own that were replayed to their end are archived by the restored one."""
        size, end = int(marker.plan["segment_size"]), _wal.parse_lsn(replayed)
        names = list(marker.plan["salvaged_segments"])
        full = [name for name in names if (_wal.segment_number(name, size) + 1) * size <= end]
        if full:
            pg_wal = os.path.join(work, "pg_wal")
            source, identifier = marker.plan["salvage_from"], marker.system_identifier
            call_as(self.instance.owner, _salvage.queue, source, full, pg_wal, identifier, size)

    def _through(
        self, beside: _recovery_server.Beside, recovery: _recovery.Recovery, action: str, target: Target
    ) -> str:
        """Start and wait. A promotion does not need a server that can be read meanwhile: where that fails, it goes on without."""
        owner = self.instance.owner
        limits = _data_dir.look(beside.directory, owner).limits or None
        beside.start(recovery, limits)
        try:
            return beside.wait(action, target, self.recovery_timeout)
        except _recovery_server.UnreadableError:
            if action in ("pause", "follow"):
                raise
            beside.kill()
            beside.start(recovery, None)
            return beside.wait(action, target, self.recovery_timeout)

    def _set(self, marker: _state.Marker, state: str) -> None:
        marker.state = state
        _state.save(self.instance, marker)

    def enter(self, phase: str, **details: Any) -> None:
        """Enter a phase: the last one's seconds are known now."""
        now = time.monotonic()
        if self._phase:
            self.seconds[self._phase] = round(now - self._since, 3)
        self._phase, self._since = phase, now
        self.progress.phase(phase, **details)


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
