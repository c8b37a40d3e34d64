# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules: which base backups an archive must keep, and why. Pure: what is known comes in, reasons come out.

The order is that of the timeline tree and of LSNs, never of names or times: a new cluster begins again at timeline 1, and a restore to an
earlier point leaves younger base backups behind. Times decide about age only.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from .._archive import _recoverable, _wal_path
from .._archive._notes import Notes
from .._errors import WalgError
from .._host import _times
from .._walg import _backups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from .._archive._recoverable import Window
    from .._instance._job_spec import Retention
    from .._walg._backups import Backup
    from .._walg._inventory import Inventory

_DAY = 86400.0
#: Days for which a base backup stays that can't be restored: its WAL, or its base, may still be on its way.
_SETTLED = 1


@dataclass(frozen=True)
class Known:
    """What is known of an archive. ``backups``: of one cluster. ``lines``: the server's timeline, and others that it may go back to.

    ``written``: when the storage wrote the record of a base backup, by its name (seconds since 1970).
    """

    backups: Sequence[Backup]
    archive: Inventory
    lines: Sequence[int]
    written: Mapping[str, float] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)

    @functools.cached_property
    def windows(self) -> Sequence[Window]:
        """What can be restored."""
        return _recoverable.windows(self.backups, self.archive)

    @functools.cached_property
    def counting(self) -> frozenset[str]:
        """The names of those that count: own WAL and chain are whole."""
        return frozenset(name for window in self.windows for name in window.backups)

    def leading(self, timeline: int) -> frozenset[str]:
        """Return the names of those that count on the line of a timeline: it may have left another one within what they need."""
        found = _recoverable.windows(self.backups, self.archive, timelines=[timeline])
        return frozenset(name for window in found for name in window.backups)

    @functools.cached_property
    def spoiled(self) -> frozenset[str]:
        """The names of those with corrupt blocks, in themselves or in what they are based on."""
        bad = {name for name, note in self.notes.backups.items() if note.corrupt_blocks}
        return frozenset(
            one.name
            for one in self.backups
            if bad and (one.name in bad or bad & {base.name for base in self.bases(one)})
        )

    @functools.cached_property
    def segments(self) -> Mapping[str, Backup]:
        """Base backups by the segment in which they began."""
        return _backups.by_segment(self.backups)

    def bases(self, backup: Backup) -> list[Backup]:
        """Return what a delta is based on, the nearest first."""
        found = [backup]
        while True:
            base = _backups.base_of(found[-1], self.segments)
            if base is None or base in found:
                return found[1:]
            found.append(base)

    def along(self, timeline: int) -> list[Backup]:
        """Return the base backups from which a recovery along this timeline can begin, in the order of their ends."""
        found: list[Backup] = []
        for leg, limit in _wal_path.with_limits(_wal_path.line(timeline, self.archive)):
            here = [one for one in self.backups if one.timeline == leg.timeline and one.finish_lsn]
            found += sorted(
                (one for one in here if limit is None or one.finish_lsn <= limit),
                key=lambda one: (one.finish_lsn, one.name),
            )
        return found


@dataclass(frozen=True)
class Kept:
    """``alone``: without the WAL after its end; it can be restored as it was then."""

    name: str
    reasons: tuple[str, ...]
    alone: bool


class _Reasons:
    """Collects why; a reason that needs the WAL that follows outweighs one that doesn't."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}
        self.whole: set[str] = set()

    def add(self, backup: Backup, why: str, *, alone: bool = False) -> None:
        reasons = self.found.setdefault(backup.name, [])
        if why not in reasons:
            reasons.append(why)
        if not alone:
            self.whole.add(backup.name)


def keep(policy: Retention, known: Known, now: datetime) -> list[Kept]:
    """Return the base backups that stay, in the order in which they were given."""
    reasons, counting, spoiled = _Reasons(), known.counting, known.spoiled
    ages = {name: now.timestamp() - when for name, when in effective_times(known, known.written).items()}
    on_lines: set[str] = set()
    for timeline in known.lines:
        line = known.along(timeline)
        on_lines |= {one.name for one in line}
        leading = known.leading(timeline)
        good = [one for one in line if one.name in leading]
        clean = [one for one in good if one.name not in spoiled]
        _by_number(reasons, policy, clean, good)
        _by_window(reasons, policy, clean, good, ages)
        _by_calendar(reasons, policy, clean, good, effective_times(known, {}))
        for one in line[line.index(good[-1]) + 1 if good else 0 :]:
            reasons.add(one, "it is newer than the newest that counts")
    for one in known.backups:
        if one.name not in ages or one.system_identifier is None:
            reasons.add(one, "its record does not show whose it is or when it ended")
            continue
        days = policy.days
        if one.name not in on_lines:
            days = max(days, policy.minimum_days)  # what a restore to an earlier point has left, for the way back
        if one.name not in counting:
            days = max(days, _SETTLED)
        if ages[one.name] < days * _DAY:
            reasons.add(one, f"it is younger than {days} days")
    for one in known.backups:
        if one.permanent and not expired(one, known.notes, now):
            until = known.notes.backups[one.name].keep_until if one.name in known.notes.backups else None
            reasons.add(one, f"it is permanent until {until}" if until else "it is permanent", alone=True)
    by_name = {one.name: one for one in known.backups}
    for name in list(reasons.found):
        for base in known.bases(by_name[name]):
            reasons.add(base, "a delta that stays is based on it", alone=True)
    kept = [one.name for one in known.backups if one.name in reasons.found]
    return [Kept(name, tuple(reasons.found[name]), name not in reasons.whole) for name in kept]


def expired(backup: Backup, notes: Notes, now: datetime) -> bool:
    """Say whether a permanent base backup has been so for as long as it should be."""
    until = notes.backups[backup.name].keep_until if backup.name in notes.backups else None
    return until is not None and _times.moment(until) <= now


def effective_times(known: Known, written: Mapping[str, float]) -> dict[str, float]:
    """Return when base backups ended, as seconds since 1970: never earlier than one before them on their line.

    So a clock that was set back makes none older than it is. ``written``: when the storage wrote their records, if that counts, too.
    Without those whose record does not show a time.
    """
    rows: dict[int, tuple[list[int], list[float]]] = {}
    found: dict[str, float] = {}
    own: dict[int, list[Backup]] = {}
    for one in sorted(known.backups, key=lambda one: (one.finish_lsn, one.name)):
        own.setdefault(one.timeline, []).append(one)
    for timeline in sorted({*own, *known.archive.timelines}):
        lsns, times = rows.setdefault(timeline, ([], []))
        wal = known.archive.timelines.get(timeline)
        latest = 0.0
        if wal is not None and wal.parent in rows and wal.switch_lsn is not None and wal.parent < timeline:
            above, before = rows[wal.parent]
            place = bisect_right(above, wal.switch_lsn) - 1
            latest = before[place] if place >= 0 else 0.0
            if latest:
                lsns.append(0)
                times.append(latest)
        for one in own.get(timeline, ()):
            when = _finished(one)
            if when is not None and one.finish_lsn:
                latest = max(latest, when, written.get(one.name, 0.0))
                found[one.name] = latest
                lsns.append(one.finish_lsn)
                times.append(latest)
    return found


def _finished(backup: Backup) -> float | None:
    try:
        return _times.moment(backup.finish_time).timestamp()
    except WalgError:
        return None


def _by_number(reasons: _Reasons, policy: Retention, clean: Sequence[Backup], good: Sequence[Backup]) -> None:
    """The newest, and the numbers. One with corrupt blocks has a place only where clean ones leave it."""
    for newest in (*clean[-1:], *good[-1:]):
        reasons.add(newest, "it is the newest that counts")
    for number, rule in ((policy.backups, "backups"), (policy.minimum_backups, "minimum_backups")):
        for one in _clean_first(clean, good)[:number]:
            reasons.add(one, f"it is one of the newest {number} ({rule})")


def _clean_first(clean: Sequence[Backup], good: Sequence[Backup]) -> list[Backup]:
    """Return the newest first, those with corrupt blocks after all others."""
    names = {one.name for one in clean}
    return [*reversed(clean), *(one for one in reversed(good) if one.name not in names)]


def _by_window(
    reasons: _Reasons, policy: Retention, clean: Sequence[Backup], good: Sequence[Backup], ages: Mapping[str, float]
) -> None:
    """The window: the newest that is old enough opens it; where none is, the oldest does.

    Both the newest clean one and the newest of all: with a gap between them, only the one with corrupt blocks leads to the present.
    """
    if not policy.minimum_days:
        return
    for rows in (clean, good):
        old = [one for one in rows if ages.get(one.name, 0.0) >= policy.minimum_days * _DAY]
        for opener in old[-1:] or rows[:1]:
            reasons.add(opener, f"the window of {policy.minimum_days} days begins with it (minimum_days)")


def _by_calendar(
    reasons: _Reasons, policy: Retention, clean: Sequence[Backup], good: Sequence[Backup], ended: Mapping[str, float]
) -> None:
    """The newest of each week and month, in UTC."""
    for number, rule, period in ((policy.weekly, "weekly", _week), (policy.monthly, "monthly", _month)):
        newest: dict[tuple[int, int], Backup] = {}
        for one in _clean_first(clean, good) if number else ():
            if one.name in ended:
                newest.setdefault(period(ended[one.name]), one)
        for key in sorted(newest, reverse=True)[:number]:
            reasons.add(newest[key], f"it is the newest of {_shown(rule, key)} ({rule})", alone=True)


def _week(when: float) -> tuple[int, int]:
    year, week, _day = _calendar(when).isocalendar()
    return year, week


def _month(when: float) -> tuple[int, int]:
    return _calendar(when).year, _calendar(when).month


def _calendar(when: float) -> datetime:
    return _times.moment("1970-01-01T00:00:00Z") + timedelta(seconds=when)


def _shown(rule: str, key: tuple[int, int]) -> str:
    return f"week {key[1]} of {key[0]}" if rule == "weekly" else f"{key[0]}-{key[1]:02}"
