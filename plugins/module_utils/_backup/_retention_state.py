# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host remembers of retention, retention.json: which plan was shown under which rules, and what is being deleted.

A deletion that was killed is finished by the next run, from the journal in here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _times
from .._host._files import read_text, write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .._instance._job_spec import Retention
    from .._instance._record import Instance
    from ._retention import Plan

#: Seconds for which a plan is only shown. Twenty hours: the next night's run is the first that deletes.
SHOWN_FOR = 20 * 3600.0
_FEW = 3  # base backups that may go at once, whatever their share


@dataclass
class State:
    """``accepted``: digest of the rules whose plan was shown long enough. ``shown``: digest, time (RFC 3339), names of a plan.

    ``journal``: what is being deleted, {} between deletions. ``last``: what the last run said.
    """

    accepted: str = ""
    shown: dict[str, Any] = field(default_factory=dict)
    journal: dict[str, Any] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)


def load(path: str) -> State:
    """Return what is remembered. Of a damaged file nothing: then plans are shown again, and leftovers are found after a day.

    Raises WalgError for one that can't be read: it may tell what is being deleted.
    """
    try:
        told = json.loads(read_text(path, "replace") or "{}")
        parts = {name: dict(told.get(name) or {}) for name in ("shown", "journal", "last")}
        for part, names in (("shown", "names"), ("journal", "objects")):
            parts[part] = (
                {**parts[part], names: [str(one) for one in parts[part].get(names) or ()]} if parts[part] else {}
            )
        return State(str(told.get("accepted") or ""), **parts)
    except (ValueError, TypeError, AttributeError):
        return State()


def save(path: str, state: State) -> None:
    """Write it. Raises WalgError or OSError: nothing may be deleted that is not noted."""
    write_atomic(path, json.dumps({"format": 1, **asdict(state)}, sort_keys=True) + "\n", 0o644)


def digest(policy: Retention, storage: str, system_identifier: str) -> str:
    """Return what stands for rules and the archive that they are for."""
    text = json.dumps([asdict(policy), storage, system_identifier], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def must_show(state: State, made: Plan, rules: str, now: datetime, confirmed: bool) -> str:
    """Return why a plan is only shown this time; "" if it is carried out.

    It is shown under rules that are new, and where it would delete more than half of the base backups that count.
    """
    if confirmed:
        return ""
    known = state.shown if state.shown.get("digest") == rules else {}
    if state.accepted != rules and not _long_ago(known, now):
        return "it is the first plan under these rules"
    names = set(known.get("names") or ()) if _long_ago(known, now) else set()
    counted = [one.name for one in made.drop if one.name in made.counting and one.name not in names]
    if len(counted) > _FEW and 2 * len(counted) > len(made.counting):
        return f"it would delete {len(counted)} of {len(made.counting)} base backups that count"
    return ""


def note_shown(state: State, made: Plan, rules: str, now: datetime) -> None:
    """Remember a plan that is only shown. The first time counts, as long as it names the same base backups."""
    names = [one.name for one in made.drop]
    same = state.shown.get("digest") == rules and set(names) <= set(state.shown.get("names") or ())
    if not same or not _plausible(state.shown, now):
        state.shown = {"digest": rules, "time": _stamp(now), "names": names}


def journal_of(objects: Sequence[str], now: datetime) -> dict[str, Any]:
    """Return the journal of a deletion."""
    return {"time": _stamp(now), "objects": list(objects)}


def journal_time(state: State) -> float:
    """Return when the interrupted deletion was planned, as seconds since 1970; 0 if nobody knows, so that nothing is that old."""
    try:
        return _times.moment(str(state.journal["time"])).timestamp()
    except (KeyError, WalgError):
        return 0.0


def _stamp(now: datetime) -> str:
    return now.isoformat(timespec="seconds").replace("+00:00", "Z")


def _since(shown: dict[str, Any], now: datetime) -> float | None:
    """Return seconds since a plan was shown; None if nobody knows."""
    try:
        return (now - _times.moment(str(shown["time"]))).total_seconds()
    except (KeyError, WalgError):
        return None


def _long_ago(shown: dict[str, Any], now: datetime) -> bool:
    since = _since(shown, now)
    return since is not None and since >= SHOWN_FOR


def _plausible(shown: dict[str, Any], now: datetime) -> bool:
    """Say whether the time is not in the future: a clock that was set back would show a plan for years."""
    since = _since(shown, now)
    return since is not None and since >= 0


def was_shown(instance: Instance, policy: Retention) -> bool:
    """Say whether a play has noted that it showed the plan. If nobody can tell, it did not."""
    try:
        return (read_text(instance.files.retention_shown, "replace") or "").strip() == _shown_for(instance, policy)
    except (WalgError, OSError):
        return False


def note_play(instance: Instance, policy: Retention, *, dry: bool) -> bool:
    """Note that the plan was shown; return whether that is new. Raises WalgError or OSError if it can't be written."""
    new = not was_shown(instance, policy)
    if new and not dry:
        write_atomic(instance.files.retention_shown, _shown_for(instance, policy) + "\n", 0o644)
    return new


def _shown_for(instance: Instance, policy: Retention) -> str:
    return digest(policy, instance.storage, "")
