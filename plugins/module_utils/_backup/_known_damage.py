# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules: whether damage that the verification of a storage has found cuts the way from the newest base backup to the present.

A full base backup opens a new way. Damage before the newest one costs moments of the past, and no new one brings them back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._postgres import _wal
from .._walg import _objects
from . import _memory

if TYPE_CHECKING:
    from collections.abc import Iterable

_OWNER = re.compile(_objects.BACKUPS + r"/(?P<name>base_(?P<segment>[0-9A-F]{24})(?:_D_[0-9A-F]{24})?)(?:/|_backup)")


@dataclass(frozen=True)
class KnownDamage:
    """``objects``: what is damaged or missing, as paths below the prefix."""

    objects: tuple[str, ...] = ()

    def cuts(self, newest: str, start_lsn: int, every: Iterable[str], size: int) -> str:
        """Say what cuts the way from the newest base backup, "" if nothing does. ``every``: the names of all, ``size``: of a segment."""
        chain, timeline, start = _chain(newest, every), _wal.timeline_of(newest), start_lsn // size
        for path in self.objects:
            owner = _OWNER.match(path)
            if owner is not None:
                begin = owner["segment"]
                later = _wal.timeline_of(begin) == timeline and begin >= newest.split("_")[1]
                if owner["name"] in chain or later:  # WAL-G would base a delta on a later one, too
                    return f"verification found damage in {path}: a restore of {owner['name']} fails"
            segment = _segment(path)
            if segment and _wal.timeline_of(segment) == timeline and _wal.segment_number(segment, size) >= start:
                return f"verification found damage in {path}: recovery from {newest} does not pass it"
        return ""

    def cuts_seen(self, archive: Any) -> str:
        """Say the same of what a check saw last, as _info.look returns it."""
        try:
            timeline, size = archive["trunk"]["timeline"], int(archive["segment_size"])
            mine = [one for one in archive["backups"] if not one["foreign"]]
            here = [one for one in mine if one["restorable"] is True and one["timeline"] == timeline]
            newest = max(here, key=lambda one: int(one["finish_lsn_int"]))
            names = [str(one["name"]) for one in mine]
            return self.cuts(str(newest["name"]), int(newest["start_lsn_int"]), names, size)
        except (KeyError, TypeError, ValueError, ArithmeticError, WalgError):
            return ""  # none there, or a damaged file: other reasons say so


def load(path: str) -> KnownDamage:
    """Return what is known; ``path``: of the verification's state. Nothing where there is none."""
    memory = _memory.load(path)
    entries = memory.last.get("damaged")
    told = [str(one.get("object")) for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
    sure = [name for name, doubt in memory.doubts.items() if doubt["sure"]]  # of a run that was killed, too
    return KnownDamage(tuple(sorted({*told, *sure})))


def _segment(path: str) -> str:
    folder, _slash, name = path.partition("/")
    return _objects.segment_of(name) or "" if folder == _objects.WAL else ""


def _chain(name: str, every: Iterable[str]) -> list[str]:
    """Return a base backup and what it is based on, by their names."""
    segments = {one.split("_")[1]: one for one in every if one.startswith("base_")}
    found = [name]
    while "_D_" in found[-1]:
        base = segments.get(found[-1].rpartition("_D_")[2])
        if base is None or base in found:
            break
        found.append(base)
    return found
