# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is restorable: yes, no or unknown, to when, proved when, and why. Pure: facts in, verdict out.

Unknown is never yes: facts that are too old, a storage that could not be read and a trunk that is ambiguous say that nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._host import _exit_codes
from . import _archive_reasons, _job_reasons, _server_reasons
from ._reason import CRITICAL, INFO, UNKNOWN, Reason
from ._shown import clock, number, rows, table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_ORDER = {CRITICAL: 0, UNKNOWN: 1, "warning": 2, INFO: 3}
_CODES = {"no": _exit_codes.NOT_RESTORABLE, "unknown": _exit_codes.UNKNOWN}


@dataclass(frozen=True)
class Verdict:
    """``restorable``: yes, no or unknown. ``to``: the last point (RFC 3339), which is an upload's time unless ``to_known``.

    ``proved``: when a restore or a whole re-read last proved it; ``proved_to``: the last commit that this restore replayed. ``reasons``:
    the worst first. ``exit_code``: of _exit_codes.
    """

    restorable: str
    to: str | None
    to_known: bool
    proved: str | None
    reasons: tuple[Reason, ...]
    exit_code: int
    proved_to: str | None = None

    @property
    def light(self) -> str:
        """One word for all of it: ok, warning, no or unknown."""
        if self.restorable != "yes":
            return self.restorable
        return "ok" if self.exit_code == _exit_codes.OK else "warning"


def as_dict(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as results and files have it."""
    told = ("restorable", "to", "to_known", "proved", "proved_to", "exit_code")
    reasons = [{name: getattr(one, name) for name in ("code", "level", "text", "remedy")} for one in verdict.reasons]
    return {**{name: getattr(verdict, name) for name in told}, "reasons": reasons}


def line(verdict: Verdict) -> str:
    """Return a verdict in one line, with the worst reason."""
    until = f", to {clock(verdict.to)}" if verdict.to else ""
    worst = [one for one in verdict.reasons if one.level != INFO]
    more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
    return f"restorable: {verdict.restorable}{until}" + (f"; {worst[0].text}{more}" if worst else "")


def judge(facts: Mapping[str, Any], now: datetime) -> Verdict:
    """Return the verdict on facts, which _facts.gather made, or another host's, or ``unreachable`` with a text."""
    reasons = [
        *_job_reasons.freshness(facts, now),
        *_archive_reasons.storage(facts, now),
        *_server_reasons.server(facts, now),
        *_job_reasons.runs(facts, now),
        *_archive_reasons.soundness(facts, now),
    ]
    verdict = "no" if any(one.denies for one in reasons) else "yes"
    if verdict == "yes" and any(one.hides for one in reasons):
        verdict = "unknown"
    if facts.get("archive_problem") and table(facts.get("health")).get("failing") is True and not _old(reasons):
        verdict = "no"  # what is newest can't be there, whatever the storage holds
    last = table(_archive_reasons.newest(table(facts.get("archive"))).get("last"))
    wrong = any(one.level != INFO for one in reasons)
    return Verdict(
        verdict,
        _time(last, "time"),
        last.get("time_known") is True,
        _time(facts, "proved") if facts.get("proved_by") in ("restore", "verification") else None,
        tuple(sorted(reasons, key=lambda one: _ORDER[one.level])),
        _CODES.get(verdict, _exit_codes.WARNING if wrong else _exit_codes.OK),
        _time(facts, "proved_to") if facts.get("proved_by") == "restore" else None,
    )


def _time(told: Mapping[str, Any], name: str) -> str | None:
    value = told.get(name)
    return value if isinstance(value, str) else None


def _old(reasons: list[Reason]) -> bool:
    return any(one.code in ("unreachable", "facts_old", "facts_ahead") for one in reasons)


def of_dict(told: Mapping[str, Any]) -> Verdict:
    """Return a verdict from what as_dict() returned, as another host handed it in."""
    reasons = tuple(
        Reason(str(one.get("code")), str(one["level"]), str(one.get("text") or ""), str(one.get("remedy") or ""))
        for one in rows(told.get("reasons"))
        if one.get("level") in _ORDER
    )
    restorable, code = told.get("restorable"), number(told.get("exit_code"))
    return Verdict(
        str(restorable) if restorable in ("yes", "no") else "unknown",
        _time(told, "to"),
        told.get("to_known") is True,
        _time(told, "proved"),
        reasons,
        _exit_codes.UNKNOWN if code is None else int(code),
        _time(told, "proved_to"),
    )
