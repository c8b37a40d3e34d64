# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete objects of a storage one by one, by their exact names: records of base backups first, WAL last.

What a storage does not let go (a retention policy, a hold, a right that is missing) is collected and no error. A base backup whose record
stays is left whole, with what it is based on and its own WAL.
"""

from __future__ import annotations

import re
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


@dataclass
class Deletion:
    """One run. ``gone``, ``locked``: names of objects; ``untried``: how many were not tried after enough that are locked."""

    walg: Walg
    tick: Callable[[int], None]
    gone: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    untried: int = 0
    _in_a_row: int = 0

    def remove(self, name: str) -> bool:
        """Delete one object; False if the storage does not let it go. Raises WalgError if it can't be asked."""
        if self._in_a_row >= _ENOUGH:
            self.untried += 1
            return False
        try:
            self.walg.remove(name)
        except WalgError as exc:
            said = f"{exc.fields.get('stderr', '')}\n{exc.fields.get('stdout', '')}"
            if _GONE.search(said) and not exc.fields.get("timed_out"):
                return True  # a run before this one, which was killed, has deleted it
            if not _owner.denied(exc) and not _LOCKED.search(said):
                raise
            self.locked.append(name)
            self._in_a_row += 1
            return False
        self._in_a_row = 0
        self.gone.append(name)
        self.tick(len(self.gone))
        return True

    def backups(self, drops: Sequence[Drop], bases: Mapping[str, Iterable[str]]) -> list[str]:
        """Delete base backups, deltas before what they are based on; return the names of those that stay with their records.

        ``bases``: what each is based on.
        """
        held: set[str] = set()
        stay: list[str] = []
        for drop in drops:
            if drop.name in held or (drop.objects and not self.remove(drop.objects[0])):
                stay.append(drop.name)
                held |= {drop.name, *bases.get(drop.name, ())}
                continue
            for name in drop.objects[1:]:
                self.remove(name)
        return stay

    def wal(self, names: Iterable[str]) -> None:
        """Delete objects of the WAL folder."""
        for name in names:
            self.remove(name)
