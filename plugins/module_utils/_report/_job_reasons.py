# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reasons in the job: whether facts are fresh, and how the last run of each verb ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._host import _exit_codes
from .._host._counts import many
from ._reason import CRITICAL, INFO, UNKNOWN, WARNING, Reason
from ._shown import clock, line, number, since, span, table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: Check intervals after which facts say nothing any more.
INTERVALS = 3
_LONGEST = 2 * 86400.0  # seconds for the work that is due: a base backup may take a day
_AHEAD = 300.0  # seconds that clocks of hosts may differ
#: What a run may end with when nothing failed: the verdict itself says what a check found.
_FINE = (
    _exit_codes.OK,
    _exit_codes.WARNING,
    _exit_codes.NOT_RESTORABLE,
    _exit_codes.UNKNOWN,
    _exit_codes.LOCKED,
)
_CHECKED = ("check", "status", "report")


def freshness(facts: Mapping[str, Any], now: datetime) -> list[Reason]:
    """Return whether the facts are too old to say anything about now."""
    if facts.get("unreachable"):
        text = f"The host could not be asked: {line(facts['unreachable'])}"
        return [
            Reason(
                "unreachable",
                UNKNOWN,
                text,
                "Reach the host, or restore it elsewhere: docs/restore-runbook.md.",
                hides=True,
            )
        ]
    age = since(facts.get("time"), now)
    interval = number(table(facts.get("limits")).get("check"))
    if age is None or interval is None:
        return [Reason("facts_old", UNKNOWN, "When these facts were gathered is not known.", hides=True)]
    if age > INTERVALS * interval:
        text = f"These facts are {span(age)} old; a check is due every {span(interval)}."
        remedy = "Is the job running? See `systemctl list-timers`, cron's log, and the job's own log."
        return [Reason("facts_old", UNKNOWN, text, remedy, hides=True)]
    if age < -_AHEAD:
        text = f"These facts are {span(age)} ahead of this clock."
        return [Reason("facts_ahead", UNKNOWN, text, "Compare the clocks of the hosts.", hides=True)]
    return []


def runs(facts: Mapping[str, Any], now: datetime) -> list[Reason]:
    """Return what the last run of each verb says."""
    last = {str(verb): table(run) for verb, run in table(facts.get("runs")).items()}
    found = []
    for verb, run in sorted(last.items()):
        code = number(run.get("code"))
        if code is None or (code in _FINE and not (verb not in _CHECKED and code == _exit_codes.UNKNOWN)):
            continue
        found.append(_failed(verb, int(code), run))
    return [*found, *_silent(facts, last, now), *_retention(facts)]


def _failed(verb: str, code: int, run: Mapping[str, Any]) -> Reason:
    when, text = clock(run.get("ended")), line(run.get("text") or "")
    if verb == "state":
        remedy = "Make room, or give the files back to the job's user: docs/files.md names them."
        return Reason(
            "state_unwritable", WARNING, f"The job could not write down what it knows ({when}): {text}", remedy
        )
    remedy = f"See the job's log, then run `walg-job {line(verb)} --instance NAME`."
    if code == _exit_codes.HOOK:
        return Reason(
            "hook_failing",
            WARNING,
            f"Nobody could be told after {line(verb)} ({when}): {text}",
            "Fix the hook, the webhook or the ping.",
        )
    if verb == "expire" and code == _exit_codes.REFUSED:
        return Reason("retention_refused", WARNING, f"Retention deletes nothing ({when}): {text}", "Fix what it names.")
    level = CRITICAL if verb == "backup" else WARNING
    meaning = _exit_codes.MEANINGS.get(code, "failed")
    return Reason(
        f"{line(verb)}_failed", level, f"The last {line(verb)} ended with {code} ({meaning}; {when}): {text}", remedy
    )


def _silent(facts: Mapping[str, Any], last: Mapping[str, Mapping[str, Any]], now: datetime) -> list[Reason]:
    """Return whether the scheduled check runs at all: fresh facts may come from somebody who asked by hand."""
    interval = number(table(facts.get("limits")).get("check"))
    if facts.get("unreachable") or not interval:
        return []
    remedy = "Run the role mapswipe.walg.walg_backup; see `systemctl list-timers` or cron's log."
    ages = [since(run.get("ended"), now) for run in last.values()]
    known = [age for age in ages if age is not None]
    if not known:
        return [Reason("job_never", WARNING, "The job has not run on this host.", remedy)]
    check = since(table(last.get("check")).get("ended"), now)
    if check is not None and check < -_AHEAD:
        text = f"The job's last check ended {span(check)} from now: the clock was set back."
        return [Reason("job_silent", WARNING, text, "Set the clock right; the next check ends this.")]
    if check is None or check > INTERVALS * interval:
        late = f"{span(check)} ago" if check is not None else "never"
        return [
            Reason(
                "job_silent", WARNING, f"The job's last check was {late}; one is due every {span(interval)}.", remedy
            )
        ]
    work = since(table(last.get("run")).get("ended"), now)
    if work is not None and work > _LONGEST:
        text = (
            f"The work that is due last ended {span(work)} ago, though checks run: it hangs, or is no longer started."
        )
        return [Reason("job_silent", WARNING, text, f"See `walg-job status --watch`. {remedy}")]
    return []


def _retention(facts: Mapping[str, Any]) -> list[Reason]:
    found = []
    state = table(facts.get("retention"))
    shown, last = table(state.get("shown")), table(state.get("last"))
    if shown and state.get("accepted") != shown.get("digest"):
        text = f"Retention has shown its plan, and deletes nothing yet: {line(last.get('text') or '')}"
        remedy = "Nothing; the next night's run carries it out. Or confirm it: walg_retention with confirmed=true."
        found.append(Reason("retention_shown", INFO, text, remedy))
    locked = last.get("locked")
    if isinstance(locked, list) and locked:
        text = f"The storage does not let {many(len(locked), 'object')} go (the first: {line(locked[0])})."
        found.append(Reason("retention_locked", INFO, text, "A retention policy or a hold: they go when it ends."))
    return found
