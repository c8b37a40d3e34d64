# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reasons in the server and its pg_wal: archiver, what waits, what is lost, how long the room lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._host._counts import agree
from ._reason import CRITICAL, INFO, WARNING, Reason
from ._shown import line, number, since, size, span, table, texts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_PUSH = "See the server's log and pg_stat_archiver: the push wrapper says there why WAL does not leave."
_FULL = "Take a full base backup once archiving works: `walg-job backup --full --instance NAME`."
_HOURS = 24
_FEW_HOURS = 4
_LITTLE = 1_000_000_000  # bytes


def server(facts: Mapping[str, Any], now: datetime) -> list[Reason]:
    """Return what the server and pg_wal say."""
    health = table(facts.get("health"))
    if not health:
        return []
    found = [*_archiver(health, now), *_lost(health), *_room(health)]
    if health.get("server") == "down":
        text = f"The server does not answer: {line(health.get('problem') or 'no reason is known')}"
        found.insert(0, Reason("server_down", WARNING, text, "Start it, or restore: docs/restore-runbook.md."))
    elif health.get("problem"):
        found.append(Reason("server_problem", WARNING, line(health["problem"]), _PUSH))
    if health.get("server") == "standby":
        found.append(Reason("standby", INFO, "This is a standby; its primary archives."))
    return found


def _archiver(health: Mapping[str, Any], now: datetime) -> list[Reason]:
    if health.get("server") == "standby":
        return []
    if health.get("trouble"):
        text = f"WAL is not archived: {line(health['trouble'])}"
        return [
            Reason("not_archiving", CRITICAL, text, "Run the role mapswipe.walg.walg_backup, which sets archiving up.")
        ]
    waiting = table(health.get("waiting"))
    files, oldest = int(number(waiting.get("files")) or 0), number(waiting.get("oldest"))
    waiting_files = agree(files, "file", "waits", "wait")
    if health.get("failing") is True:
        failed = table(health.get("failed"))
        when = since(failed.get("time"), now)
        text = (
            f"The archiver fails: {line(failed.get('segment') or 'a segment')} was not taken {span(when)} ago; {waiting_files}, the "
            f"oldest for {span(oldest)}."
        )
        return [Reason("archiver_failing", CRITICAL, text, _PUSH)]
    promise, behind = number(health.get("promise")), number(health.get("behind"))
    if promise is None:
        promise = 900.0  # seconds; without archive_timeout only what waits is late
    if behind is not None and behind > promise:
        text = f"The archive is {span(behind)} behind; {span(promise)} is promised, and {waiting_files}."
        level = CRITICAL if behind > 4 * promise else WARNING
        return [Reason("archive_behind", level, text, _PUSH)]
    if behind is None and health.get("server") == "primary":
        return [Reason("archive_pace_unknown", "unknown", "Whether WAL leaves in time is not known.", _PUSH)]
    return []


def _lost(health: Mapping[str, Any]) -> list[Reason]:
    found = []
    dropped = texts(health.get("dropped"))
    if dropped:
        text = f"{agree(len(dropped), 'segment', 'was', 'were')} given up because pg_wal was filling (the first: {line(dropped[0])})."
        found.append(Reason("dropped", CRITICAL, text, _FULL, denies=True))
    lost = [one for one in texts(health.get("lost")) if one not in dropped]
    if lost:
        text = f"{agree(len(lost), 'segment', 'is', 'are')} neither in the storage nor will be sent (the first: {line(lost[0])})."
        found.append(Reason("lost", CRITICAL, text, _FULL, denies=True))
    return found


def _room(health: Mapping[str, Any]) -> list[Reason]:
    room = table(health.get("wal"))
    hours, free = number(room.get("hours_left")), number(room.get("free"))
    waits = int(number(table(health.get("waiting")).get("files")) or 0) > 0
    text = f"pg_wal holds {size(room.get('bytes'))}, and {size(free)} are free"
    remedy = "Get archiving to work, or give the file system more room. Never delete files in pg_wal."
    if waits and hours is not None and hours < _HOURS:
        level = CRITICAL if hours < _FEW_HOURS else WARNING
        return [Reason("wal_room", level, f"{text}: enough for {span(hours * 3600)} while WAL waits.", remedy)]
    if waits and free is not None and free < _LITTLE:
        return [Reason("wal_room", CRITICAL, f"{text}, while WAL waits.", remedy)]
    return []
