# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of a page of WAL, the same from PostgreSQL 9.5 to 18 (XLogPageHeaderData, XLogLongPageHeaderData)."""

from __future__ import annotations

import struct
from typing import NamedTuple

_SHORT = struct.Struct("=HHIQI4x")  # magic, info, timeline, address, what is left of the record from the page before
_IDENTIFIER = "Q"
# The same on a segment's first page; then system identifier, segment size, page size.
_LONG = struct.Struct(f"{_SHORT.format}{_IDENTIFIER}II")
SHORT_SIZE, LONG_SIZE = _SHORT.size, _LONG.size  # 24 and 40 bytes
#: Where on a segment's first page its system identifier is, and its size; wal-push reads it there.
IDENTIFIER_AT, IDENTIFIER_SIZE = _SHORT.size, struct.calcsize(f"={_IDENTIFIER}")
CONTINUES, OVERWRITES = 0x01, 0x08  # flags in info
_IS_LONG = 0x02
_SMALLEST_PAGE = 512


class Page(NamedTuple):
    """A page's header. The address is its LSN."""

    magic: int
    info: int
    timeline: int
    address: int
    left: int  # bytes of the record from the page before


class FirstPage(NamedTuple):
    """The header of a segment's first page. Sizes in bytes."""

    magic: int
    info: int
    timeline: int
    address: int
    left: int
    system_identifier: int
    segment_size: int
    page_size: int

    @property
    def makes_sense(self) -> bool:
        """Whether a segment can begin so."""
        sizes = self.segment_size >= self.page_size >= _SMALLEST_PAGE
        return bool(self.magic) and bool(self.info & _IS_LONG) and sizes


def page(data: bytes, at: int = 0) -> Page:
    """Read the header at an offset."""
    return Page(*_SHORT.unpack_from(data, at))


def first_page(data: bytes) -> FirstPage | None:
    """Read the header of a segment's first page; None if there are fewer bytes."""
    return FirstPage(*_LONG.unpack_from(data)) if len(data) >= LONG_SIZE else None
