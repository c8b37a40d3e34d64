# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: this data directory holds the cluster as the archive has it. Fetch beside, recover beside, prove, swap. Private.

Production's path is touched only by two renames at the end; the old directory is kept. Every step is written to the
marker before it begins: a run that was killed before the swap is undone by the next, one killed in the swap is finished.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import _beside, _data_dir, _marker, _progress, _recovery, _registration, _restore_plan, _timelines, _walg
from ._errors import WalgError
from ._files import rename_directory, write_atomic
from ._flow_archive import client
from ._postgres import Server, wait_until
from ._process import User, call_as
from ._service import Service

if TYPE_CHECKING:
    from ._instance import Instance
    from ._process import Runner


def standing(instance: Instance, request: str) -> tuple[str, _marker.Marker | None]:
    """Say where a request stands: new, done, finish (killed in the swap). Raises WalgError where a human must decide."""
    _restore_plan.check_request(request)
    marker = _marker.load(instance)
    data_dir = os.path.realpath(instance.cluster.data_dir)
    if marker is None:
        return "new", None
    same = marker.digest == _restore_plan.request_digest(request, data_dir)
    if marker.swap_begun:
        if same and marker.data_dir == data_dir:
            return "finish", marker
        raise WalgError(
            f"The restore {marker.request!r} was cut off while it put the restored cluster into {marker.data_dir}. "
            "Run it again to finish it "
            f"(walg_restore_request: {marker.request}) before you ask for another."
        )
    if not same or marker.state != "done" or marker.data_dir != data_dir:
        return "new", marker
    found = _data_dir.look(data_dir, instance.cluster.owner())
    if found.kind != "cluster" or found.system_identifier != marker.system_identifier:
        raise WalgError(
            f"The restore {request!r} was done already, and now {data_dir} is {found.kind}: it was lost again. "
            "A new restore needs a new walg_restore_request."
        )
    return "done", marker


@dataclass
class Restore:
    """One run. Times in seconds by phase are part of the answer."""

    runner: Runner
    instance: Instance
    fetch_timeout: float
    recovery_timeout: float
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path = os.path.join(self.instance.state_dir, "progress.json")
        self.progress = _progress.Progress(path, "restore", owner=self.instance.cluster.owner())
        self.runner.tick = self.progress.touch
        self._phase = ""
        self._since = time.monotonic()

    def run(self, plan: _restore_plan.RestorePlan, before: _marker.Marker | None) -> dict[str, Any]:
        """Carry the plan out. ``before``: the marker of an unfinished run, whose leftovers are removed first."""
        if before is not None:
            self._discard(before)
        marker = self._new_marker(plan)
        marker.socket_dir = _beside.make_socket_dir(self.instance)
        try:
            self._fetch(plan, marker)
            self._recover(plan, marker)
        finally:
            _beside.remove_directory(self.instance, marker.socket_dir)
        return self.swap(marker)

    def swap(self, marker: _marker.Marker) -> dict[str, Any]:
        """Put the recovered directory in place and start the server; begun anew or taken up where a killed run stopped."""
        self._enter("swap")
        if marker.state != "starting":
            if os.path.lexists(marker.work_dir) and _data_dir.servers_on(marker.data_dir):
                raise WalgError(
                    f"A server was started on {marker.data_dir} while the restore ran beside it. Stop it and run again; "
                    f"nothing was changed there, and what was recovered is in {marker.work_dir}."
                )
            self._set(marker, "swapping")
            actor = self._parent_actor(marker.data_dir)
            call_as(actor, _swap, marker.data_dir, marker.work_dir, marker.aside_dir, marker.keeps_old)
            self._set(marker, "starting")
        self._enter("start")
        service = Service(self.runner, self.instance.cluster, os.path.join(self.instance.log_dir, "server.log"))
        if not _data_dir.servers_on(marker.data_dir):
            marker.result.update(_registration.register(self.runner, self.instance.cluster))
            service.start()
        server = Server(self.runner, self.instance.cluster)
        if not wait_until(lambda: server.run_sql("SELECT 1 WHERE NOT pg_is_in_recovery()").stdout.strip() == "1", 60):
            raise WalgError(
                f"The restored server on {marker.data_dir} was started, but is in recovery. "
                "Is there a standby.signal, or are there recovery settings of somebody else?"
            )
        facts = server.own_facts()
        if facts.system_identifier != marker.system_identifier:
            raise WalgError(
                f"The server on {marker.data_dir} has system identifier {facts.system_identifier}, not {marker.system_identifier}."
            )
        self._enter("done")
        marker.result["differs"] = _restore_plan.differs(marker.result, server)
        marker.result.update({"timeline": facts.timeline, "seconds": self.seconds, "finished": _progress.now()})
        self._set(marker, "done")
        self.progress.done({"request": marker.request})
        return marker.result

    def _new_marker(self, plan: _restore_plan.RestorePlan) -> _marker.Marker:
        return _marker.Marker(
            plan.request,
            plan.digest,
            "fetching",
            plan.backup.name,
            str(plan.backup.system_identifier),
            plan.data_dir,
            plan.work_dir,
            plan.aside_dir,
            keeps_old=plan.found.kind != "absent",
        )

    def _fetch(self, plan: _restore_plan.RestorePlan, marker: _marker.Marker) -> None:
        self._enter("fetch", expected_bytes=plan.backup.uncompressed_size)
        self._set(marker, "fetching")
        owner = self.instance.cluster.owner()
        _registration.make_parent(self.instance.cluster)
        call_as(self._parent_actor(plan.work_dir), _make_private, plan.work_dir, owner.uid, owner.gid)
        fetched = client(self.runner, self.instance).backup_fetch(plan.work_dir, plan.backup.name, self.fetch_timeout)
        if fetched.rc != 0 or fetched.timed_out:
            self._discard(marker)
            trouble = (
                f"did not end within {self.fetch_timeout:.0f} s"
                if fetched.timed_out
                else f"ended with {fetched.rc}: {fetched.last_line()}"
            )
            raise WalgError(
                f"Fetching the base backup {plan.backup.name} from {self.instance.storage} {trouble}. {plan.data_dir} was not touched.",
                **fetched.fields(),
            )

    def _recover(self, plan: _restore_plan.RestorePlan, marker: _marker.Marker) -> None:
        self._enter("recover")
        self._set(marker, "recovering")
        instance = self.instance
        fragment = os.path.join(instance.state_dir, "restore-plan.env")
        text = _recovery.plan_fragment(plan.last_segments, _walg.sentinel_object(plan.backup.name))
        call_as(instance.cluster.owner(), write_atomic, fragment, text, 0o644)
        command = _recovery.fetch_command(instance.program_dir, "recovery", instance.record_file, fragment)
        recovery = _recovery.recover_to_latest(plan.backup.pg_major, command, plan.timeline)
        beside = _beside.Beside(self.runner, instance, plan.work_dir, plan.backup.pg_major, marker.socket_dir)
        beside.prepare(recovery)
        try:
            beside.start(recovery)
            beside.wait_recovered(self.recovery_timeout)
            proof = beside.prove()
            _refuse_less(plan, proof)
            self._enter("stop beside")
            beside.stop()
        except WalgError as exc:
            exc.msg += f" {plan.data_dir} was not touched; what was recovered so far is in {plan.work_dir}."
            raise
        finally:
            beside.kill()
        marker.result = {**plan.summary(), **proof}
        self._set(marker, "recovered")

    def stop_old(self, data_dir: str) -> None:
        """Stop what runs on the old directory, before the plan is made for good: a clean stop archives its last WAL."""
        pids = _data_dir.servers_on(data_dir)
        if os.path.lexists(os.path.join(data_dir, "postmaster.pid")):
            Service(self.runner, self.instance.cluster, "").stop()
        for pid in pids:  # a directory deleted under its server leaves pg_ctl nothing to go by
            if _data_dir.alive(pid):
                os.kill(pid, signal.SIGINT)
        if not wait_until(lambda: not _data_dir.servers_on(data_dir), 120):
            raise WalgError(
                f"The server (pid {', '.join(map(str, pids))}) on {data_dir} does not stop; end it, then run again."
            )

    def _discard(self, marker: _marker.Marker) -> None:
        """Remove what an unfinished run left: its server, its directory, its socket directory. Only ours, by the marker."""
        if marker.state in ("fetching", "recovering", "recovered"):
            _beside.stop_stray(marker.work_dir, self.instance.binary)
            call_as(self._parent_actor(marker.work_dir), _beside.remove_tree, marker.work_dir)
            _beside.remove_directory(self.instance, marker.socket_dir)

    def _parent_actor(self, path: str) -> User | None:
        """Who makes and renames entries beside the data directory: its owner where the parent is his, else us."""
        owner = self.instance.cluster.owner()
        return owner if os.stat(os.path.dirname(path)).st_uid == owner.uid else None

    def _set(self, marker: _marker.Marker, state: str) -> None:
        marker.state = state
        _marker.save(self.instance, marker)

    def _enter(self, phase: str, **details: Any) -> None:
        now = time.monotonic()
        if self._phase:
            self.seconds[self._phase] = round(now - self._since, 3)
        self._phase, self._since = phase, now
        self.progress.phase(phase, **details)


def _refuse_less(plan: _restore_plan.RestorePlan, proof: dict[str, Any]) -> None:
    """Never silently less: all WAL that the plan listed was replayed, on the right cluster, and a new timeline begun."""
    if proof["system_identifier"] != plan.backup.system_identifier:
        raise WalgError(
            f"The recovered cluster has system identifier {proof['system_identifier']}, wanted {plan.backup.system_identifier}."
        )
    if proof["timeline"] <= plan.timeline:
        raise WalgError(
            f"The recovered cluster is on timeline {proof['timeline']}, which is not above {plan.timeline}."
        )
    if not plan.last_segments:
        return
    last = plan.last_segments[-1]
    wanted = _timelines.segment_number(last, plan.segment_size) * plan.segment_size
    if _timelines.parse_lsn(proof["replayed_lsn"] or "0/0") <= wanted:
        raise WalgError(
            f"Recovery ended at {proof['replayed_lsn']} (last commit {proof['last_commit']}), but the archive goes on to the segment "
            f"{last}: not all of it was replayed.",
            found=proof["replayed_lsn"],
            wanted=last,
        )


def _make_private(path: str, uid: int, gid: int) -> None:
    os.mkdir(path, 0o700)
    if os.geteuid() == 0:
        os.chown(path, uid, gid)


def _swap(data_dir: str, work_dir: str, aside_dir: str, keeps_old: bool) -> None:
    """Two renames; each is skipped if a killed run has made it."""
    if os.path.lexists(work_dir):
        if keeps_old and os.path.lexists(data_dir) and not os.path.lexists(aside_dir):
            rename_directory(data_dir, aside_dir)
        rename_directory(work_dir, data_dir)
    elif not os.path.lexists(data_dir):
        raise WalgError(
            f"Neither {work_dir} nor {data_dir} exists; the old directory is {aside_dir}. Somebody moved them: put one back."
        )
