# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on segments, LSNs, timelines and what of them an archive holds. Private to this collection.

Names and arithmetic as in PostgreSQL's xlog_internal.h; LSNs are plain integers inside the library, X/Y outside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

SEGMENT_NAME = re.compile(r"^[0-9A-F]{24}$")
_OBJECT = re.compile(
    r"^obj +\d+ +(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)"
    r"(?P<fraction>\.\d+)? (?P<zone>[+-]\d{4}) \S+ +(?P<name>[0-9A-F]{24})(?:\.(?!partial)[a-z0-9]+)?(?: (?!.*DELETE).*)?$",
    re.MULTILINE,
)
DEFAULT_SEGMENT_SIZE = 16 * 1024 * 1024
LAST_TIMELINE = 2**32 - 1


def parse_lsn(text: str) -> int:
    """Return the integer of an LSN written X/Y. Raises WalgError on anything else."""
    match = re.match(r"^([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})\Z", text.strip())
    if not match:
        raise WalgError(f"Not an LSN: {text!r}; wanted two hexadecimal numbers such as 0/3000148.")
    return (int(match.group(1), 16) << 32) + int(match.group(2), 16)


def format_lsn(lsn: int) -> str:
    """Return an LSN as PostgreSQL writes it, X/Y."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def segment_number(name: str, size: int = DEFAULT_SEGMENT_SIZE) -> int:
    """Return the number of a segment since LSN 0; ``size`` in bytes."""
    return int(name[8:16], 16) * (0x100000000 // size) + int(name[16:24], 16)


def segment_name(timeline: int, number: int, size: int = DEFAULT_SEGMENT_SIZE) -> str:
    """Return the 24-digit name of a segment by timeline and number."""
    per_id = 0x100000000 // size
    return f"{timeline:08X}{number // per_id:08X}{number % per_id:08X}"


def segment_of(timeline: int, lsn: int, size: int = DEFAULT_SEGMENT_SIZE) -> str:
    """Return the name of the segment that holds the byte at ``lsn``."""
    return segment_name(timeline, lsn // size, size)


def timeline_of(name: str) -> int:
    """Return the timeline of a segment name or of a base backup's name (base_<segment>...). Raises WalgError for others."""
    try:
        return int(name[5:13] if name.startswith("base_") else name[:8], 16)
    except ValueError:
        raise WalgError(f"{name!r} is neither the name of a segment nor of a base backup.") from None


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
    segment_size: int = DEFAULT_SEGMENT_SIZE

    def has(self, name: str) -> bool:
        """Say whether the storage holds this segment."""
        wal = self.timelines.get(timeline_of(name))
        return wal is not None and wal.start <= name <= wal.end and name not in wal.missing

    def missing_between(self, timeline: int, first: int, last: int) -> list[str]:
        """Return the segments of ``timeline`` that are needed for the LSNs first..last (inclusive) and not there."""
        numbers = range(first // self.segment_size, last // self.segment_size + 1)
        names = (segment_name(timeline, number, self.segment_size) for number in numbers)
        return [name for name in names if not self.has(name)]

    def last(self, timeline: int) -> str | None:
        """Return the newest segment of a timeline, or None."""
        wal = self.timelines.get(timeline)
        return wal.end or None if wal else None


def inventory(shown: Iterable[Mapping[str, Any]], segment_size: int = DEFAULT_SEGMENT_SIZE) -> Inventory:
    """Build the inventory from the answer of ``wal-show --detailed-json``."""
    try:
        return Inventory(_timelines(shown), segment_size)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise WalgError(f"WAL-G's wal-show has another form than is known: {type(exc).__name__} {exc}.") from exc


def _timelines(shown: Iterable[Mapping[str, Any]]) -> dict[int, TimelineWal]:
    timelines = {}
    for entry in shown:
        timeline = int(entry["id"])
        if not 0 < timeline <= LAST_TIMELINE:
            raise ValueError(f"{str(timeline)[:20]} is no timeline")
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


def upload_times(listing: str, names: Container[str]) -> dict[str, str]:
    """Return when segments were uploaded (RFC 3339, UTC) from the table of ``st ls wal_005``, of those in ``names``.

    A row is: obj, size, Go's default form of a time with its offset and zone, name; WAL-G 3 goes on with blanks, or a version of
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


def parse_history(text: str) -> list[tuple[int, int]]:
    """Return the ancestors in a history file, oldest first: (timeline, LSN at which it was left)."""
    rows = [line.split(None, 2) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        return [(int(row[0]), parse_lsn(row[1])) for row in rows]
    except (IndexError, ValueError) as exc:
        raise WalgError(f"This is not a history file of PostgreSQL: {text[:200]!r}.") from exc


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
    for ancestor, left_at in parse_history(text):
        found.setdefault(ancestor, TimelineWal(ancestor, "", "", parent, switch))
        parent, switch = ancestor, left_at
    return Inventory(found, archive.segment_size)


def without(archive: Inventory, names: Iterable[str]) -> Inventory:
    """Return the inventory with segments taken for missing: they are there, but no recovery passes them."""
    found = dict(archive.timelines)
    for name in names:
        wal = found.get(timeline_of(name))
        if wal is not None and wal.start <= name <= wal.end:
            found[wal.timeline] = replace(wal, missing=wal.missing | {name})
    return Inventory(found, archive.segment_size)


@dataclass(frozen=True)
class Leg:
    """A stretch of WAL on one timeline: from an LSN, to an LSN (None: as far as the archive goes)."""

    timeline: int
    first: int
    last: int | None


def path_to(timeline: int, start: int, consistent: int, start_timeline: int, archive: Inventory) -> list[Leg] | None:
    """Return the legs from ``start`` on ``start_timeline`` to the end of ``timeline``; None if it doesn't lead there.

    ``consistent``: the end of the base backup; a timeline that was left before it can't be followed.
    """
    legs = [Leg(timeline, start, None)]
    while legs[0].timeline != start_timeline:
        wal = archive.timelines.get(legs[0].timeline)
        if wal is None or wal.parent is None or wal.switch_lsn is None or wal.switch_lsn < consistent:
            return None  # no history known, or that timeline left before our start
        if wal.parent >= wal.timeline:
            return None  # a damaged history must not loop
        legs[0] = Leg(wal.timeline, wal.switch_lsn, legs[0].last)
        legs.insert(0, Leg(wal.parent, start, wal.switch_lsn))
    return legs


def needed_segments(legs: Sequence[Leg], archive: Inventory) -> Iterator[tuple[int, int, int]]:
    """Yield (timeline, first number, number after the last) of the segments that a recovery along ``legs`` reads.

    The segment in which a timeline was left is read from the timeline that follows, whose copy begins with the same bytes.
    """
    size = archive.segment_size
    for leg in legs:
        if leg.last is not None:
            yield leg.timeline, leg.first // size, leg.last // size
            continue
        last = archive.last(leg.timeline)
        end = segment_number(last, size) + 1 if last else leg.first // size
        yield leg.timeline, leg.first // size, end


def gaps(legs: Sequence[Leg], archive: Inventory) -> list[str]:
    """Return the segments along ``legs`` that the storage lacks, in order."""
    size = archive.segment_size
    names = (
        segment_name(timeline, number, size)
        for timeline, first, end in needed_segments(legs, archive)
        for number in range(first, end)
    )
    return [name for name in names if not archive.has(name)]


def last_listed(legs: Sequence[Leg], archive: Inventory) -> list[str]:
    """Return per timeline the last segment that a recovery along ``legs`` can't find missing."""
    return [
        segment_name(timeline, end - 1, archive.segment_size)
        for timeline, first, end in needed_segments(legs, archive)
        if end > first
    ]
