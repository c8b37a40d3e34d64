# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: how archiving does on this host, as the server and pg_wal tell. Asks no storage.

The heartbeat is a transactional message in WAL: it has a commit, so that an idle database, too, has something to lose, and the time of the
last commit in the archive says how much that would be.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _times
from .._host._files import read_state
from .._postgres import _wal
from .._postgres._server import Server
from . import _present

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .._host._process import Runner
    from .._instance._record import Instance
    from .._postgres._server import ServerFacts

_QUESTION = """
SELECT json_build_object(
  'lsn', CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0') ELSE pg_current_wal_lsn() END::text,
  'archive_timeout', (SELECT setting::int FROM pg_settings WHERE name = 'archive_timeout'),
  'last_wal', last_archived_wal, 'last_time', extract(epoch FROM last_archived_time),
  'failed_wal', last_failed_wal, 'failed_time', extract(epoch FROM last_failed_time), 'failed_count', failed_count,
  'fails', coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false),
  'mode', current_setting('archive_mode'), 'command', current_setting('archive_command'),
  'library', coalesce(current_setting('archive_library', true), ''))
FROM pg_stat_archiver
"""
_HEARTBEAT = "SELECT pg_logical_emit_message(true, 'mapswipe.walg', 'heartbeat')\n\\g /dev/null\n"  # with the question, in one session
#: Seconds beyond archive_timeout in which a segment must have left: a checkpoint may hold its switch up, and a push may be tried again.
_GRACE = 240.0
#: Seconds over which the rate of WAL is measured at least: a burst of one minute says nothing about the day.
_SPAN = 240.0
_APART = 60.0  # seconds that a file may be ahead of this clock: a file server's may be another
_NAMED = 50  # files that are named


@dataclass(frozen=True)
class Waiting:
    """Files that wait to be archived: how many, for how many seconds the oldest, and the first by name."""

    files: int
    oldest: float | None
    first: str | None


def ask(runner: Runner, instance: Instance, now: datetime, *, heartbeat: bool) -> dict[str, Any]:
    """Return the health of archiving. Run as the cluster's owner. A server that does not answer is a finding, no error.

    ``heartbeat``: whether a primary writes one. Rates are computed against the last answer, which the caller keeps (see before()).
    """
    found: dict[str, Any] = {"asked": _times.text(now), "server": "down", "problem": None, "lost": [], "dropped": []}
    server = Server(runner, instance.cluster)
    try:
        facts = server.own_facts()
        told = server.ask_json((_HEARTBEAT if heartbeat and not facts.in_recovery else "") + _QUESTION)
    except WalgError as exc:
        there = waiting_files(instance.cluster.data_dir, now.timestamp())  # it may be down for want of room
        return {**found, "problem": exc.msg, "waiting": asdict(there), **_room(instance, now, None, None)}
    trouble = "" if facts.in_recovery else _present.why_not(told["mode"], told["command"], told["library"])
    lsn = _wal.parse_lsn(told["lsn"])
    waiting = waiting_files(facts.data_directory, now.timestamp())
    found.update(
        server="standby" if facts.in_recovery else "primary",
        trouble=trouble or None,
        archive_timeout=told["archive_timeout"],
        promise=told["archive_timeout"] + _GRACE if told["archive_timeout"] else None,
        last_archived=_event(told["last_wal"], told["last_time"]),
        failing=bool(told["fails"]) and waiting.files > 0,
        failed=_event(told["failed_wal"], told["failed_time"], count=told["failed_count"]),
        waiting=asdict(waiting),
        behind=0.0 if not waiting.files else waiting.oldest,
        lsn=_wal.format_lsn(lsn),
        lsn_int=lsn,
        timeline=facts.timeline,
        segment_size=facts.segment_size,
        system_identifier=facts.system_identifier,
        heartbeat={"time": _times.text(now)} if heartbeat and not facts.in_recovery else None,
    )
    return {**found, **_room(instance, now, lsn, facts)}


def _event(segment: str | None, seconds: float | None, **more: Any) -> dict[str, Any] | None:
    if not segment or seconds is None:
        return None
    return {"segment": segment, "time": _times.of_seconds(seconds), **more}


def waiting_files(data_dir: str, now: float) -> Waiting:
    """Return what waits in pg_wal to be archived; ``now``: seconds since 1970. For how long is not known where a clock was set back."""
    names, oldest = [], None
    with contextlib.suppress(FileNotFoundError), os.scandir(
        os.path.join(data_dir, "pg_wal", "archive_status")
    ) as found:
        for entry in found:
            if not entry.name.endswith(".ready"):
                continue
            with contextlib.suppress(FileNotFoundError):  # archived just now
                age = now - entry.stat().st_mtime
                oldest = age if oldest is None else max(oldest, age)
                names.append(entry.name[: -len(".ready")])
    known = oldest is not None and oldest >= -_APART
    return Waiting(len(names), round(max(oldest or 0.0, 0.0), 1) if known else None, min(names) if names else None)


def _room(instance: Instance, now: datetime, lsn: int | None, facts: ServerFacts | None) -> dict[str, Any]:
    """Return how large pg_wal is, how much room it has, and how long that lasts at the present rate (None: not known)."""
    place = os.path.join(instance.cluster.data_dir, "pg_wal")
    try:
        with os.scandir(place) as found:
            size = sum(entry.stat().st_size for entry in found if entry.is_file(follow_symlinks=False))
        system = os.statvfs(place)
    except OSError:  # no data directory, or a file that was recycled just now
        return {"wal": None, "lsn_int": lsn}
    free = system.f_bavail * system.f_frsize
    rate, since, at = _rate(before(instance), now, lsn, facts)
    hours = free / rate / 3600 if rate else None
    return {
        "wal": {"bytes": size, "free": free, "rate": rate, "hours_left": None if hours is None else round(hours, 1)},
        "rate_since": since,
        "rate_lsn": at,
    }


def _rate(
    last: Mapping[str, Any], now: datetime, lsn: int | None, facts: ServerFacts | None
) -> tuple[float | None, str, int | None]:
    """Return bytes of WAL a second since a look some minutes ago, and from which look on the next rate is measured."""
    here = (None, _times.text(now), lsn)
    since, at = last.get("rate_since"), last.get("rate_lsn")
    if facts is None or lsn is None or last.get("timeline") != facts.timeline or not isinstance(at, int) or not since:
        return here
    try:
        seconds = (now - _times.moment(str(since))).total_seconds()
    except WalgError:  # a damaged file; the next look has a whole one
        return here
    if seconds <= 0 or lsn < at:  # a clock set back, another cluster
        return here
    if seconds < _SPAN:
        room = last.get("wal")
        known = room.get("rate") if isinstance(room, dict) else None
        return known if isinstance(known, float) else None, str(since), at
    return round((lsn - at) / seconds, 1), _times.text(now), lsn


def before(instance: Instance) -> dict[str, Any]:
    """Return the last answer that was kept; empty where there is none that can be read."""
    return read_state(instance.files.health)


def lost(health: Mapping[str, Any], archive: Mapping[str, Any]) -> list[str]:
    """Return the complete segments of a primary that the storage lacks and that will not be sent, as far as they are named.

    ``archive``: what _info.read returned after ``health`` was asked, so that what was sent by then is in its listing.
    """
    if health.get("server") != "primary":
        return []
    size, timeline = health["segment_size"], health["timeline"]
    listed = [one for one in archive["timelines"] if one["timeline"] == timeline and one["last_segment"]]
    if not listed:
        return []
    first = _wal.segment_number(listed[0]["last_segment"], size) + 1
    after = max(health["lsn_int"] - 1, 0) // size
    waits = health["waiting"]["first"]
    if waits and _wal.timeline_of(waits) == timeline and len(waits) == len(listed[0]["last_segment"]):
        after = min(after, _wal.segment_number(waits, size))
    return [_wal.segment_name(timeline, number, size) for number in range(first, min(after, first + _NAMED))]
