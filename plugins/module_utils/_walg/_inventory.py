# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on segments, LSNs, timelines and what of them an archive holds.

Names and arithmetic as in PostgreSQL's xlog_internal.h; LSNs are plain integers inside the library, X/Y outside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._postgres import _wal
from . import _objects

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

_OBJECT = re.compile(
    r"^obj +\d+ +(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)"
    r"(?P<fraction>\.\d+)? (?P<zone>[+-]\d{4}) \S+ +(?P<name>[0-9A-F]{24})(?:\.(?!partial)[a-z0-9]+)?(?: (?!.*DELETE).*)?$",
    re.MULTILINE,
)

#: In the WAL folder: the note that PostgreSQL leaves of a base backup.
_LABEL = re.compile(r"[0-9A-F]{24}\.[0-9A-F]{8}\.backup(?:\.[a-z0-9]+)?")
_MOST_MISSING = 100_000  # segments that are named


@dataclass(frozen=True)
class TimelineWal:
    """The WAL of one timeline as wal-show reports it; ``parent`` and ``switch_lsn`` come from its history file.

    ``start`` and ``end`` are empty where only a later timeline's history knows of it.
    """

    timeline: int
    start: str
    end: str
    parent: int | None = None
    switch_lsn: int | None = None
    missing: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Inventory:
    """Which segments a storage holds, per timeline."""

    timelines: Mapping[int, TimelineWal]
    segment_size: int = _wal.DEFAULT_SEGMENT_SIZE

    def has(self, name: str) -> bool:
        """Say whether the storage holds this segment."""
        wal = self.timelines.get(_wal.timeline_of(name))
        return wal is not None and wal.start <= name <= wal.end and name not in wal.missing

    def last(self, timeline: int) -> str | None:
        """Return the newest segment of a timeline, or None."""
        wal = self.timelines.get(timeline)
        return wal.end or None if wal else None


def inventory(shown: Iterable[Mapping[str, Any]], segment_size: int = _wal.DEFAULT_SEGMENT_SIZE) -> Inventory:
    """Build the inventory from the answer of ``wal-show --detailed-json``."""
    try:
        return Inventory(_timelines(shown), segment_size)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise WalgError(f"WAL-G's wal-show has another form than is known: {type(exc).__name__} {exc}.") from exc


def _timelines(shown: Iterable[Mapping[str, Any]]) -> dict[int, TimelineWal]:
    timelines = {}
    for entry in shown:
        timeline = int(entry["id"])
        if not 0 < timeline <= _wal.LAST_TIMELINE:
            raise ValueError(f"{str(timeline)[:20]} is not a timeline")
        missing = frozenset(entry.get("missing_segments") or ())
        parent, switch = entry.get("parent_id"), entry.get("switch_point_lsn")
        timelines[timeline] = TimelineWal(
            timeline,
            str(entry["start_segment"]),
            str(entry["end_segment"]),
            int(parent) if parent else None,
            int(switch) if switch else None,
            missing,
        )
    return timelines


def names_in(table: str) -> list[str] | None:
    """Return the names of the objects in the table of ``st ls wal_005``; None where a row has another form than the usual."""
    try:
        found = [one.name for one in _objects.parse(table)]
    except WalgError:
        return None
    return (
        None if any(" " in name for name in found) else found
    )  # with a version of the object, or a mark of its deletion


def of_names(names: Iterable[str], segment_size: int) -> Inventory | None:
    """Return what wal-show would tell of an archive with these objects of WAL, where that needs no more than their names.

    None where it does: there is more than the first timeline, or a history file, or anything that is neither segment nor label.
    """
    numbers, per_id = set(), 0x100000000 // segment_size
    for name in names:
        segment = _objects.segment_of(name)
        if not segment and not _LABEL.fullmatch(name):
            return None
        if segment:
            if not name.startswith("00000001") or int(name[16:24], 16) >= per_id:
                return None
            numbers.add(_wal.segment_number(name, segment_size))
    if not numbers:
        return None
    first, last = min(numbers), max(numbers)
    if last - first + 1 - len(numbers) > _MOST_MISSING:
        return None
    lacking = () if last - first + 1 == len(numbers) else (one for one in range(first, last) if one not in numbers)
    start, end, *missing = (_wal.segment_name(1, one, segment_size) for one in (first, last, *lacking))
    return Inventory({1: TimelineWal(1, start, end, missing=frozenset(missing))}, segment_size)


def upload_times(listing: str, names: Container[str]) -> dict[str, str]:
    """Return when segments were uploaded (RFC 3339, UTC) from the table of ``st ls wal_005``, of those in ``names``.

    A row is: obj, size, Go's default form of a time with its offset and zone, name; WAL-G 3 continues with blanks, or a version of
    the object. What has another form is passed over, so that an unknown table yields no times instead of wrong ones.
    """
    found: dict[str, str] = {}
    for row in _OBJECT.finditer(listing):
        if row["name"] in names:
            # datetime.strptime would import a module when first called, which a child with another user's rights may not.
            year, month, day, hour, minute, second = (int(part) for part in row.groups()[:6])
            east = timedelta(hours=int(row["zone"][:3]), minutes=int(row["zone"][0] + row["zone"][3:]))
            when = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc) - east
            time = when.strftime("%Y-%m-%dT%H:%M:%S") + (row["fraction"] or "")[:7] + "Z"
            found[row["name"]] = max(time, found.get(row["name"], ""))
    return found


def cut_off(archive: Inventory, others: Iterable[int] = ()) -> list[int]:
    """Return the timelines whose parent wal-show does not list, though something older is there (``others``: of backups).

    It lists a timeline only if it holds a whole segment. After two promotions within one segment the one in between has
    but a ``.partial``, and the newest timeline would seem to hang in the air.
    """
    known = {*archive.timelines, *others}
    parents = {wal.timeline: wal.parent for wal in archive.timelines.values() if wal.parent}
    return [
        timeline
        for timeline, parent in sorted(parents.items())
        if parent not in archive.timelines and any(other < parent for other in known)
    ]


def with_history(archive: Inventory, timeline: int, text: str) -> Inventory:
    """Return the inventory with the ancestors that the history file of ``timeline`` names and wal-show doesn't list."""
    found = dict(archive.timelines)
    parent: int | None = None
    switch: int | None = None
    for ancestor, left_at in _wal.parse_history(text):
        found.setdefault(ancestor, TimelineWal(ancestor, "", "", parent, switch))
        parent, switch = ancestor, left_at
    return Inventory(found, archive.segment_size)


def without(archive: Inventory, names: Iterable[str]) -> Inventory:
    """Return the inventory with segments taken for missing: they are there, but no recovery passes them."""
    found = dict(archive.timelines)
    for name in names:
        wal = found.get(_wal.timeline_of(name))
        if wal is not None and wal.start <= name <= wal.end:
            found[wal.timeline] = replace(wal, missing=wal.missing | {name})
    return Inventory(found, archive.segment_size)
