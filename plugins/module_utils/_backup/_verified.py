# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verification answers: the verdict, the holes, what is damaged with its cost and remedy, and how far the re-read is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._host._counts import agree, many
from .._postgres import _wal
from . import _damage, _reread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from .._archive._recoverable import Window
    from .._instance._record import Instance
    from ._damage import Losses
    from ._memory import Memory
    from ._reread import Cycle, Stored
    from ._survey import Survey

#: Damaged objects whose cost is computed; where there are more, the first say it all.
_MOST_COSTED = 100
_DAY = 86400.0


@dataclass
class Reread:
    """Numbers of one run. ``changed``: objects that were removed or written while they were read."""

    planned: int = 0
    objects: int = 0
    bytes: int = 0
    seconds: float = 0.0
    changed: list[str] = field(default_factory=list)
    done_share: float = 0.0
    cycle_started: str = ""
    behind: float = 0.0

    def measure(self, cycle: Cycle, left: Sequence[Stored], days: int, now: datetime) -> None:
        """Compute how far the cycle is, and by how many seconds it is behind."""
        total = cycle.bytes + sum(one.size for one in left)
        self.cycle_started = cycle.started
        self.done_share = round(cycle.bytes / total, 6) if total else 1.0
        if days and total and left:
            self.behind = round(max(0.0, cycle.owed(total, days, now) - cycle.bytes) / total * days * _DAY, 3)

    def shown(self) -> dict[str, Any]:
        """Return it as the answer has it."""
        return {
            "objects": self.objects,
            "bytes": self.bytes,
            "planned": self.planned,
            "seconds": self.seconds,
            "done_share": self.done_share,
            "cycle_started": self.cycle_started,
            "behind": self.behind,
        }


def answer(instance: Instance, seen: Survey, memory: Memory, read: Reread, now: str) -> dict[str, Any]:
    """Put the answer together; run as the cluster's owner."""
    losses = _damage.Losses.of(seen.archive, seen.windows, _lost(seen, memory))
    told = _Told(instance, losses, memory, now)
    damaged = [*_of_records(seen, now), *_of_books(seen, told), *_of_objects(seen, told)]
    open_gaps = [one for one in seen.gaps if one["open"]]
    doubtful = sorted(path for path, doubt in memory.doubts.items() if not doubt["sure"])
    small = sorted(name for name, size in seen.books.suspects.items() if memory.cleared.get(name) != size)
    reasons = (
        [f"{agree(len(damaged), 'object', 'is', 'are')} damaged or missing, {damaged[0]['object']} first"]
        if damaged
        else []
    )
    reasons += [f"{one['first']} to {one['last']} is missing in the WAL" for one in open_gaps[:1]]
    reasons += [f"{name} can't be restored: {why}" for name, why in sorted(seen.lost.items())[:1]]
    unknown = [f"{doubtful[0]} could not be read: {memory.doubts[doubtful[0]]['what']}"] if doubtful else []
    unknown += [f"{small[0]} is smaller than WAL-G recorded, and not read yet"] if small else []
    unknown += [] if seen.archive.backups else ["there is no base backup of this cluster"]
    bad = bool(open_gaps or seen.lost) or any(one["costs"] for one in damaged)
    return {
        "text": _text(reasons, unknown, read),
        "sound": False if bad else None if unknown else True,
        "chain": {
            "gaps": seen.gaps,
            "backups": [{"name": name, "reason": why} for name, why in sorted(seen.lost.items())],
            "doubtful": doubtful,
            "smaller": small,
            "gone": sorted(set(memory.parts) - seen.names) if not seen.records else [],
            "left": [_window(one) for one in losses.left],
        },
        "damaged": damaged,
        "reread": read.shown(),
    }


def _text(reasons: Sequence[str], unknown: Sequence[str], read: Reread) -> str:
    said = "; ".join([*reasons, *unknown]) or "no damage found"
    return f"{said}. {many(read.objects, 'object')} read, {read.done_share:.0%} of this cycle."


def _of_records(seen: Survey, now: str) -> Iterable[dict[str, Any]]:
    """Return damaged records of base backups."""
    for path, (name, what) in sorted(seen.records.items()):
        yield {
            "object": path,
            "what": what,
            "costs": f"{name} can't be restored, and WAL-G can't list any base backup while it is like this",
            "remedy": f"Put it back from a copy or an older version, or remove {path} and what is in the folder {name}; then take a full "
            "base backup.",
            "since": now,
            "backups": [name],
        }


def _lost(seen: Survey, memory: Memory) -> list[tuple[str, str]]:
    """Return what is damaged or missing, by kind and owner."""
    sure = {path for path, doubt in memory.doubts.items() if doubt["sure"]}
    found = [(_reread.PART, name) for name, _what in seen.books.damaged.values()]
    return [*found, *((one.kind, one.owner) for one in seen.stored if one.path in sure)]


def _window(window: Window) -> dict[str, Any]:
    return {
        "timeline": window.timeline,
        "first_lsn": _wal.format_lsn(window.first.lsn),
        "first_time": window.first.time,
        "last_lsn": _wal.format_lsn(window.last.lsn),
        "backups": list(window.backups),
        "missing": window.missing,
    }


@dataclass
class _Told:
    """What an entry of the answer is made of."""

    instance: Instance
    losses: Losses
    memory: Memory
    now: str

    def entry(self, path: str, kind: str, owner: str, what: str, since: str) -> dict[str, Any]:
        """Return an object's entry."""
        cost = self.losses.cost(kind, owner)
        return {
            "object": path,
            "what": what,
            "costs": cost.text,
            "remedy": _damage.remedy(self.instance, kind, owner, path, cost),
            "since": since,
            "backups": list(cost.backups),
        }

    def since(self, path: str) -> str:
        """Return when it was first found to be missing."""
        for one in self.memory.last.get("damaged") or ():
            if isinstance(one, dict) and one.get("object") == path:
                return str(one.get("since") or self.now)
        return self.now


def _of_books(seen: Survey, told: _Told) -> Iterable[dict[str, Any]]:
    """Return what is missing."""
    for path, (name, what) in sorted(seen.books.damaged.items()):
        entry = told.entry(path, _reread.PART, name, what, told.since(path))
        if path in seen.books.foreign:
            entry["remedy"] = _damage.removal(told.instance, path)
        yield entry


def _of_objects(seen: Survey, told: _Told) -> Iterable[dict[str, Any]]:
    """Return what was read and is damaged."""
    left = _MOST_COSTED
    for one in sorted(seen.stored, key=lambda one: one.path):
        doubt = told.memory.doubts.get(one.path)
        if doubt is None or not doubt["sure"]:
            continue
        left -= 1
        if left >= 0:
            yield told.entry(one.path, one.kind, one.owner, doubt["what"], doubt["since"])
        else:
            costs = f"not computed: more than {_MOST_COSTED} objects are damaged"
            more = {"costs": costs, "remedy": "See the first ones.", "backups": []}
            yield {"object": one.path, "what": doubt["what"], "since": doubt["since"], **more}
