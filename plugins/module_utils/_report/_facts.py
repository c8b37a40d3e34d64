# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: all that is known of an instance and its archive, in one dictionary: the source of verdict, metrics, status and page.

The storage is asked once. If it does not answer, that is a fact like others, and all that it would have told is unknown.
"""

from __future__ import annotations

import os
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .._archive import _health, _info, _notes, _ownership, _pressure
from .._errors import WalgError
from .._host import _history, _times
from .._host._files import read_state
from .._instance import _cron_fields, _restored
from .._walg._client import Walg
from ._shown import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from .._host._process import Runner
    from .._instance._job_spec import JobSpec
    from .._instance._record import Instance

FORMAT = 1
#: Runs that are told, and of each verb: checks must not push out the base backups of a month.
_RUNS = 100
_RUNS_OF_VERB = 40
_DAY = 86400


def gather(
    runner: Runner,
    instance: Instance,
    spec: JobSpec,
    now: datetime,
    *,
    heartbeat: bool = False,
    read_last_commit: bool = False,
) -> dict[str, Any]:
    """Return the facts of an instance. Run as the cluster's owner.

    ``heartbeat``: whether a primary writes one, see _archive._health. ``read_last_commit``: fetch the newest WAL, so that the time of the
    last commit in the archive is known rather than estimated. Raises no error of a storage: it is told in ``archive_problem``.
    """
    # The server first: what it had sent by then must be in the listing.
    told = {**_health.ask(runner, instance, now, heartbeat=heartbeat), "dropped": _pressure.dropped(instance)}
    archive, problem, notes = _archive(runner, instance, now, read_last_commit)
    if archive is not None:
        told["lost"] = _health.lost(told, archive)
    runs = _history.read(instance.files.history)
    identifier = str(told.get("system_identifier") or instance.cluster.system_identifier)
    return {
        "format": FORMAT,
        "time": _times.text(now),
        "host": socket.gethostname(),
        "instance": instance.name,
        "storage": instance.storage,
        "system_identifier": identifier or None,
        "data_dir": instance.cluster.data_dir,
        "pg_version": _pg_version(archive),
        "health": told,
        "archive": archive,
        "archive_problem": problem,
        "archive_time": _times.text(now) if archive is not None else None,
        "owner_trouble": _owner_trouble(instance, archive, told),
        "limits": limits(spec, told),
        "schedule": _schedule(spec),
        "policy": asdict(spec.retention) if spec.retention else None,
        "verification": verification(instance),
        "retention": read_state(instance.files.retention) or None,
        "runs": {verb: asdict(run) for verb, run in _history.last(runs).items()},
        "history": [asdict(run) for run in _recent(runs)],
        "progress": max(running(instance), key=lambda one: str(one.get("updated")), default=None),
        **proved(instance, identifier),
        "notes": notes,
    }


def limits(spec: JobSpec, health: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ages beyond which something is wrong, in seconds; ``verify_days`` in days.

    A base backup may be one missed night old: twice the longest time between two by schedule, and a margin for its own length. Where
    segments are switched after a time, the promise says how old the archive may be; else nothing does.
    """
    days = _cron_fields.longest_gap(spec.backup.weekday) if spec.backup else 1
    return {
        "backup_age": 2 * days * _DAY + _DAY // 2 if spec.backup else None,
        "archive_age": health.get("promise"),
        "verify_days": spec.verification.days,
        "check": spec.check_minutes * 60,
    }


def _schedule(spec: JobSpec) -> dict[str, str] | None:
    rule = spec.backup
    return {"hour": rule.hour, "minute": rule.minute, "weekday": rule.weekday} if rule else None


def _archive(
    runner: Runner, instance: Instance, now: datetime, read_last_commit: bool
) -> tuple[dict[str, Any] | None, str | None, dict[str, Any] | None]:
    """Return what the storage holds, or why it can't be read, and the notes in it."""
    walg = Walg.of(runner, instance)
    try:
        archive, place = _info.look(walg, instance, now, read_last_commit=read_last_commit)
    except (WalgError, OSError) as exc:
        return None, getattr(exc, "msg", None) or str(exc), None
    try:
        return archive, None, asdict(_notes.read(walg, place))
    except (WalgError, OSError) as exc:
        return archive, None, {"problem": getattr(exc, "msg", None) or str(exc)}


def _owner_trouble(instance: Instance, archive: Mapping[str, Any] | None, health: Mapping[str, Any]) -> str | None:
    """Return why the archive is not this primary's; None where it is, and where that is not known."""
    if not archive or not archive["owner"] or health.get("server") != "primary":
        return None
    system_identifier, timeline = str(health["system_identifier"]), int(health["timeline"])
    told = _ownership.trouble(
        archive["owner"], system_identifier, instance.cluster.data_dir, timeline, instance.storage
    )
    return told or None


def _pg_version(archive: Mapping[str, Any] | None) -> int | None:
    known = [one["pg_version"] for one in archive["backups"] if one.get("pg_version")] if archive else []
    return known[-1] if known else None


def _recent(runs: Sequence[_history.Run]) -> list[_history.Run]:
    """Return the newest runs, so many of each verb at most, the newest last."""
    return _history.newest(runs, _RUNS_OF_VERB)[:_RUNS][::-1]


def running(instance: Instance) -> list[dict[str, Any]]:
    """Return the progress of what is under way: of each progress file whose process lives."""
    return [one for one in _begun(instance) if _lives(one.get("pid"))]


def interrupted(instance: Instance) -> list[dict[str, Any]]:
    """Return the progress of what was killed: its process is gone and has not said how it ended."""
    return [one for one in _begun(instance) if not _lives(one.get("pid"))]


def _begun(instance: Instance) -> list[dict[str, Any]]:
    files = (read_state(instance.files.progress), read_state(instance.files.verify_progress))
    return [one for one in files if one and one.get("phase") not in ("done", "failed")]


def verification(instance: Instance) -> dict[str, Any] | None:
    """Return what the verification has found; not what it remembers for itself, which has an entry for each part of a base backup."""
    told = read_state(instance.files.verification)
    found: dict[str, Any] = {name: told[name] for name in ("time", "last_cycle", "last") if name in told}
    if not found and os.path.lexists(instance.files.verification):
        text = f"{instance.files.verification} can't be read; the next verification writes a whole one, and begins with all objects again"
        return {"last": {"sound": None, "text": text}}
    return found or None


def _lives(pid: Any) -> bool:
    return type(pid).__name__ == "int" and os.path.exists(f"/proc/{pid}")


def proved(instance: Instance, system_identifier: str) -> dict[str, Any]:
    """Return when the archive was last proved, and by what; a restore proves more than a re-read, and that more than one segment.

    ``proved_to``: the last commit that the restore replayed; ``proved_target``: what it was asked for.
    """
    verified, proof = table(verification(instance)), read_state(instance.files.proof)
    cycle, last = table(verified.get("last_cycle")), table(verified.get("last"))
    told: dict[str, Any] = dict.fromkeys(("proved", "proved_by", "proved_to", "proved_target"))
    restored = _restored.read(instance, system_identifier)
    if restored is not None:
        more = {"proved_to": restored.last_commit, "proved_target": f"{restored.target}, from {restored.backup}"}
        return {"proved": restored.time, "proved_by": "restore", **more}
    if cycle.get("ended") and last.get("sound") is True:
        return {**told, "proved": str(cycle["ended"]), "proved_by": "verification"}
    if proof.get("checked"):
        return {**told, "proved": str(proof["checked"]), "proved_by": "archive check"}
    return told
