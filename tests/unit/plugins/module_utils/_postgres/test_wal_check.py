# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A segment is judged by the headers of its pages, as it streams by."""

from __future__ import annotations

import io
import struct

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _wal, _wal_check

MIB = 1024 * 1024
ME = "7713639687197249334"
PAGE = 8192


def segment(name: str, size: int = MIB, identifier: str = ME, pages: int = 0, timeline: int = 0) -> bytearray:
    """A segment with so many pages in use (0: all); the rest is zero."""
    start = _wal.segment_number(name, size) * size
    data = bytearray(size)
    for number in range(pages or size // PAGE):
        info = 2 if number == 0 else 0
        head = struct.pack("=HHIQI4x", 0xD10D, info, timeline or int(name[:8], 16), start + number * PAGE, 0)
        head += struct.pack("=QII", int(identifier), size, PAGE) if number == 0 else b""
        data[number * PAGE : number * PAGE + len(head)] = head
        data[number * PAGE + 100 : number * PAGE + 200] = b"r" * 100
    return data


def trouble(data: bytes, name: str, size: int = MIB) -> str:
    return _wal_check.segment_trouble(io.BytesIO(data), name, ME, size)


NAME = "000000030000000200000007"


@pytest.mark.parametrize("size", [MIB, 64 * MIB])
@pytest.mark.parametrize("pages", [0, 1, 17])
def test_well(size: int, pages: int) -> None:
    name = NAME if size == MIB else "000000010000000000000007"
    assert trouble(segment(name, size, pages=pages), name, size) == ""


def test_pages_of_an_ancestor_are_well() -> None:
    """A timeline begins with a copy of the segment in which it left the one before."""
    assert trouble(segment(NAME, timeline=2), NAME) == ""
    assert "is of timeline 4" in trouble(segment(NAME, timeline=4), NAME)


def test_not_well() -> None:
    good = segment(NAME)
    other = "000000030000000200000008"
    assert "another segment, 000000030000000200000008 (2/800000)" in trouble(segment(other), NAME)
    assert "another cluster (system identifier 42" in trouble(segment(NAME, identifier="42"), NAME)
    assert "it has 0 bytes" in trouble(b"", NAME)
    assert "it has 1 bytes" in trouble(b"x", NAME)
    assert "does not begin as a segment" in trouble(bytes(MIB), NAME)
    assert f"it has {MIB - PAGE} bytes, a segment has {MIB}" in trouble(good[:-PAGE], NAME)
    assert f"it has {MIB - 100} bytes" in trouble(good[:-100], NAME)
    assert f"it has {MIB + PAGE} bytes" in trouble(good + bytes(PAGE), NAME)
    assert "it says that segments have 1048576 bytes" in trouble(good, NAME, 16 * MIB)


def test_pages_out_of_order() -> None:
    swapped = segment(NAME)
    swapped[PAGE : 2 * PAGE], swapped[2 * PAGE : 3 * PAGE] = swapped[2 * PAGE : 3 * PAGE], swapped[PAGE : 2 * PAGE]
    assert "the page that belongs at 2/702000 says 2/704000" in trouble(swapped, NAME)
    holed = segment(NAME)
    holed[5 * PAGE : 6 * PAGE] = bytes(PAGE)
    assert "the page that belongs at 2/70C000 says 2/70C000" in trouble(holed, NAME)
    left = segment(NAME, pages=5)
    left[9 * PAGE + 3000] = 1
    assert "the page that belongs at 2/712000" in trouble(left, NAME)


def test_history_files() -> None:
    def told(text: bytes, name: str = "00000003.history") -> str:
        return _wal_check.history_trouble(io.BytesIO(text), name)

    assert told(b"1\t0/5000000\tno recovery target specified\n\n2\t0/6000000\tbefore\n") == ""
    assert "does not say where timeline 3 comes from" in told(b"")
    assert "does not say where" in told(b"3\t0/5000000\tx\n")
    assert "is no history file" in told(b"\xff\xfe")
    assert "is no history file" in told(b"hello\n")
