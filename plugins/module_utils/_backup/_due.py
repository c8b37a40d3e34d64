# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules: what of the job's work is due. The job is started every few minutes and asks; so what was missed is caught up on.

Cron's fields mean local time, as in crontab(5).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .._host import _exit_codes, _times
from .._instance import _cron_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._host._history import Run
    from .._instance._job_spec import BackupRule, JobSpec

_MINUTE, _DAY = 60, 86400
_FURTHEST = 8 * _DAY  # a schedule comes round within a week
_RETRY = 1800.0  # seconds after a failure
_AHEAD = 300.0  # seconds; a run that began later than this from now began under a clock that was wrong
#: The work is done: a base backup with corrupt blocks is one, damage that was found was looked for.
_WELL = (_exit_codes.OK, _exit_codes.WARNING, _exit_codes.HOOK)
#: What a check found that a new base backup heals, by the codes of its reasons.
HEALED = frozenset({"no_backup", "gap", "lost", "dropped"})


def scheduled(rule: BackupRule, now: float) -> tuple[float, float] | None:
    """Return the last two times (seconds since 1970) that a schedule names, the newest first; None if it names none within a week.

    Where the week has but one, the other is a week before.
    """
    minutes, hours = _cron_fields.members(rule.minute, 0, 59), _cron_fields.members(rule.hour, 0, 23)
    days = _cron_fields.weekdays(rule.weekday)
    found: list[float] = []
    at = now - now % _MINUTE
    while at > now - _FURTHEST and len(found) < 2:
        local = time.localtime(at)
        if local.tm_hour in hours and (local.tm_wday + 1) % 7 in days:
            if local.tm_min in minutes:
                found.append(at)
            at -= _MINUTE
        else:
            at -= (local.tm_min + 1) * _MINUTE  # to the last minute of the hour before
    if not found:
        return None
    return (found[0], found[1]) if len(found) > 1 else (found[0], found[0] - 7 * _DAY)


def backup_due(
    rule: BackupRule, runs: Iterable[Run], reasons: Iterable[str], now: float, late: float = 0.0, damage: str = ""
) -> tuple[str, float | None]:
    """Say why a base backup is due, "" if none is; and how old one may be that makes it needless (None: as old as it is).

    ``reasons``: codes of what the last check found. ``late``: seconds that are left to another host, to take it first.
    ``damage``: what cuts the way from the newest base backup, see _known_damage.
    """
    last = _last(runs, "backup")
    began = _seconds(last)
    resting = last is not None and last.code not in _WELL and 0 <= now - began < _RETRY
    lacking = sorted(HEALED & set(reasons))
    if lacking and not resting:
        return f"the last check found: {', '.join(lacking)}", None
    if damage and not resting:
        return damage, None
    times = scheduled(rule, now - late)
    if times is None or resting:
        return "", None
    if last is not None and last.code in _WELL and times[0] <= began <= now + _AHEAD:
        return "", None
    return f"it was scheduled for {_times.of_seconds(times[0])}", now - times[0] + (times[0] - times[1]) / 2


def expire_due(runs: Iterable[Run], now: float) -> bool:
    """Say whether retention is due: a base backup was taken since it last ended well; after a failure, a while later."""
    taken = last = None
    for one in runs:  # in their order: the clock may have been set in between
        if one.verb == "backup" and one.code in _WELL and one.changed:
            taken, last = one, None
        elif one.verb == "expire":
            last = one
    if taken is None or last is None:
        return taken is not None
    return last.code not in _WELL and not 0 <= now - _seconds(last) < _RETRY


def verify_due(spec: JobSpec, runs: Iterable[Run], now: float) -> bool:
    """Say whether a slice of the storage should be read back: once a day; after a failure, a while later."""
    if not spec.verification.days:
        return False
    last = _last(runs, "verify")
    if last is None:
        return True
    age = now - _seconds(last)
    return age < 0 or age >= (_DAY - _RETRY if last.code in _WELL else _RETRY)


def check_due(spec: JobSpec, runs: Iterable[Run], now: float) -> bool:
    """Say whether the last check is older than it should be."""
    last = _last(runs, "check")
    return last is None or not 0 <= now - _seconds(last) < spec.check_minutes * _MINUTE * 1.5


def codes(facts: Mapping[str, object]) -> list[str]:
    """Return the codes of the reasons that the last check kept."""
    verdict = facts.get("verdict")
    reasons = verdict.get("reasons") if isinstance(verdict, dict) else None
    return [str(one.get("code")) for one in reasons if isinstance(one, dict)] if isinstance(reasons, list) else []


def _last(runs: Iterable[Run], verb: str) -> Run | None:
    found = None
    for one in runs:
        found = one if one.verb == verb else found
    return found


def _seconds(run: Run | None) -> float:
    return _times.moment(run.started).timestamp() if run else 0.0
