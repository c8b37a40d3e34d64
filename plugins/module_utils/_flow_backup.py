# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: a base backup exists. The module walg_backup and the job on the host are one and the same code. Private.

A backup counts only when its WAL from start to finish is in the storage: up to WAL-G 3.0.8, PostgreSQL 15 and later
are not waited for, and a backup without its WAL can't be restored.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from . import (
    _backups,
    _compatibility,
    _data_dir,
    _flow_owner,
    _host_facts,
    _linked,
    _lock,
    _owner,
    _progress,
    _readable,
    _recorded,
    _sessions,
    _storage,
    _timelines,
    _walg,
)
from ._choice import counts
from ._errors import WalgError
from ._flow_archive import client
from ._postgres import Server
from ._process import call_as
from ._waiting import wait_until

if TYPE_CHECKING:
    from ._instance import Instance
    from ._postgres import ServerFacts
    from ._process import Runner
    from ._timelines import Inventory

#: Seconds to wait for the backup's last segment; the archiver may be behind.
WAL_TIMEOUT = 300.0
#: Seconds for a gap to close: WAL-G uploads several segments at once, and a later one may arrive first.
_GAP_PATIENCE = 20.0


@dataclass(frozen=True)
class BackupPlan:
    """What would be done and why. ``existing``: the newest backup that counts, if any."""

    needed: bool
    reason: str
    existing: _backups.Backup | None
    facts: ServerFacts
    names: frozenset[str]
    owner: _flow_owner.OwnerPlan | None = None
    deltas: bool = True  # this WAL-G can restore a delta of this cluster


def plan(runner: Runner, instance: Instance, max_age: float | None, now: datetime, pending: bool = False) -> BackupPlan:
    """Decide whether a base backup is needed. ``pending``: WAL-G or its settings are not there yet (check mode).

    It is, when none that counts exists for this system identifier and timeline, or (``max_age``, seconds) when the
    newest is older. ``max_age`` 0 means always. Raises WalgError for what can be known to fail.
    """
    server = Server(runner, instance.cluster)
    facts = server.own_facts()
    if facts.in_recovery:
        return BackupPlan(False, "this is a standby; its primary is backed up", None, facts, frozenset())
    if pending:
        return BackupPlan(True, "the settings are not written yet", None, facts, frozenset())
    version = _walg.binary_version(runner, instance.binary, instance.cluster.owner()).version
    kind = _storage.kind(_storage.storage_settings(instance.storage))
    refusals = _compatibility.check_pair(version, facts.major, kind, "backup", untested=instance.cluster.untested)
    if refusals:
        raise WalgError(" ".join(refusals))
    _sessions.refuse_cut_off(server, version, facts.major)
    walg = client(runner, instance)
    owner = _flow_owner.plan(walg, facts)
    found = walg.backups()
    _backups.refuse_foreign(found, facts.system_identifier, instance.storage)
    names = frozenset(backup.name for backup in found)
    mine = [one for one in _backups.of_cluster(found, facts.system_identifier) if one.timeline == facts.timeline]
    archive = walg.wal(facts.segment_size) if mine else None
    newest = next((one for one in mine if archive and counts(one, archive)), None)
    gap = _gap(walg, facts, newest, archive) if newest and archive else []
    if newest is None:
        where = f"system identifier {facts.system_identifier}, timeline {facts.timeline}"
        reason = f"no restorable base backup exists for {where}"
        return BackupPlan(True, reason, None, facts, names, owner)
    age = (now - _backups.moment(newest.finish_time)).total_seconds()
    deltas = _delta_restorable(version, kind, instance, facts)
    if gap:
        reason = f"the archive has a gap after {newest.name}: {gap[0]} is missing, so it does not lead to the present"
        return BackupPlan(True, reason, newest, facts, names, owner, deltas)
    if max_age is not None and (age >= max_age or max_age == 0):
        reason = f"{newest.name} is {age:.0f} s old; at most {max_age:.0f} s are wanted"
        return BackupPlan(True, reason, newest, facts, names, owner, deltas)
    return BackupPlan(False, f"{newest.name} is {age:.0f} s old", newest, facts, names)


def _gap(walg: _walg.Walg, facts: ServerFacts, newest: _backups.Backup, archive: Inventory) -> list[str]:
    """Return the segments that are missing after a backup: archiving was off for a while. Uploads that overtake others pass."""
    legs = [_timelines.Leg(newest.timeline, newest.start_lsn, None)]
    found = _timelines.gaps(legs, archive)
    deadline = time.monotonic() + _GAP_PATIENCE
    while found and time.monotonic() < deadline:
        time.sleep(1.0)
        found = _timelines.gaps(legs, walg.wal(facts.segment_size))
    return found


def ensure(
    runner: Runner,
    instance: Instance,
    *,
    max_age: float | None = None,
    full: bool = False,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Take a base backup if one is needed; run as the cluster's owner. Returns changed, reason, backup and WAL-G's log."""
    limit = timeout or instance.backup_timeout
    try:
        made = plan(runner, instance, max_age, datetime.now(timezone.utc))
    except _owner.ForeignError:
        _flow_owner.forget(instance)
        raise
    if made.needed:
        with _lock.held(
            os.path.join(instance.state_dir, "backup.lock"), f"A base backup of the instance {instance.name!r}"
        ):
            made = plan(runner, instance, max_age, datetime.now(timezone.utc))  # another run may just have taken it
            if made.needed:
                return _take(runner, instance, made, full, limit)
    backup = _backups.as_dict(made.existing) if made.existing else None
    return {"changed": False, "reason": made.reason, "backup": backup, "log": ""}


def _take(runner: Runner, instance: Instance, made: BackupPlan, full: bool, timeout: float) -> dict[str, Any]:
    server, walg = Server(runner, instance.cluster), client(runner, instance)
    if made.owner is not None and made.owner.before is not None:  # it follows our timeline; only walg_archive makes one
        _flow_owner.apply(walg, made.owner, instance.state_dir)
    progress = _progress.Progress(os.path.join(instance.state_dir, "progress.json"), "backup")
    runner.tick = progress.touch
    progress.phase("backup-push")
    _readable.refuse_closed(instance.cluster.data_dir, instance.cluster.owner())
    # WAL-G's delta would build on the newest of all: after a restore to an earlier point that one lies ahead of us, and is refused.
    whole = full or made.existing is None or not made.deltas
    told, options = _user_data(instance, server, made.facts), _sessions.options(made.facts.major)
    pushed = walg.backup_push(instance.cluster.data_dir, told, whole, timeout, options)
    if pushed.timed_out:
        raise WalgError(
            f"The base backup of {instance.cluster.data_dir} to {instance.storage} did not end within {timeout:.0f} s and was "
            "stopped. WAL-G waits for PostgreSQL's archiver at the end: see pg_stat_archiver and the server's log.",
            **pushed.fields(),
        )
    if pushed.rc != 0:
        raise WalgError(
            f"The base backup of {instance.cluster.data_dir} to {instance.storage} ended with {pushed.rc}: {pushed.last_line()}",
            **pushed.fields(),
        )
    new = [
        one for one in _backups.of_cluster(walg.backups(), made.facts.system_identifier) if one.name not in made.names
    ]
    if not new:
        raise WalgError(
            f"WAL-G reported success, but {instance.storage} lists no new base backup of this cluster.",
            **pushed.fields(),
        )
    progress.phase("waiting for WAL")
    if not wait_until(lambda: counts(new[0], walg.wal(made.facts.segment_size)), WAL_TIMEOUT, every=0.5):
        archive = walg.wal(made.facts.segment_size)
        missing = archive.missing_between(
            new[0].timeline, new[0].start_lsn, max(new[0].finish_lsn - 1, new[0].start_lsn)
        )
        raise WalgError(
            f"The base backup {new[0].name} is in {instance.storage}, but its WAL is not: {', '.join(missing[:5])} missing after "
            f"{WAL_TIMEOUT:.0f} s. It can't be restored. Is archiving working? See pg_stat_archiver and the server's log.",
            missing=missing,
        )
    progress.done({"backup": new[0].name})
    return {
        "changed": True,
        "reason": made.reason,
        "backup": _backups.as_dict(new[0]),
        "seconds": round(pushed.seconds, 3),
        "log": pushed.stderr[-8192:],
    }


def _delta_restorable(version: tuple[int, int, int] | None, kind: str, instance: Instance, facts: ServerFacts) -> bool:
    """Say whether this WAL-G could restore a delta of this cluster; otherwise each base backup is a full one."""
    spaces = bool(_data_dir.look(facts.data_directory, instance.cluster.owner()).tablespaces())
    full, delta = (
        _compatibility.check_pair(version, facts.major, kind, _compatibility.RESTORE, spaces, is_delta)
        for is_delta in (False, True)
    )
    return full == delta


def _user_data(instance: Instance, server: Server, facts: ServerFacts) -> dict[str, Any]:
    """What a later restore wants to know and WAL-G does not record."""
    limits = server.settings(_recorded.LIMITS)
    return {
        "mapswipe_walg": {
            "instance": instance.name,
            "system_identifier": facts.system_identifier,
            "timeline": facts.timeline,
            "segment_size": facts.segment_size,
            "limits": {name: row["setting"] for name, row in limits.items()},
            "libc": _host_facts.libc(),
            "os": _host_facts.system(),
            "icu": server.ask(_host_facts.ICU_VERSION),
            **_recorded.ask(server),
            "links": call_as(instance.cluster.owner(), _linked.found, instance.cluster.data_dir),
        }
    }
