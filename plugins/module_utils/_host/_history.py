# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of a job's runs: one line of JSON each, the newest last."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from . import _times
from ._files import read_text, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Runs of each verb that are kept: a check every five minutes must not push out the base backups of a month.
KEPT = 200


@dataclass(frozen=True)
class Run:
    """One run. Times are RFC 3339, ``code`` is the exit code, ``text`` one line for people, ``details`` numbers for the page."""

    verb: str
    started: str
    ended: str
    seconds: float
    code: int
    changed: bool
    text: str
    details: dict[str, Any] = field(default_factory=dict)


def read(path: str) -> list[Run]:
    """Return the runs, oldest first; none where the file can't be read."""
    try:
        return _runs(path)[0]
    except WalgError:
        return []


def _runs(path: str) -> tuple[list[Run], int]:
    """Return the runs, and how many lines were passed over because they are damaged."""
    found, damaged = [], 0
    for line in (read_text(path, "replace") or "").splitlines():
        try:
            found.append(_run(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError, WalgError):
            damaged += 1
    return found, damaged


def _run(told: Mapping[str, Any]) -> Run:
    """Return a line as a run. Raises an error for anything else: what is kept must be fit to be counted and shown."""
    for name in ("started", "ended"):
        _times.moment(told[name])
    made = Run(**told)
    if not isinstance(made.details, dict):
        raise TypeError(made.details)
    return replace(
        made,
        verb=str(made.verb),
        text=str(made.text),
        code=int(made.code),
        seconds=float(made.seconds),
        changed=bool(made.changed),
    )


def append(path: str, run: Run) -> int:
    """Add a run, and drop the oldest of its verb beyond KEPT. Raises WalgError; hold a lock meanwhile. Returns damaged lines dropped."""
    runs, damaged = _runs(path)
    kept = newest([*runs, run], KEPT)
    write_atomic(path, "".join(json.dumps(asdict(one), sort_keys=True) + "\n" for one in reversed(kept)), 0o644)
    return damaged


def newest(runs: Sequence[Run], most: int) -> list[Run]:
    """Return the runs, the newest first, so many of each verb at most."""
    left = dict.fromkeys({one.verb for one in runs}, most)
    kept: list[Run] = []
    for one in reversed(runs):
        left[one.verb] -= 1
        if left[one.verb] >= 0:
            kept.append(one)
    return kept


def last(runs: Iterable[Run]) -> dict[str, Run]:
    """Return the newest run of each verb."""
    return {one.verb: one for one in runs}
