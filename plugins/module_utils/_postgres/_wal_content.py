# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on the content of one segment: its last record, its last commit, a change to wal_level = minimal.

What is read here has had the same form from PostgreSQL 9.5 to 18 (access/xlogrecord.h, xlog_internal.h, xact.h), and
pg_waldump is in few installations; it also reads its own major only.
"""

from __future__ import annotations

import re
import struct
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host._files import regular_opener
from . import _wal, _wal_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_RECORD = struct.Struct("=IIQBB2xI")  # length, xid, address of the record before, info, resource manager, checksum
_XACT, _COMMITS = 1, (0x00, 0x30)  # resource manager; COMMIT, COMMIT_PREPARED
_OPERATION = 0x70
_DATA_SHORT, _DATA_LONG, _ORIGIN, _TOPLEVEL = 255, 254, 253, 252  # ids of a record's parts, besides blocks
#: XLOG_PARAMETER_CHANGE: its length up to PostgreSQL 11 and from 12 on, xid 0, the record before, info and resource manager,
#: checksum, and its data: five or six numbers, the last of which is wal_level.
_PARAMETERS = re.compile(rb"(?s)[\x32\x36]\0{7}.{8}\x60\0{3}.{4}\xff(?:\x18.{16}|\x1c.{20})(.{4})")
_BEGINNINGS = (b"\x32" + bytes(7), b"\x36" + bytes(7))  # of such a record; bytes.find is quicker than the expression
_LONGEST = 54
_PAGES_AT_ONCE = 512
_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class SegmentContent:
    """What one segment holds; LSNs are where records begin, None if no such record begins in it. The time is RFC 3339."""

    system_identifier: str
    last_record: int | None = None
    last_commit: int | None = None
    commit_time: str | None = None


def read_segment(data: bytes, start: int) -> SegmentContent:
    """Read the bytes of the segment that begins at the LSN ``start``. A record that continues in the next segment is not counted.

    Raises WalgError if these are not that segment's bytes.
    """
    head = _wal_page.first_page(data)
    if head is None:
        raise WalgError(f"A segment of {len(data)} bytes is no segment.")
    if not head.makes_sense or head.address != start or head.segment_size != len(data):
        raise WalgError(
            f"This is not the segment that begins at {start:#x}: its first page says {head.address:#x}, {head.segment_size} bytes."
        )
    found = SegmentContent(str(head.system_identifier))
    for stretch in _stretches(data, start, head.page_size):
        found = _read(stretch, found)
    return found


@dataclass(frozen=True)
class _Stretch:
    """Pages in which records follow each other, without the pages' headers. ``offset``: where the first record begins."""

    start: int  # LSN of the segment
    page_size: int
    first: int  # number of its first page in the segment
    offset: int
    content: bytes

    def lsn(self, offset: int) -> int:
        """Return the LSN of a byte of ``content``."""
        first_room = self.page_size - (_wal_page.SHORT_SIZE if self.first else _wal_page.LONG_SIZE)
        if offset < first_room:
            return self.start + (self.first + 1) * self.page_size - first_room + offset
        more, inside = divmod(offset - first_room, self.page_size - _wal_page.SHORT_SIZE)
        return self.start + (self.first + 1 + more) * self.page_size + _wal_page.SHORT_SIZE + inside


def _stretches(data: bytes, start: int, page_size: int) -> list[_Stretch]:
    """Take the pages' headers out. It ends at a page that is not of this segment: it is left from another use of the file.

    A page that overwrites the continuation of a record (after a crash, from PostgreSQL 14 on) begins a new stretch.
    """
    begun: list[tuple[int, int, list[bytes]]] = []
    for number in range(len(data) // page_size):
        at = number * page_size
        magic, info, _timeline, address, left = _wal_page.page(data, at)
        if not magic or address != start + at:
            break
        content = data[at + (_wal_page.SHORT_SIZE if number else _wal_page.LONG_SIZE) : at + page_size]
        if not begun or info & _wal_page.OVERWRITES:
            begun.append((number, _aligned(left) if info & _wal_page.CONTINUES else 0, [content]))
        else:
            begun[-1][2].append(content)
    return [_Stretch(start, page_size, number, offset, b"".join(parts)) for number, offset, parts in begun]


def says_minimal(stream: BinaryIO, name: str, deadline: float | None = None) -> bool:
    """Say whether a segment's file holds the record of a change to wal_level = minimal.

    A file that is of no segment of this ``name`` (PostgreSQL keeps old ones for later use) holds none. Raises TimeoutError when
    time.monotonic() passes ``deadline``.
    """
    head = _wal_page.first_page(stream.read(_wal_page.LONG_SIZE))
    if head is None or not head.makes_sense:
        return False
    if head.address != _wal.segment_number(name, head.segment_size) * head.segment_size:
        return False
    stream.seek(0)
    before = b""
    for content in _contents(stream, head.address, head.page_size):
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError(name)
        if _holds_minimal(before + content):
            return True
        before = content[-_LONGEST:]
    return False


def _contents(stream: BinaryIO, address: int, page_size: int) -> Iterator[bytes]:
    """Yield what some pages hold, without their headers, up to the first page that is not of this segment."""
    first = True
    while True:
        data = stream.read(page_size * _PAGES_AT_ONCE)
        parts: list[bytes] = []
        for at in range(0, len(data) - page_size + 1, page_size):
            magic, _info, _timeline, there, _left = _wal_page.page(data, at)
            if not magic or there != address:
                yield b"".join(parts)
                return
            parts.append(data[at + (_wal_page.LONG_SIZE if first else _wal_page.SHORT_SIZE) : at + page_size])
            address, first = address + page_size, False
        if not parts:
            return
        yield b"".join(parts)


def _holds_minimal(content: bytes) -> bool:
    for beginning in _BEGINNINGS:
        at = content.find(beginning)
        while at >= 0:
            record = _PARAMETERS.match(content, at)
            if record is not None and record[1] == b"\0\0\0\0":
                return True
            at = content.find(beginning, at + 1)
    return False


def _aligned(length: int) -> int:
    return (length + 7) & ~7


def _read(stretch: _Stretch, found: SegmentContent) -> SegmentContent:
    """Go from record to record until one is not whole, or does not name the one before it."""
    content, at = stretch.content, stretch.offset
    last, commit, moment = found.last_record, found.last_commit, found.commit_time
    before: int | None = None
    commit_at = -1
    while at + _RECORD.size <= len(content):
        length, _xid, previous, info, manager, _checksum = _RECORD.unpack_from(content, at)
        if length < _RECORD.size or at + length > len(content) or (before is not None and previous != before):
            break
        last = before = stretch.lsn(at)
        if manager == _XACT and info & _OPERATION in _COMMITS:
            commit, commit_at = last, at
        at += _aligned(length)
    if commit_at >= 0:
        try:
            moment = _commit_time(content, commit_at)
        except (struct.error, IndexError, OverflowError):
            moment = None  # a damaged record
    return SegmentContent(found.system_identifier, last, commit, moment)


def _commit_time(content: bytes, at: int) -> str | None:
    """Return when a commit was: the first eight bytes of its main data, which ends the record."""
    end = at + _RECORD.unpack_from(content, at)[0]
    at += _RECORD.size
    while at < end:
        kind = content[at]
        if kind in (_ORIGIN, _TOPLEVEL):
            at += 3 if kind == _ORIGIN else 5
            continue
        if kind == _DATA_SHORT:
            size = content[at + 1]
        elif kind == _DATA_LONG:
            (size,) = struct.unpack_from("=I", content, at + 1)
        else:
            return None
        (microseconds,) = struct.unpack_from("=q", content, end - size)
        return (_EPOCH + timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")
    return None


def segment_identifier(path: str) -> str:
    """Return the system identifier in a segment's first page (XLogLongPageHeaderData.xlp_sysid), '' if there is no such file."""
    try:
        with open(path, "rb", opener=regular_opener) as stream:
            head = _wal_page.first_page(stream.read(_wal_page.LONG_SIZE))
    except OSError:
        return ""
    return str(head.system_identifier) if head else ""
