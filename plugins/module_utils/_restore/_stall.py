# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fetch that makes no progress (WAL-G retries some failing storages for hours), recognised by what is on the disk."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host._users import call_as

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._host._users import User

#: A look may take this part of the time at most: a cluster can have a million files.
_SHARE = 0.05


class StalledError(WalgError):
    """Nothing new arrived for too long."""


@dataclass
class Stall:
    """Looks at directories while they are filled. ``limit``: seconds without a change; 0: none is set.

    A delta rewrites files in place, so it is not their sizes alone that tell.
    """

    directories: Sequence[str]
    owner: User
    limit: float
    _known: list[int] = field(default_factory=list)
    _changed: float = field(default_factory=time.monotonic)
    _next: float = 0.0

    def details(self) -> dict[str, Any]:
        """Return the bytes that have arrived. Raises StalledError when nothing has for too long."""
        began = time.monotonic()
        if began >= self._next:
            known = list(call_as(self.owner, _state, list(self.directories)))
            now = time.monotonic()
            self._next = now + (now - began) / _SHARE
            if known != self._known:
                self._known, self._changed = known, now
            elif self.limit and now - self._changed > self.limit:
                raise StalledError(f"nothing new arrived for {self.limit:.0f} s")
        return {"fetched_bytes": self._known[0] if self._known else 0}


def _state(directories: list[str]) -> list[int]:
    """Return the bytes, the newest change and the number of the files below directories."""
    total = newest = count = 0
    for directory in directories:
        for folder, _folders, files in os.walk(directory):
            for file in files:
                try:
                    found = os.lstat(os.path.join(folder, file))
                except FileNotFoundError:
                    continue
                total += found.st_blocks * 512
                newest = max(newest, found.st_mtime_ns)
                count += 1
    return [total, newest, count]
