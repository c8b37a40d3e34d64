# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: a base backup exists. The module walg_backup and the job on the host are one and the same code.

A backup counts only when its WAL from start to finish is in the storage: up to WAL-G 3.0.8, PostgreSQL 15 and later
are not waited for, and a backup without its WAL can't be restored. Nothing ends well before the question is answered that a
restore's plan asks: does this archive lead to what the server holds.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .._archive import _linked, _notes, _owner, _ownership, _pressure, _recorded, _wal_level, _wal_path
from .._errors import StorageError, WalgError
from .._host import _facts, _locks, _progress, _readable
from .._host._users import call_as
from .._postgres import _server, _sessions, _wal
from .._postgres._server import Server
from .._walg import _backups, _corruption
from .._walg._client import Walg
from . import _cluster_lock, _pushed
from ._need import BackupPlan, plan

if TYPE_CHECKING:
    from .._host._process import Result, Runner
    from .._instance._record import Instance
    from .._walg._client import Walg
    from .._walg._inventory import Inventory

#: Seconds to wait for the backup's last segment; the archiver may be behind.
WAL_TIMEOUT = 300.0


def ensure(
    runner: Runner,
    instance: Instance,
    *,
    max_age: float | None = None,
    full: bool = False,
    timeout: float | None = None,
    page_checksums: bool = False,
    source: str = "primary",
) -> dict[str, Any]:
    """Take a base backup if one is needed; run as the cluster's owner. Returns changed, reason, backup, corrupt blocks and WAL-G's log.

    ``page_checksums``: whether they are verified, where the cluster has them; ``source``: from whom it is taken, see _job_spec.
    """
    limit = timeout or instance.backup_timeout
    with contextlib.ExitStack() as held:
        busy = None
        try:
            held.enter_context(
                _locks.locked(instance.files.backup_lock, f"A base backup of the instance {instance.name!r}")
            )
        except _locks.LockedError as exc:  # no matter where none is needed
            busy = exc
        try:
            made = plan(runner, instance, max_age, datetime.now(timezone.utc), source=source)
        except _owner.ForeignError:
            _ownership.invalidate_note(instance)
            raise
        if made.needed:
            if busy is not None:
                raise busy
            progress = _progress.Progress(instance.files.progress, "backup")
            with _cluster_lock.held(runner, instance, made.facts.in_recovery), progress.ending():
                return _take(runner, instance, made, full, limit, page_checksums, progress)
    backup = _backups.as_dict(made.existing) if made.existing else None
    return {"changed": False, "reason": made.reason, "backup": backup, "corrupt_blocks": {}, "log": ""}


def _take(
    runner: Runner,
    instance: Instance,
    made: BackupPlan,
    full: bool,
    timeout: float,
    page_checksums: bool,
    progress: _progress.Progress,
) -> dict[str, Any]:
    server, walg = Server(runner, instance.cluster), Walg.of(runner, instance)
    if made.owner is not None and made.owner.before is not None:  # it follows our timeline; only walg_archive makes one
        _ownership.apply(walg, made.owner, instance.state_dir)
    progress.phase("preparing")
    runner.tick = progress.touch
    _readable.refuse_closed(instance.cluster.data_dir, instance.owner)
    # WAL-G's delta would build on the newest of all: after a restore to an earlier point that one lies ahead of us, and is rejected.
    whole = full or made.existing is None or not made.deltas
    told, options = _user_data(instance, server, made), _sessions.options(made.facts.major)
    verified = page_checksums and server.ask("SHOW data_checksums") == "on"
    progress.watch = _pushed.Pushed(runner, instance.cluster.data_dir, whole or not _pushed.deltas(instance)).details
    progress.phase("backup-push")
    pushed = walg.backup_push(instance.cluster.data_dir, told, whole, timeout, options, verified)
    if pushed.timed_out:
        raise _failed(
            walg,
            f"The base backup of {instance.cluster.data_dir} to {instance.storage} did not end within {timeout:.0f} s and was "
            "stopped. WAL-G waits for PostgreSQL's archiver at the end: see pg_stat_archiver and the server's log.",
            pushed,
        )
    if pushed.rc != 0:
        what = f"The base backup of {instance.cluster.data_dir} to {instance.storage} ended with {pushed.rc}"
        raise _failed(walg, f"{what}: {pushed.last_line()}", pushed)
    listed = walg.backups()
    new = [one for one in _backups.of_cluster(listed, made.facts.system_identifier) if one.name not in made.names]
    if not new:
        raise WalgError(
            f"WAL-G reported success, but {instance.storage} lists no new base backup of this cluster.",
            **pushed.fields(),
        )
    progress.watch = None
    progress.phase("waiting for WAL")
    archive = _awaited(walg, made.facts.segment_size, new[0], listed)
    if made.look is not None:
        made.look.require_restorable(made.owner, _backups.of_cluster(listed, made.facts.system_identifier), archive)
    _wal_level.drop(instance.state_dir, made.facts.system_identifier, made.passed)
    corrupt = _corruption.found(pushed.stderr, instance.cluster.data_dir) if verified else {}
    if corrupt:
        _note(walg, new[0].name, corrupt, [one.name for one in listed])
    _pressure.forget(instance, _wal.segment_of(new[0].timeline, new[0].start_lsn, made.facts.segment_size))
    progress.done({"backup": new[0].name})
    return {
        "changed": True,
        "reason": made.reason,
        "backup": _backups.as_dict(new[0]),
        "corrupt_blocks": corrupt,
        "seconds": round(pushed.seconds, 3),
        "log": pushed.stderr[-8192:],
    }


def _failed(walg: Walg, text: str, pushed: Result) -> WalgError:
    """Return the error of a base backup: the storage's, if that does not answer a small question either."""
    try:
        walg.hurried().may_hold_backups()
    except WalgError as exc:
        return StorageError(f"{text} {exc.msg}", **pushed.fields())
    return WalgError(text, **pushed.fields())


def _note(walg: Walg, name: str, corrupt: dict[str, int], there: list[str]) -> None:
    """Note which blocks are corrupt, so that retention keeps the last base backup without. Raises WalgError."""
    try:
        notes = _notes.read(walg)
        note = replace(notes.backups.get(name, _notes.BackupNote()), corrupt_blocks=corrupt)
        _notes.write(walg, notes.with_backup(name, note), there)
    except WalgError as exc:
        raise WalgError(
            f"The base backup {name} is stored, but {_corruption.told(corrupt)} That could not be noted in {walg.storage}: {exc.msg}",
            **exc.fields,
        ) from exc


def _awaited(walg: Walg, size: int, new: _backups.Backup, listed: list[_backups.Backup]) -> Inventory:
    """Wait for the WAL of a base backup. Returns the archive when it is there; raises WalgError when it does not come."""
    archive = walg.archive(size, listed)
    deadline = time.monotonic() + WAL_TIMEOUT
    while (missing := _wal_path.lacking(new, new.timeline, archive)) and time.monotonic() < deadline:
        time.sleep(0.5)
        archive = walg.archive(size, listed)
    if not missing:
        return archive
    raise WalgError(
        f"The base backup {new.name} is in {walg.storage}, but its WAL is not: {', '.join(missing[:5])} missing after "
        f"{WAL_TIMEOUT:.0f} s. It can't be restored. Is archiving working? See pg_stat_archiver and the server's log.",
        missing=missing,
    )


def _user_data(instance: Instance, server: Server, made: BackupPlan) -> dict[str, Any]:
    """What a later restore wants to know and WAL-G does not record."""
    limits, facts = server.settings(_recorded.LIMITS), made.facts
    return {
        "mapswipe_walg": {
            **({"wal_level_minimal": list(made.passed)} if made.passed else {}),
            "instance": instance.name,
            "system_identifier": facts.system_identifier,
            "timeline": facts.timeline,
            "segment_size": facts.segment_size,
            "limits": {name: row["setting"] for name, row in limits.items()},
            "libc": _facts.libc(),
            "os": _facts.system(),
            "icu": server.ask(_server.ICU_VERSION),
            **_recorded.ask(server),
            _linked.LEADING: call_as(instance.owner, _linked.found, instance.cluster.data_dir),
            _linked.DEAD: call_as(instance.owner, _linked.found, instance.cluster.data_dir, False),
        }
    }
