# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on a segment as the archive keeps it: is it the one that its name says, whole, and of this cluster.

Only the headers of its pages are looked at, as it streams by: WAL-G's compression has a checksum of the content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import WalgError
from . import _wal, _wal_page

if TYPE_CHECKING:
    from typing import BinaryIO

_AT_ONCE = 1 << 20  # bytes; a multiple of every page size
_LARGEST_PAGE = 1 << 16
_LARGEST_HISTORY = 1 << 20  # bytes


def segment_trouble(stream: BinaryIO, name: str, system_identifier: str, size: int) -> str:
    """Say what is wrong with the content of a segment, "" if nothing is. ``size`` in bytes; the stream is read to its end.

    Pages follow each other up to where the server switched to the next segment; what comes after is zero.
    """
    start = _wal.segment_number(name, size) * size
    data = stream.read(_AT_ONCE)
    head = _wal_page.first_page(data)
    trouble = _head_trouble(head, len(data), name, system_identifier, size)
    if trouble or head is None:
        return trouble
    pages = _Pages(start, head.page_size, head.magic, _wal.timeline_of(name))
    total = 0
    while data:
        trouble = trouble or pages.trouble(data, total)
        total += len(data)
        data = stream.read(_AT_ONCE)
    if total != size:
        return f"it has {total} bytes, a segment has {size}"
    return trouble


def _head_trouble(head: _wal_page.FirstPage | None, read: int, name: str, system_identifier: str, size: int) -> str:
    if head is None:
        return f"it has {read} bytes, a segment has {size}"
    page_size = head.page_size
    if not head.makes_sense or page_size > _LARGEST_PAGE or page_size & (page_size - 1):
        return "it does not begin as a segment does"
    if system_identifier and str(head.system_identifier) != system_identifier:
        return f"it is of another cluster (system identifier {head.system_identifier}; this one is {system_identifier})"
    if head.segment_size != size:
        return f"it says that segments have {head.segment_size} bytes; this cluster's have {size}"
    if head.address != _wal.segment_number(name, size) * size:
        found = _wal.segment_of(head.timeline, head.address, size) if 0 < head.timeline <= _wal.LAST_TIMELINE else "?"
        return f"it is another segment, {found} ({_wal.format_lsn(head.address)})"
    return ""


class _Pages:
    """What the pages of a segment must say."""

    def __init__(self, start: int, size: int, magic: int, timeline: int) -> None:
        self.start, self.size, self.magic, self.timeline = start, size, magic, timeline
        self.ended = False

    def trouble(self, data: bytes, offset: int) -> str:
        """Look at some pages, the first of which is at an offset of the segment."""
        for at in range(0, len(data), self.size):
            if len(data) - at < self.size:
                return ""  # the length tells
            magic, _info, timeline, address, _left = _wal_page.page(data, at)
            if magic == self.magic and address == self.start + offset + at and not self.ended:
                if not 0 < timeline <= self.timeline:
                    return f"the page at {_wal.format_lsn(address)} is of timeline {timeline}"
                continue
            self.ended = True
            if data.count(0, at, at + self.size) != self.size:
                there = _wal.format_lsn(self.start + offset + at)
                return f"the page that belongs at {there} says {_wal.format_lsn(address)}, magic {magic:#06x}"
        return ""


def history_trouble(stream: BinaryIO, name: str) -> str:
    """Say what is wrong with the content of a timeline's history file, "" if nothing is."""
    data = stream.read(_LARGEST_HISTORY)
    try:
        rows = _wal.parse_history(data.decode("utf-8"))
    except (WalgError, UnicodeDecodeError):
        return "it is no history file of PostgreSQL"
    timeline = int(name[:8], 16)
    if not rows or any(not 0 < ancestor < timeline for ancestor, _left_at in rows):
        return f"it does not say where timeline {timeline} comes from"
    return ""
