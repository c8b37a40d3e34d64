# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on recovery targets: the point a restore goes to, as asked, as PostgreSQL is told, as its log proves it.

Names and meaning as in PostgreSQL's documentation, "Recovery Target" (10 to 18).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host._times import moment
from ._wal import format_lsn, parse_lsn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KINDS = ("latest", "immediate", "time", "lsn", "xid", "name")
ACTIONS = ("promote", "pause", "shutdown")
#: What PostgreSQL logs when it stops at a target, and at nothing else (xlogrecovery.c; xlog.c up to 14). With lc_messages=C.
_STOPPED = re.compile(r"recovery stopping (before|after|at) ")
_EARLY = re.compile(r"recovery ended before configured recovery target was reached")
#: What it logs right before, in this order (and, up to 12, before it promotes).
_REDO_DONE = re.compile(r"redo done at ([0-9A-F]+/[0-9A-F]+)")
_LAST_COMMIT = re.compile(r"last completed transaction was at log time (.+)")
_INCLUSIVE_KINDS = ("time", "lsn", "xid")


@dataclass(frozen=True)
class Target:
    """The point. ``value``: normalised text, empty for latest and immediate. ``inclusive``: stop after it, not before."""

    kind: str = "latest"
    value: str = ""
    inclusive: bool = True

    @property
    def moment(self) -> datetime | None:
        """The time of a time target."""
        return moment(self.value) if self.kind == "time" else None

    @property
    def lsn(self) -> int | None:
        """The LSN of an LSN target."""
        return parse_lsn(self.value) if self.kind == "lsn" else None

    def shown(self) -> str:
        """Return it for messages."""
        if not self.value:
            return self.kind
        exclusive = " (exclusive)" if self.kind in _INCLUSIVE_KINDS and not self.inclusive else ""
        return f"{self.kind} {self.value}{exclusive}"

    def settings(self) -> dict[str, str]:
        """Return PostgreSQL's settings for it; none for latest."""
        if self.kind == "latest":
            return {}
        if self.kind == "immediate":
            return {"recovery_target": "immediate"}
        value = self.value
        if self.kind == "time":
            value = moment(self.value).strftime("%Y-%m-%d %H:%M:%S.%f+00")
        found = {f"recovery_target_{self.kind}": value}
        if self.kind in _INCLUSIVE_KINDS:
            found["recovery_target_inclusive"] = "on" if self.inclusive else "off"
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return it as modules and markers hold it."""
        return {"kind": self.kind, "value": self.value, "inclusive": self.inclusive}


def from_options(given: Mapping[str, Any], now: datetime | None = None) -> Target:
    """Build the target from a module's options ``target`` and ``target_time``, ``_lsn``, ``_xid``, ``_name``, ``_inclusive``.

    Raises WalgError for what can't be a target: several of them, a time without a zone or in the future, a bad LSN.
    """
    named = [kind for kind in ("time", "lsn", "xid", "name") if given.get(f"target_{kind}") not in (None, "")]
    word = given.get("target") or "latest"
    if word not in ("latest", "immediate"):
        raise WalgError(
            f"Unknown target {word!r}; expected latest or immediate, or one of target_time, _lsn, _xid, _name."
        )
    if len(named) > 1 or (named and word != "latest"):
        listed = ", ".join([f"target_{kind}" for kind in named] + (["immediate"] if word != "latest" else []))
        raise WalgError(f"Several recovery targets are given ({listed}); PostgreSQL accepts only one.")
    inclusive = given.get("target_inclusive")
    inclusive = True if inclusive is None else bool(inclusive)
    if not named:
        return Target(word)
    kind = named[0]
    text = str(given[f"target_{kind}"]).strip()
    return Target(kind, _NORMAL[kind](text, now or datetime.now(timezone.utc)), inclusive)


def _time(text: str, now: datetime) -> str:
    found = moment(text)
    if found > now:
        raise WalgError(f"The target time {text} is in the future (it is {now.isoformat(timespec='seconds')} now).")
    return found.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _lsn(text: str, _now: datetime) -> str:
    return format_lsn(parse_lsn(text))


def _xid(text: str, _now: datetime) -> str:
    if not re.match(r"^[0-9]{1,20}\Z", text) or int(text) < 3:
        raise WalgError(f"Not a transaction id: {text!r}; expected a number from 3 on, as txid_current() gives it.")
    return str(int(text) & 0xFFFFFFFF)  # the epoch that txid_current() puts in front is not in the WAL


def _name(text: str, _now: datetime) -> str:
    if len(text.encode()) > 63 or any(ord(char) < 32 for char in text):
        raise WalgError(f"Not the name of a restore point: {text!r}; PostgreSQL accepts at most 63 bytes.")
    return text


_NORMAL = {"time": _time, "lsn": _lsn, "xid": _xid, "name": _name}


def check_action(action: str, target: Target, standby: bool) -> None:
    """Raise WalgError for an action that this target can't have."""
    if action not in ACTIONS:
        raise WalgError(f"Unknown action {action!r}; expected {', '.join(ACTIONS)}.")
    if standby and (action != "promote" or target.kind != "latest"):
        raise WalgError("A standby follows the archive: it can't have a target or an action. Leave these out.")
    if action != "promote" and target.kind == "latest":
        raise WalgError(
            f"action={action} needs a target to stop at; the latest state is the end of all WAL, where PostgreSQL promotes."
        )


def proof(log: Sequence[str], target: Target) -> str:
    """Return the log line that proves that recovery stopped at the target; empty if none does.

    PostgreSQL 10 to 12 promote without a word when a target is not reached: the line is all that tells.
    """
    if target.kind == "latest":
        return ""
    lines = [line for line in log if _STOPPED.search(line)]
    return lines[-1].strip() if lines else ""


def ended_early(log: Sequence[str]) -> bool:
    """Say whether PostgreSQL (13 and later) refused to promote since the target was not reached."""
    return any(_EARLY.search(line) for line in log)


def ended_at(log: Sequence[str]) -> tuple[str, str]:
    """Return the LSN and the time of the last commit at which replay ended, as the log says; empty where it does not."""
    lsn = [match.group(1) for match in map(_REDO_DONE.search, log) if match]
    commit = [match.group(1).strip() for match in map(_LAST_COMMIT.search, log) if match]
    return (lsn or [""])[-1], (commit or [""])[-1]


class NotReachedError(WalgError):
    """Recovery came to the end of all WAL without its target."""


def not_reached(target: Target, lsn: Any, last_commit: Any, **fields: Any) -> WalgError:
    """Return the error for a recovery that came to the end of all WAL without its target."""
    return NotReachedError(
        f"The target {target.shown()} was not reached: recovery came to the end of all WAL without it. It ended at LSN "
        f"{lsn or 'unknown'}, the last commit replayed is of {last_commit or 'an unknown time'}. If what was committed until then is "
        "what you want, ask for the latest state.",
        found=lsn,
        wanted=target.value,
        last_commit=last_commit,
        **fields,
    )


def forward(before: Target, after: Target) -> bool:
    """Say whether a paused recovery can go on to ``after`` without fetching again: a later point of the same kind, or any other kind.

    Not back to the base backup's end, nor to right before the point that it stands after.
    """
    if after.kind == "immediate":
        return before == after
    if (before.kind, before.value) == (after.kind, after.value) and before.inclusive and not after.inclusive:
        return False
    if before.kind == after.kind == "time":
        return moment(after.value) >= moment(before.value)
    if before.kind == after.kind == "lsn":
        return parse_lsn(after.value) >= parse_lsn(before.value)
    return True
