# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a restore: everything that can be known to fail is rejected here, before the first change."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._archive import _choose_backup, _linked, _owner, _ownership, _reach, _recorded, _wal_path
from .._errors import WalgError
from .._host._users import call_as
from .._postgres import _data_dir, _recovery, _servers
from .._walg import _backups, _inventory, _segment_size
from .._walg._client import Walg
from . import _host_check, _layout, _own_settings, _own_settings_check, _room, _salvage, _tablespaces
from ._answer import Answer
from ._options import RestoreOptions
from ._recovery_plan import RecoveryPlan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._host._process import Runner
    from .._instance._record import Instance


@dataclass(frozen=True)
class RestorePlan:
    """What will be done. Built by keyword. Sizes in bytes; paths are real paths."""

    options: RestoreOptions
    backup: _backups.Backup
    chain: Sequence[_backups.Backup]
    #: Newer backups that can't be used: they do not lead there, or their WAL is not in the storage.
    skipped: Sequence[str]
    timeline: int
    orphans: Sequence[int]
    last_segments: Sequence[str]
    segments: int
    segment_size: int
    salvage: Sequence[str]
    salvage_from: str
    places: Sequence[_layout.Location]
    found: _data_dir.DataDir
    free: int
    needed: int
    notes: Sequence[str] = ()
    older: Sequence[str] = ()  # base backups that lead there as well
    links: Mapping[str, str] = field(default_factory=dict)  # to what is not data, path in the data directory -> target
    spec: Mapping[str, Any] = field(default_factory=dict)  # where the cluster's parts lay, by WAL-G's record
    has_history: bool = True  # of the timeline, in the archive

    @property
    def data(self) -> _layout.Location:
        """The data directory's place."""
        return next(one for one in self.places if not one.link)

    @property
    def kept_as(self) -> str | None:
        """Where the old directory will be, if there is one and it is kept."""
        return self.data.aside if self.found.kind not in ("absent", "empty") and not self.options.overwrite else None

    @property
    def along(self) -> int | str:
        """The timeline that recovery is given: its number, or that it is the base backup's own where nobody archived its history.

        A cluster that was promoted before it was archived has none in the archive, and PostgreSQL asks for that of any number.
        """
        own = not self.has_history and self.backup.timeline == self.timeline > 1
        return _recovery.CURRENT if own else self.timeline

    @property
    def stays_on(self) -> int | str | None:
        """The timeline that a standby must be held on: one that was named, or ours where "latest" is what an old drill left."""
        return self.along if _held_on(self.options, self.timeline, self.orphans) else None

    @property
    def salvaged_from(self) -> str:
        """Where the old cluster's last WAL lies when the base backup was fetched: its own directory may be gone then."""
        kept = self.salvage_from in _salvage.all_saved(self.data)
        return _salvage.saved(self.data) if self.options.overwrite and not kept else self.salvage_from

    def recovery(self) -> RecoveryPlan:
        """Return what the half of the restore after the fetch needs to know."""
        return RecoveryPlan(
            major=self.backup.pg_major,
            segment_size=self.segment_size,
            timeline=self.timeline,
            along=self.along,
            stays_on=self.stays_on,
            last_segments=list(self.last_segments),
            salvaged_segments=list(self.salvage),
            salvage_from=self.salvaged_from,
            primary_conninfo=self.options.primary_conninfo,
            archive=self.options.archive,
            older_backups=list(self.older),
            settings=dict(self.options.settings),
            links=dict(self.links),
            icu=_backups.icu_of(self.backup),
            other_host_allowed=self.options.other_host_allowed,
            recorded=_recorded.as_dict(self.backup),
        )

    def answer(self) -> Answer:
        """Return the plan as the module answers it."""
        return Answer(
            request=self.options.request,
            data_dir=self.data.path,
            target=self.options.target.as_dict(),
            action=self.options.action,
            standby=self.options.standby,
            backup=_backups.as_dict(self.backup),
            chain=[one.name for one in self.chain],
            skipped_backups=list(self.skipped),
            older_backups=list(self.older),
            timeline=self.timeline,
            orphan_timelines=list(self.orphans),
            last_segments=list(self.last_segments),
            segments=self.segments,
            salvaged_segments=list(self.salvage),
            data_dir_found=self.found.kind,
            kept_as=self.kept_as,
            places=[{"path": one.path, "link": one.link, "kept_as": one.aside} for one in self.places if one.link],
            links=dict(self.links),
            host_was=_backups.host_of(self.backup),
            settings=dict(self.options.settings),
            bytes=self.needed,
            free_bytes=self.free,
            notes=list(self.notes),
        )

    def diff(self) -> dict[str, str]:
        """Before and after of the data directory, and how recovery is told."""
        before = {
            "data_dir": self.data.path,
            "holds": self.found.kind,
            "system_identifier": self.found.system_identifier or None,
        }
        after = {
            "data_dir": self.data.path,
            "holds": "standby" if self.options.standby else "cluster",
            "system_identifier": self.backup.system_identifier,
            "base_backup": self.backup.name,
            "timeline_followed": self.timeline,
            "up_to_segment": next(reversed([*self.last_segments, *self.salvage]), None),
            "recovery": self.options.target.settings() or {"target": "the end of the archive"},
            "then": "follow the archive" if self.options.standby else self.options.action,
            "old_directory_kept_as": self.kept_as,
        }
        return {"before": json.dumps(before, indent=2) + "\n", "after": json.dumps(after, indent=2) + "\n"}


def make(runner: Runner, instance: Instance, options: RestoreOptions, ours: Sequence[str] = ()) -> RestorePlan:
    """Look at the archive and the host, choose, refuse. Changes nothing. ``ours``: directories that an unfinished run left."""
    data_dir = os.path.realpath(instance.cluster.data_dir)
    found = _data_dir.inspect(data_dir, instance.owner)
    _host_check.refuse_directory(runner, instance, found, options)
    walg = Walg.of(runner, instance)
    listed = walg.backups()
    if not listed:
        raise WalgError(
            f"The storage {instance.storage} holds no base backup: nothing can be restored from it. Is it the right prefix?"
        )
    identifier = _identifier(instance, options, listed, found)
    mine = _backups.of_cluster(listed, identifier)
    size = _segment_size.of(instance, mine)
    archive = walg.archive(size, listed)
    owner = _ownership.read(walg)
    if owner is not None:
        _owner.refuse_other_cluster(owner, identifier, instance.storage)
        if options.archive == "resume" and not options.standby:
            _owner.refuse_capture(owner, _ownership.writer_on(data_dir), instance.storage, options.take_over)
    timeline, orphans = _timeline(instance, options, archive, mine, owner)
    # A cluster that is there may have written more since its WAL was saved; of one that is half removed more is saved.
    sources = [os.path.join(data_dir, "pg_wal"), *_salvage.all_saved(_layout.place(data_dir, "", options.request))]
    found_there = {source: _salvaged(instance, source, options, archive, timeline, identifier) for source in sources}
    source = max(sources, key=lambda one: len(found_there[one]))
    salvage = found_there[source]
    more = bool(salvage) or bool(_servers.servers_on(data_dir))
    uploaded = walg.uploaded(_choose_backup.segments_worth_dating(archive)) if options.target.kind == "time" else {}
    view = _choose_backup.ArchiveView(instance.storage, mine, archive, uploaded, more)
    choice = _choose_backup.pick(view, options.target, timeline, options.backup)
    sentinel = walg.sentinel(choice.backup.name)
    tablespaces = _backups.tablespaces(sentinel)
    known = _tablespaces.tablespaces_of_servers(identifier, instance.owner) | set(found.tablespaces().items())
    if mine[0].name != choice.backup.name:
        known.update(_backups.tablespaces(walg.sentinel(mine[0].name)).items())
    _tablespaces.refuse_later_tablespaces(instance, choice.backup.name, tablespaces, known)
    notes = _host_check.refuse_unfit(runner, instance, choice.backup, bool(tablespaces), options)
    notes = [*notes, *_settings(runner, instance, choice.backup, options)]
    places = _host_check.places(instance, found, options, tablespaces, choice.backup.pg_major, ours)
    chain = _backups.chain(choice.backup, listed)
    segments = sum(end - first for _timeline, first, end in _wal_path.needed_segments(choice.needed, archive))
    wal = _room.wal_room(segments, size)
    room = _room.Room(sum(one.uncompressed_size for one in chain), len(salvage) * size, wal)
    free = _room.refuse_full(instance, places, room, choice.backup.name, found if options.overwrite else None)
    return RestorePlan(
        options=options,
        backup=choice.backup,
        chain=chain,
        skipped=choice.skipped,
        timeline=timeline,
        orphans=orphans,
        last_segments=_wal_path.last_listed(choice.legs, archive),
        segments=segments,
        segment_size=size,
        salvage=salvage,
        salvage_from=source,
        places=places,
        found=found,
        free=free,
        needed=room.total,
        notes=[*notes, *_follows(options, found, _held_on(options, timeline, orphans)), *_stays(places[-1])],
        older=choice.older,
        links=_linked.planned(instance.owner, choice.backup, found, data_dir, options.links),
        spec=dict(sentinel.get("Spec") or {}),
        has_history=timeline in archive.timelines and archive.timelines[timeline].parent is not None,
    )


def _known_identifier(instance: Instance, options: RestoreOptions, found: _data_dir.DataDir) -> str:
    """Return the system identifier of the cluster to restore; empty if only the archive knows it."""
    known = [
        one for one in (instance.cluster.system_identifier, found.system_identifier) if one != options.other_cluster
    ]
    return next(filter(None, known), "")


def _identifier(
    instance: Instance, options: RestoreOptions, listed: list[_backups.Backup], found: _data_dir.DataDir
) -> str:
    known = _known_identifier(instance, options, found)
    there = _backups.identifiers(listed)
    if known:
        if known not in there:
            raise WalgError(
                f"The storage {instance.storage} holds no base backup of this cluster (system identifier {known}), but of "
                f"{', '.join(there)}.{_advice_for_new(known, found)}",
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


def _advice_for_new(known: str, found: _data_dir.DataDir) -> str:
    if known != found.system_identifier:
        return ""
    return (
        f" If the cluster in {found.path} is not the one to restore, such as an empty one that a new container made, add this line, and "
        f'it is kept beside the data directory:\n  walg_restore_other_cluster: "{known}"'
    )


def _timeline(
    instance: Instance,
    options: RestoreOptions,
    archive: _inventory.Inventory,
    mine: list[_backups.Backup],
    owner: _owner.Owner | None,
) -> tuple[int, Sequence[int]]:
    """Return the timeline to follow, and the orphans that are not. A number that was asked for is taken."""
    if options.timeline is not None:
        return options.timeline, ()
    return _reach.trunk(instance.storage, archive, mine, owner)


def _salvaged(
    instance: Instance,
    source: str,
    options: RestoreOptions,
    archive: _inventory.Inventory,
    timeline: int,
    identifier: str,
) -> list[str]:
    """Return the segments of the old cluster that follow the archive's last one. The state right after a base backup needs none."""
    last = archive.last(timeline)
    if options.target.kind == "immediate" or last is None:
        return []
    owner = instance.owner
    return list(call_as(owner, _salvage.after, source, last, identifier, archive.segment_size))


def _settings(runner: Runner, instance: Instance, backup: _backups.Backup, options: RestoreOptions) -> list[str]:
    """Refuse what the cluster's settings ask of this host and it lacks, as far as that is known before the fetch; returns notes."""
    recorded = _recorded.of(backup)
    own = _own_settings.predicted(instance.cluster, recorded, options.settings)
    checker = _own_settings_check.Checker(
        runner, instance.cluster, backup.pg_major, recorded, options.settings, options.standby
    )
    checker.refuse(own)
    return _own_settings_check.notes(own, recorded, copy=options.archive == "none", standby=options.standby)


def _held_on(options: RestoreOptions, timeline: int, orphans: Sequence[int]) -> int | None:
    held = options.standby and (options.timeline is not None or any(one > timeline for one in orphans))
    return timeline if held else None


def _follows(options: RestoreOptions, found: _data_dir.DataDir, held_on: int | None) -> list[str]:
    """Say what a restore brings along and the operator should know beforehand."""
    notes = []
    if not options.standby:
        notes.append(
            "Replication slots are not in a base backup; replicas must be re-created, and synchronous_standby_names waits for them."
        )
    elif held_on is not None:
        why = (
            "was named"
            if options.timeline
            else "is the cluster's own; the archive has a newer one, such as an old drill's"
        )
        notes.append(
            f"The standby stays on timeline {held_on}, which {why}. When it is to follow a server that is promoted later, set "
            "recovery_target_timeline to 'latest' on it."
        )
    if found.kind == "cluster" and options.target.kind != "latest":
        notes.append(
            "What was committed after the target is only in the old directory and in the archive's old timeline."
        )
    notes.append(
        "Configuration files outside the data directory (Debian) are not in a base backup; those on this host are used."
    )
    return notes


def _stays(data: _layout.Location) -> list[str]:
    """Say what can't be moved out of the data directory, and so keeps its content."""
    stays = [os.path.join(data.path, name) for name in data.stays if name != "pg_wal"]
    return (
        [f"Mounted in the data directory or not its owner's, and left as it is there: {', '.join(stays)}."]
        if stays
        else []
    )
