# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: look at an archive as retention needs it, and reject what it must not touch. Changes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._archive import _notes, _ownership, _trunk
from .._errors import RefusedError, WalgError
from .._host import _times
from .._host._files import read_text
from .._instance import _cron_fields, _job_spec
from .._walg import _backups
from .._walg._client import Walg
from .._walg._objects import BACKUPS, WAL
from ._keep import Known
from ._retention import SENTINEL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .._host._process import Runner
    from .._instance._record import Instance
    from .._postgres._server import ServerFacts
    from .._walg._backups import Backup
    from .._walg._client import Walg
    from .._walg._objects import Object

#: WAL-G's folders at the top of a prefix. Another one is another archive, or a file of a stranger.
_OWN = {BACKUPS, WAL}
_HOUR = 3600.0
_DAY = 86400.0
_FRESH = 600.0  # seconds; a restore that runs touches its progress every two


@dataclass(frozen=True)
class Seen:
    """``wal`` and ``files``: the objects in WAL-G's two folders, listed before the rest was."""

    walg: Walg
    wal: Sequence[Object]
    files: Sequence[Object]
    known: Known


def archive(runner: Runner, instance: Instance, facts: ServerFacts, now: datetime) -> Seen:
    """Look at the archive of a primary. Raises WalgError where nothing may be deleted, whatever the rules say."""
    refuse_restoring(instance)
    walg = Walg.of(runner, instance).hurried()
    owner = _ownership.plan(walg, facts)
    _ownership.refuse_lost(walg, owner, facts, instance.state_dir)
    if owner.before is None:
        raise RefusedError(
            f"The storage {walg.storage} does not say whose archive it is, so nothing is deleted from it. Run the role "
            "mapswipe.walg.walg_backup, which writes the marker."
        )
    refuse_nested(walg.folders(), walg.storage)
    wal, files = objects(walg)
    listed = walg.backups()
    _backups.refuse_foreign(listed, facts.system_identifier, instance.storage)
    found = walg.archive(facts.segment_size, listed, [one.name for one in wal])
    mine = [one for one in listed if one.system_identifier]
    trunk = _trunk.trunk(found, mine, owner.before.timeline, owner.before.highest_timeline)
    lines = [facts.timeline, *(one for one in trunk.candidates if one != facts.timeline)]
    written = {one.name[: -len(SENTINEL)]: one.time for one in files if one.name.endswith(SENTINEL)}
    known = Known(listed, found, lines, written, _notes.read(walg, owner.place))
    refuse_unsettled(known, facts.timeline, limit(instance), now)
    return Seen(walg, wal, files, known)


def objects(walg: Walg) -> tuple[list[Object], list[Object]]:
    """Return what is in the folders of WAL and of base backups. Raises WalgError for another archive in them."""
    found = []
    for folder in (WAL, BACKUPS):
        rows = [
            replace(one, name=one.name.lstrip("/")) if one.name.startswith("/") else one for one in walg.objects(folder)
        ]
        nested = [one.name for one in rows if f"/{WAL}/" in f"/{one.name}" or f"/{BACKUPS}/" in f"/{one.name}"]
        if nested:
            raise _nested(f"{folder}/{nested[0]}", walg.storage)
        found.append(rows)
    return found[0], found[1]


def listed_now(seen: Seen, files: Sequence[Object]) -> list[Backup]:
    """Return the base backups of a new listing; their records are asked for again only if one is new or was written since."""
    before = {one.name: one for one in seen.files}
    records = [one for one in files if one.name.endswith(SENTINEL)]
    if any(before.get(one.name) != one for one in records):
        return seen.walg.backups()
    names = {one.name[: -len(SENTINEL)] for one in records}
    return [one for one in seen.known.backups if one.name in names]


def refuse_nested(folders: Sequence[str], storage: str) -> None:
    """Raise WalgError if a prefix holds more than one archive."""
    strange = sorted(
        one for one in set(folders) - _OWN if not one.endswith("_chunks")
    )  # what an upload to Google has left
    if strange:
        raise _nested(f"{strange[0]}/", storage)


def _nested(what: str, storage: str) -> WalgError:
    return RefusedError(
        f"The storage {storage} holds {what}, which is not WAL-G's: is it the archive of another cluster, or does somebody keep files "
        "there? Nothing is deleted from a prefix that is shared. Move it elsewhere; each cluster needs a prefix of its own.",
        found=what,
    )


def refuse_restoring(instance: Instance) -> None:
    """Raise WalgError while a restore of this instance runs here: what it fetches must not go meanwhile. Run as the owner."""
    try:
        told = json.loads(read_text(instance.files.progress) or "{}")
        what, phase, age = (
            told.get("what"),
            told.get("phase"),
            _times.moment(_times.now()) - _times.moment(told["updated"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, WalgError):
        return
    if what == "restore" and phase != "done" and abs(age.total_seconds()) < _FRESH:
        raise RefusedError(
            f"A restore of the instance {instance.name!r} is under way on this host ({phase}), so nothing is deleted. Run again after it.",
            found=phase,
        )


def limit(instance: Instance) -> float:
    """Return how old the newest base backup may be, in seconds: twice the longest time between two by schedule, and half a day."""
    rule = _job_spec.load(instance.config_dir, instance.name, instance.owner.uid).backup
    return (2 * (_cron_fields.longest_gap(rule.weekday) if rule else 7) + 0.5) * _DAY


def refuse_unsettled(known: Known, timeline: int, most: float, now: datetime) -> None:
    """Raise WalgError unless the newest base backup that counts is a recent one, and the clocks agree. ``most`` in seconds."""
    leading = known.leading(timeline)
    good = [one for one in known.along(timeline) if one.name in leading]
    if not good:
        raise RefusedError(
            f"No base backup that counts leads to timeline {timeline}, on which the server is, so nothing is deleted: see walg_backup_info "
            "for why none counts. Take one first.",
            found=timeline,
        )
    ended = _times.moment(good[-1].finish_time)
    age = (now - ended).total_seconds()
    if age > most:
        raise RefusedError(
            f"The newest base backup that counts, {good[-1].name}, is {age / _DAY:.1f} days old; at most {most / _DAY:.1f} are allowed by "
            "the schedule. Nothing is deleted while no new ones succeed: see `walg-job status`.",
            found=good[-1].name,
        )
    newest = max((one for one in known.backups if one.finish_time), key=lambda one: _times.moment(one.finish_time))
    ahead = (_times.moment(newest.finish_time) - now).total_seconds()
    if ahead > _HOUR and newest.name == good[-1].name:
        raise _clocks(f"the newest base backup, {newest.name}, ended {ahead / _HOUR:.1f} hours from now")
    apart = known.written.get(good[-1].name, ended.timestamp()) - ended.timestamp()
    if abs(apart) > _HOUR:
        raise _clocks(
            f"the storage wrote the record of {good[-1].name} {apart / _HOUR:.1f} hours after it ended by its host's clock"
        )


def _clocks(why: str) -> WalgError:
    return RefusedError(
        f"The clocks disagree, so ages can't be told and nothing is deleted: {why}. Set the clock of this host, and of the one that "
        "takes the base backups; the next base backup under a right clock ends this.",
        found=why,
    )


def moved_back(known: Known, now: datetime) -> list[Backup]:
    """Return base backups that ended in the future: a clock was ahead when they were taken. They stay until that time has come."""
    return [
        one
        for one in known.backups
        if one.finish_time and _times.moment(one.finish_time).timestamp() > now.timestamp() + _HOUR
    ]
