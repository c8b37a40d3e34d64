# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a terminal: first the answer, then why, then what is known."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from .._host._counts import agree
from . import _archive_reasons, _facts, _watch
from ._reason import CRITICAL, INFO, UNKNOWN, WARNING
from ._shown import clock, line, number, rows, since, size, span, table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .._instance._record import Instance
    from ._verdict import Verdict

_NARROWEST = 30
_WIDEST = 200
_COLOURS = {"ok": "32", "warning": "33", "no": "31", "unknown": "35", CRITICAL: "31", UNKNOWN: "35", INFO: "2"}
_MARKS = {CRITICAL: "!!", UNKNOWN: "??", WARNING: " !", INFO: "  "}


def lines(
    facts: Mapping[str, Any], verdict: Verdict, now: datetime, *, colour: bool = False, width: int = 100
) -> list[str]:
    """Return the lines for people, each at most ``width`` characters. ``colour``: only for a terminal."""
    width = max(width, _NARROWEST)
    paint = _paint if colour else _plain
    head = f"{line(facts.get('instance') or '?')} on {line(facts.get('host') or '?')}: restorable {verdict.restorable}"
    found = [paint(one, verdict.light) for one in _wrapped(head + _until(verdict, now), width, "", "  ")]
    for reason in verdict.reasons:
        mark = f"{_MARKS[reason.level]} "
        told = _wrapped(f"{reason.text} [{reason.code}]", width, mark, "   ")
        found += [paint(one, reason.level) for one in told]
        if reason.remedy and reason.level != INFO:
            found += _wrapped(f"-> {reason.remedy}", width, "   ", "      ")
    return [*found, *(row for text in _known(facts, now) for row in _wrapped(text, width, "   ", "      "))]


def watched(instance: Instance, now: datetime, width: int = 100, *, ascii_only: bool = False) -> list[str]:
    """Return lines for each base backup, restore, deletion or verification that is under way: one each, on a narrow terminal two."""
    found = (_watch.lines_of(one, now, width=width, ascii_only=ascii_only) for one in _facts.running(instance))
    return [line for lines in found for line in lines]


def _until(verdict: Verdict, now: datetime) -> str:
    if verdict.to is None:
        return ""
    about = "" if verdict.to_known else "about "
    end = f", to {about}{clock(verdict.to)} ({_ago(verdict.to, now)})"
    return f"{end}, proved {clock(verdict.proved)}" if verdict.proved else f"{end}, not proved by a restore"


def _ago(text: Any, now: datetime) -> str:
    age = since(text, now)
    return f"{span(age)} ago" if age is not None and age >= 0 else "now"


def _known(facts: Mapping[str, Any], now: datetime) -> list[str]:
    archive, health = table(facts.get("archive")), table(facts.get("health"))
    found = [f"storage   {line(facts.get('storage') or '?')}"]
    if archive:
        usable = _archive_reasons.good(archive)
        newest = usable[-1] if usable else {}
        stored = sum(number(one.get("compressed_size")) or 0 for one in rows(archive.get("backups")))
        counts = f"{len(usable)} of {len(rows(archive.get('backups')))} restorable, {size(stored)}"
        last = (
            f"; the newest ended {_ago(newest.get('finish_time'), now)} ({line(newest.get('name'))})" if newest else ""
        )
        found.append(f"backups   {counts}{last}")
        window = _archive_reasons.newest(archive)
        if window:
            first, end = (clock(table(window.get(name)).get("time")) for name in ("first", "last"))
            found.append(f"window    {first} to {end}, timeline {window.get('timeline')}")
    room, waiting = table(health.get("wal")), table(health.get("waiting"))
    if room:
        hours = number(room.get("hours_left"))
        lasts = f", {span(hours * 3600)} at the present rate" if hours is not None else ""
        files = number(waiting.get("files"))
        queue = agree(int(files), "file", "waits", "wait") if files is not None else "how many files wait is not known"
        found.append(f"pg_wal    {size(room.get('bytes'))}, {size(room.get('free'))} free{lasts}; {queue}")
    if facts.get("progress"):
        found.append(f"running   {_watch.line_of(table(facts['progress']), now, width=_WIDEST, bar=False)}")
    runs = table(facts.get("runs"))
    if runs:
        ended = [
            f"{line(verb)} {_ago(table(run).get('ended'), now)} ({table(run).get('code')})"
            for verb, run in sorted(runs.items())
        ]
        found.append(f"runs      {', '.join(ended)}")
    return found


def _wrapped(text: str, width: int, first: str, more: str) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=more) or [first.rstrip()]


def _plain(text: str, _kind: str) -> str:
    return text


def _paint(text: str, kind: str) -> str:
    return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m"
