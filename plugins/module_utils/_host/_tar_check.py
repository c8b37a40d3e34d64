# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on a tar archive as it streams by: is its structure whole. No member is kept, so its size does not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

_BLOCK = 512
_AT_ONCE = 1 << 20
_CHECKSUM = slice(148, 156)
_SIZE = slice(124, 136)
_ZERO = bytes(_BLOCK)


def trouble(stream: BinaryIO) -> str:
    """Say what is wrong with a tar archive, "" if nothing is; the stream is read to its end, if nothing is."""
    place = members = 0
    while True:
        head = stream.read(_BLOCK)
        if len(head) < _BLOCK:
            return f"the tar ends after {place + len(head)} bytes, without its end mark"
        place += _BLOCK
        if head == _ZERO:
            return _rest(stream)
        size = _size_of(head)
        if size < 0:
            return f"at byte {place - _BLOCK} of the tar, after {members} members, there is no header of a member"
        members += 1
        length = -(-size // _BLOCK) * _BLOCK
        read = _skip(stream, length)
        place += read
        if read < length:
            return f"the tar ends after {place} bytes, within its member {members}"


def _rest(stream: BinaryIO) -> str:
    """What follows the first block of the end mark is zero."""
    found = 0
    while True:
        data = stream.read(_AT_ONCE)
        if not data:
            return "" if found >= _BLOCK else "the tar's end mark is cut off"
        if data.count(0) != len(data):
            return "there is something after the tar's end mark"
        found += len(data)


def _skip(stream: BinaryIO, length: int) -> int:
    left = length
    while left:
        data = stream.read(min(left, _AT_ONCE))
        if not data:
            break
        left -= len(data)
    return length - left


def _size_of(head: bytes) -> int:
    """Return the size in a member's header, -1 if it is none."""
    try:
        told = int(head[_CHECKSUM].rstrip(b"\0 ") or b"x", 8)
        if told != sum(head) - sum(head[_CHECKSUM]) + 8 * 0x20:
            return -1
        field = head[_SIZE]
        if field[0] & 0x80:  # base 256, for 8 GiB and more
            return int.from_bytes(field[1:], "big")
        return int(field.rstrip(b"\0 ") or b"0", 8)
    except ValueError:
        return -1
