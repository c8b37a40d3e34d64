# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete objects of a storage one by one, by their exact names: records of base backups first, WAL last.

What a storage does not let go (a retention policy, a hold, a right that is missing) is collected and no error. A base backup whose record
stays is left whole, with what it is based on and its own WAL.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._archive import _owner
from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .._walg._client import Walg
    from ._retention import Drop

_LOCKED = re.compile(r"retention ?policy|object ?lock|\bhold\b|immutab|WORM|\b409\b.*immutable", re.IGNORECASE)
_GONE = re.compile(r"does not exist", re.IGNORECASE)
#: So many objects in a row that can't be deleted are enough to know it of the others.
_ENOUGH = 10
#: So many are deleted at once; of many, so many batches before it is looked at what became of them.
_AT_ONCE, _MANY, _BATCHES = 4, 50, 8


@dataclass
class Deletion:
    """One run. ``gone``, ``locked``: names of objects; ``untried``: how many were not tried after enough that are locked."""

    walg: Walg
    tick: Callable[[int], None]
    gone: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    untried: int = 0
    _in_a_row: int = 0

    def remove(self, names: Sequence[str]) -> bool:
        """Delete objects; False if the storage does not let one go. Raises WalgError if it can't be asked.

        They are deleted a few at a time: each is a program that waits for the storage.
        """
        step = _AT_ONCE * _BATCHES if len(names) >= _MANY else _AT_ONCE
        every = True
        for begin in range(0, len(names), step):
            if self._in_a_row >= _ENOUGH:
                self.untried += len(names) - begin
                return False
            some = names[begin : begin + step]
            if len(some) == 1:
                outcomes = [self._tried(some[0])]
            else:
                with ThreadPoolExecutor(_AT_ONCE) as pool:
                    outcomes = list(pool.map(self._tried, some))
            every = self._noted(some, outcomes) and every
        return every

    def _tried(self, name: str) -> WalgError | None:
        try:
            self.walg.remove(name)
        except WalgError as exc:
            return exc
        return None

    def _noted(self, names: Sequence[str], outcomes: Sequence[WalgError | None]) -> bool:
        """Note what became of objects. Raises the first error that is none of theirs, once all are noted."""
        every, failed = True, None
        for name, exc in zip(names, outcomes):
            said = f"{exc.fields.get('stderr', '')}\n{exc.fields.get('stdout', '')}" if exc else ""
            if exc is None:
                self._in_a_row = 0
                self.gone.append(name)
            elif _GONE.search(said) and not exc.fields.get("timed_out"):
                continue  # a run before this one, which was killed, has deleted it
            elif _owner.denied(exc) or _LOCKED.search(said):
                self.locked.append(name)
                self._in_a_row += 1
                every = False
            else:
                failed = failed or exc
        self.tick(len(self.gone))
        if failed is not None:
            raise failed
        return every

    def backups(self, drops: Sequence[Drop], bases: Mapping[str, Iterable[str]]) -> list[str]:
        """Delete base backups, deltas before what they are based on; return the names of those that stay with their records.

        ``bases``: what each is based on.
        """
        held: set[str] = set()
        stay: list[str] = []
        for drop in drops:
            if drop.name in held or not self.remove(drop.objects[:1]):
                stay.append(drop.name)
                held |= {drop.name, *bases.get(drop.name, ())}
                continue
            self.remove(drop.objects[1:])
        return stay
