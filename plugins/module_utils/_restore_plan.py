# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a restore: everything that can be known to fail is refused here, before the first change. Private."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _backups, _compatibility, _data_dir, _registration, _storage, _timelines, _walg
from ._errors import WalgError
from ._files import first_existing_parent, free_bytes
from ._flow_archive import client, segment_size_of
from ._flow_backup import counts, libc
from ._postgres import Server, installed_major
from ._process import call_as

if TYPE_CHECKING:
    from ._instance import Instance
    from ._process import Runner

REQUEST = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
#: Room that recovery needs besides the files: WAL that is replayed, and PostgreSQL's own.
_ROOM = 512 * 1024 * 1024


@dataclass(frozen=True)
class RestorePlan:
    """What will be done. Sizes in bytes; paths are real paths."""

    request: str
    digest: str
    backup: _backups.Backup
    skipped: list[str]  # newer backups that can't be restored: their WAL is not in the storage
    timeline: int
    last_segments: list[str]
    segment_size: int
    data_dir: str
    work_dir: str
    aside_dir: str
    found: _data_dir.DataDir
    free: int

    def summary(self) -> dict[str, Any]:
        """Return the plan as the module returns it."""
        return {
            "request": self.request,
            "backup": _backups.as_dict(self.backup),
            "skipped_backups": self.skipped,
            "target": "latest",
            "timeline": self.timeline,
            "last_segments": self.last_segments,
            "data_dir": self.data_dir,
            "data_dir_found": self.found.kind,
            "kept_as": self.aside_dir if self.found.kind != "absent" else None,
            "host_was": _backups.host_of(self.backup),
            "bytes": self.backup.uncompressed_size,
            "free_bytes": self.free,
        }

    def diff(self) -> dict[str, str]:
        """Before and after of the data directory."""
        before = {
            "data_dir": self.data_dir,
            "holds": self.found.kind,
            "system_identifier": self.found.system_identifier or None,
        }
        after = {
            "data_dir": self.data_dir,
            "holds": "cluster",
            "system_identifier": self.backup.system_identifier,
            "base_backup": self.backup.name,
            "timeline_followed": self.timeline,
            "up_to_segment": self.last_segments[-1] if self.last_segments else None,
            "old_directory_kept_as": self.summary()["kept_as"],
        }
        return {"before": json.dumps(before, indent=2) + "\n", "after": json.dumps(after, indent=2) + "\n"}


def differs(result: dict[str, Any], server: Server) -> dict[str, dict[str, str]]:
    """Name what the lost server had otherwise, as far as its backup tells."""
    was = result.get("host_was") or {}
    rows = server.settings(sorted(was.get("limits") or {})) if was.get("limits") else {}
    return _backups.differing(was, {name: str(row["setting"]) for name, row in rows.items()}, libc())


def request_digest(request: str, data_dir: str) -> str:
    """Return the digest that tells one request from another."""
    text = json.dumps({"request": request, "data_dir": data_dir, "target": "latest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_request(request: str) -> None:
    """Raise WalgError unless the request can name a directory."""
    if not REQUEST.match(request):
        raise WalgError(
            f"Restore request {request!r} is refused: letters, digits, '.', '_' and '-', 64 at most (it names a directory)."
        )


def make(runner: Runner, instance: Instance, request: str, stop_running: bool, ours: str = "") -> RestorePlan:
    """Look at the archive and the host, choose, refuse. Changes nothing. ``ours``: what an unfinished run left."""
    check_request(request)
    data_dir = os.path.realpath(instance.cluster.data_dir)
    found = _data_dir.look(data_dir, instance.cluster.owner())
    work_dir, aside_dir = f"{data_dir}.restore-{request}", f"{data_dir}.before-{request}"
    _refuse_target_directory(instance, found, data_dir, aside_dir, stop_running)
    if os.path.lexists(work_dir) and work_dir != ours:
        raise WalgError(
            f"{work_dir} exists and nothing says that it is ours. Move it away, or choose another walg_restore_request."
        )
    walg = client(runner, instance)
    listed = walg.backups()
    if not listed:
        raise WalgError(
            f"The storage {instance.storage} holds no base backup: nothing can be restored from it. Is it the right prefix?"
        )
    identifier = _identifier(instance, listed, found)
    segment_size = segment_size_of(instance)
    archive = walg.archive(segment_size, listed)
    backup, skipped, legs = _choose(instance, _backups.of_cluster(listed, identifier), archive)
    _refuse_unfit(runner, instance, backup, walg)
    missing = _timelines.gaps(legs, archive)
    if missing:
        raise WalgError(
            f"The archive has a gap: {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''} "
            f"({len(missing)} in all) between the base backup {backup.name} and the newest WAL are not in {instance.storage}. "
            "The latest state can't be reached.",
            missing=missing,
        )
    free = free_bytes(first_existing_parent(os.path.dirname(data_dir)))
    needed = sum(one.uncompressed_size for one in _backups.chain(backup, listed)) + _ROOM
    if free < needed:
        raise WalgError(
            f"Too little room beside {data_dir}: {needed} bytes are needed (the base backup {backup.name} and {_ROOM} for WAL), "
            f"{free} are free. Make room, or restore on another host.",
            found=free,
            wanted=needed,
        )
    return RestorePlan(
        request,
        request_digest(request, data_dir),
        backup,
        skipped,
        legs[-1].timeline,
        _timelines.last_listed(legs, archive),
        segment_size,
        data_dir,
        work_dir,
        aside_dir,
        found,
        free,
    )


def _refuse_target_directory(
    instance: Instance, found: _data_dir.DataDir, data_dir: str, aside_dir: str, stop_running: bool
) -> None:
    parent = os.path.dirname(data_dir)
    if not os.path.isdir(parent) and not _registration.parent_can_be_made(instance.cluster):
        raise WalgError(f"{parent} does not exist: make it first (is its file system mounted?).")
    _registration.wanted(instance.cluster)
    if os.path.ismount(data_dir):
        raise WalgError(
            f"{data_dir} is a mount point and can't be renamed, which is how the restored cluster takes its place. "
            "Use a data directory below the mount point."
        )
    if found.kind == "other":
        raise WalgError(
            f"{data_dir} holds something that is no PostgreSQL cluster; it is left alone. Move it away, or correct walg_pg_data_dir."
        )
    if os.path.lexists(aside_dir):
        raise WalgError(
            f"{aside_dir} exists already, where the old directory would be kept. Choose another walg_restore_request, or move it away."
        )
    wanted = instance.cluster.system_identifier
    if found.kind == "cluster" and wanted and found.system_identifier != wanted:
        raise WalgError(
            f"{data_dir} holds another cluster: system identifier {found.system_identifier}, the instance's is {wanted}. It is left alone.",
            found=found.system_identifier,
            wanted=wanted,
        )
    servers = _data_dir.servers_on(data_dir)
    if servers and not stop_running:
        raise WalgError(
            f"A server (pid {', '.join(map(str, servers))}) runs on {data_dir}. What it writes from now on would not be in the "
            "restored cluster. Stop it, or say so with walg_restore_stop_running: true.",
            pids=servers,
        )


def _identifier(instance: Instance, listed: list[_backups.Backup], found: _data_dir.DataDir) -> str:
    known = instance.cluster.system_identifier or found.system_identifier
    there = _backups.identifiers(listed)
    if known:
        if known not in there:
            raise WalgError(
                f"The storage {instance.storage} holds no base backup of this cluster (system identifier {known}), but of "
                f"{', '.join(there)}.",
                found=there,
                wanted=known,
            )
        return known
    if not there:
        raise WalgError(
            f"The base backups in {instance.storage} do not say of which cluster they are (no system identifier)."
        )
    if len(there) != 1:
        raise WalgError(
            f"The storage {instance.storage} holds base backups of several clusters: {', '.join(there)}. "
            "Name one by its system identifier.",
            found=there,
        )
    return there[0]


def _choose(
    instance: Instance, mine: list[_backups.Backup], archive: _timelines.Inventory
) -> tuple[_backups.Backup, list[str], list[_timelines.Leg]]:
    """Return the backup, the newer ones that were passed over, and the way from it to the latest state.

    The latest state is on the highest timeline that any backup leads to, as PostgreSQL's own "latest" means it: a newer
    backup of a timeline that was left has to stand back. Among those that lead there the newest is taken.
    """
    best: tuple[_backups.Backup, list[_timelines.Leg]] | None = None
    for backup in mine:
        if counts(backup, archive):
            legs = _timelines.newest_reachable(backup.start_lsn, backup.finish_lsn, backup.timeline, archive)
            if best is None or legs[-1].timeline > best[1][-1].timeline:
                best = backup, legs
    if best is not None:
        return best[0], [other.name for other in mine[: mine.index(best[0])]], best[1]
    newest = mine[0]
    missing = archive.missing_between(newest.timeline, newest.start_lsn, max(newest.finish_lsn - 1, newest.start_lsn))
    raise WalgError(
        f"No base backup in {instance.storage} can be restored: WAL that each of them needs is missing (for the newest, "
        f"{newest.name}: {', '.join(missing[:5])}).",
        missing=missing,
    )


def _refuse_unfit(runner: Runner, instance: Instance, backup: _backups.Backup, walg: _walg.Walg) -> None:
    owner = instance.cluster.owner()
    version = _walg.binary_version(runner, instance.binary, owner).version
    tablespaces = (walg.sentinel(backup.name).get("Spec") or {}).get("tablespaces") or []
    if tablespaces:
        raise WalgError(
            f"The base backup {backup.name} has tablespaces ({', '.join(map(str, tablespaces))}); restoring them is not supported yet."
        )
    kind = _storage.kind(_storage.storage_settings(instance.storage))
    refusals = _compatibility.check_pair(version, backup.pg_major, kind, "restore")
    if refusals:
        raise WalgError(" ".join(refusals))
    major = installed_major(runner, instance.cluster)
    if major != backup.pg_major:
        raise WalgError(
            f"The base backup {backup.name} is of PostgreSQL {backup.pg_major}, but the programs "
            f"in {instance.cluster.bin_dir} are of {major}. "
            f"Install PostgreSQL {backup.pg_major} and set walg_pg_bin_dir.",
            found=major,
            wanted=backup.pg_major,
        )
    wrapper = os.path.join(instance.program_dir, "wal-fetch")
    if not call_as(owner, os.access, wrapper, os.X_OK):
        raise WalgError(f"{wrapper} can't be run by {owner.name!r}: run the role mapswipe.walg.walg first.")
