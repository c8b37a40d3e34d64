# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this host must be for a restore: directories, programs, room. A part of the plan; changes nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .._archive import _command_length
from .._errors import WalgError
from .._host import _facts
from .._host._users import call_as
from .._postgres import _data_dir, _debian_entry, _recovery, _servers
from .._postgres._server import installed_major
from .._postgres._service import Service
from .._walg import _backups, _client, _compatibility
from . import _layout, _place_trust

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._host._process import Runner
    from .._instance._record import Instance
    from .._walg._backups import Backup
    from ._options import RestoreOptions


def refuse_directory(runner: Runner, instance: Instance, found: _data_dir.DataDir, options: RestoreOptions) -> None:
    """Raise WalgError for a data directory that is not ours to replace, or whose server may not or can't be stopped."""
    parent = os.path.dirname(found.path)
    if not os.path.isdir(parent) and not _debian_entry.parent_can_be_made(instance.cluster):
        raise WalgError(f"{parent} does not exist: make it first (is its file system mounted?).")
    _debian_entry.wanted(instance.cluster)
    if found.kind == "other":
        raise WalgError(
            f"{found.path} holds something that is not a PostgreSQL cluster; it is left alone. Move it away, or correct walg_pg_data_dir."
        )
    wanted = instance.cluster.system_identifier
    another = found.kind == "cluster" and wanted and found.system_identifier != wanted
    if another and options.other_cluster != found.system_identifier:
        raise WalgError(
            f"{found.path} holds another cluster: system identifier {found.system_identifier}, the instance's is {wanted}. "
            "It is left alone. If it is not needed there, such as an empty one that a new container made, add this line, and it is kept "
            f'beside the data directory:\n  walg_restore_other_cluster: "{found.system_identifier}"',
            found=found.system_identifier,
            wanted=wanted,
        )
    gone = found.kind in ("absent", "empty")  # by a run that was killed after it
    if options.overwrite and not gone and options.overwrite != found.system_identifier:
        raise WalgError(
            f"walg_restore_overwrite is {options.overwrite!r}, but {found.path} holds {found.kind} with the system identifier "
            f"{found.system_identifier or 'none'}. To have the old cluster removed before the restore, name exactly that.",
            found=found.system_identifier,
            wanted=options.overwrite,
        )
    servers = _servers.servers_on(found.path)
    if options.action != "promote" and not options.overwrite:
        return  # what waits beside disturbs no server; it is asked again before the swap
    if servers and not options.stop_running:
        raise WalgError(
            f"A server (pid {', '.join(map(str, servers))}) runs on {found.path}. What it writes from now on would not be in the "
            "restored cluster. Stop it, or set walg_restore_stop_running: true.",
            pids=servers,
        )
    if servers:
        Service(runner, instance.cluster, "").refuse_unstoppable(servers)


def places(
    instance: Instance,
    found: _data_dir.DataDir,
    options: RestoreOptions,
    spaces: Mapping[str, str],
    major: int,
    ours: Sequence[str],
) -> list[_layout.Location]:
    """Return where the restored cluster's parts will lie: tablespaces and WAL directory first, the data directory last.

    ``major``: PostgreSQL's, of the base backup. ``ours``: directories that an unfinished run left; anything else in the way is rejected.
    """
    unknown = sorted(set(options.tablespaces) - set(spaces) - set(spaces.values()))
    if unknown:
        raise WalgError(
            f"The base backup has no tablespace {', '.join(unknown)}. Its tablespaces: "
            f"{', '.join(f'{oid} at {path}' for oid, path in sorted(spaces.items())) or 'none'}.",
            found=dict(spaces),
        )
    made, named = [], {"": instance.cluster.data_dir, "pg_wal": options.wal_dir}
    for oid, location in sorted(spaces.items()):
        link, chosen = f"pg_tblspc/{oid}", options.tablespaces.get(oid) or options.tablespaces.get(location) or ""
        named[link] = chosen
        made.append(_layout.place(chosen or location, link, options.request))
    data = _layout.place(found.path, "", options.request)
    wal_dir = _wal_dir(found, options, data)
    if wal_dir:
        made.append(_layout.place(wal_dir, "pg_wal", options.request))
    made.append(data)
    for one in made:
        _place_trust.refuse(instance, one, named[one.link])
    _layout.refuse_overlap(made)
    for one in made:
        _layout.refuse_mounts(one, major)
        _refuse_occupied(instance, one, ours, bool(options.overwrite))
        if one.link and os.path.lexists(one.path):
            _refuse_foreign(instance, found, one, major)
        if options.overwrite and one.used_by(found.path, found.links):
            _refuse_unremovable(instance, one, found.own_entry)
    return made


def _refuse_unremovable(instance: Instance, one: _layout.Location, own: str) -> None:
    """Raise WalgError where the old cluster could be removed by half only."""
    owner = instance.owner  # who removes it, also below a directory of root's
    left = call_as(owner, _layout.unremovable, one, own) if os.path.lexists(one.path) else []
    if left:
        raise WalgError(
            f"{owner.name!r} can't remove {', '.join(left)}, and walg_restore_overwrite removes the old cluster with all that is in its "
            "directories. Move that elsewhere, then run again. Nothing was changed.",
            found=left,
        )


def _wal_dir(found: _data_dir.DataDir, options: RestoreOptions, data: _layout.Location) -> str:
    """Return the WAL directory that should be outside of the data directory, or mounted in it; empty: neither."""
    inside = os.path.join(data.path, "pg_wal")
    if "pg_wal" not in data.stays:
        return options.wal_dir or found.links.get("pg_wal", "")
    if options.wal_dir and os.path.realpath(options.wal_dir) != inside:
        raise WalgError(
            f"{inside} is mounted, so the WAL of {data.path} must be there, not in {options.wal_dir}. Don't set walg_restore_wal_dir, or "
            f"unmount {inside} first.",
            found=inside,
            wanted=options.wal_dir,
        )
    return inside


def _refuse_occupied(instance: Instance, one: _layout.Location, ours: Sequence[str], overwrite: bool) -> None:
    if not os.path.isdir(one.parent) and (one.link or not _debian_entry.parent_can_be_made(instance.cluster)):
        raise WalgError(f"{one.parent} does not exist: make it first (is its file system mounted?).")
    if os.path.lexists(one.work) and one.work not in ours:
        raise WalgError(
            f"{one.work} exists and nothing says that it is ours. Move it away, or choose another walg_restore_request."
        )
    if os.path.lexists(one.aside) and not overwrite:
        raise WalgError(
            f"{one.aside} exists already, where the old directory would be kept. Choose another walg_restore_request, or move it away."
        )


def _refuse_foreign(instance: Instance, found: _data_dir.DataDir, one: _layout.Location, major: int) -> None:
    """Raise WalgError where another cluster uses a place, or the cluster's owner could not move what is his there."""
    owner = instance.owner
    names = call_as(owner, os.listdir, one.path)
    used = one.used_by(found.path, found.links)
    if one.tablespace:
        taken = [name for name in names if _data_dir.is_entry(name, major) and not (used and name == found.own_entry)]
    else:
        taken = [] if used else [name for name in names if name not in _data_dir.NO_CONTENT]
    if taken:
        raise WalgError(
            f"{one.path} ({one.link}) is not empty: it holds {', '.join(sorted(taken)[:5])}, and the cluster in {found.path} does not use "
            "that: it may be another cluster's. Move it away, or choose another place (walg_restore_tablespaces, walg_restore_wal_dir).",
            found=taken[:100],
        )
    if not call_as(owner, os.access, one.path, os.W_OK | os.X_OK):
        raise WalgError(
            f"{owner.name!r} can't write into {one.path} ({one.link}), whose entries must be moved: give it to that user, or choose "
            "another place (walg_restore_tablespaces, walg_restore_wal_dir)."
        )


def refuse_unfit(
    runner: Runner, instance: Instance, backup: Backup, has_tablespaces: bool, options: RestoreOptions
) -> list[str]:
    """Raise WalgError where WAL-G, PostgreSQL or the C library does not fit the base backup; returns what is worth a note."""
    owner = instance.owner
    version = _client.binary_version(runner, instance.binary, owner).version
    kind = instance.storage_kind
    untested = instance.cluster.untested
    refusals = _compatibility.check_pair(
        version, backup.pg_major, kind, "restore", has_tablespaces, backup.delta, untested
    )
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
    fragment = instance.files.restore_plan
    command = _recovery.fetch_command(instance.program_dir, "recovery", instance.record_file, fragment)
    _command_length.refuse_cut_restore(command, major)
    wrapper = os.path.join(instance.program_dir, "wal-fetch")
    if not call_as(owner, os.access, wrapper, os.X_OK):
        raise WalgError(f"{wrapper} can't be run by {owner.name!r}: run the role mapswipe.walg.walg first.")
    return _compare_libc(backup, options)


def _compare_libc(backup: Backup, options: RestoreOptions) -> list[str]:
    there, here = _backups.host_of(backup)["libc"], _facts.libc()
    if not there or not here:
        unknown = "Which C library the cluster sorted text by is not recorded in the base backup; if it was another, indexes on text "
        return [unknown + "may be wrong."]
    if there == here:
        return []
    text = f"The cluster sorted text by {there}, this host has {here}: indexes on text may silently be wrong here and need REINDEX."
    if not options.other_host_allowed:
        raise WalgError(
            f"{text} Restore on a host with {there}, or accept it with walg_restore_allow_other_collation: true.",
            found=here,
            wanted=there,
        )
    return [text]
