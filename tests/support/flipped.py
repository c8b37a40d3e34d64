# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damage as disks do it."""

from __future__ import annotations


def flipped(data: bytes, bit: int = 0x10) -> bytes:
    """Return an object's content with one bit of the byte in its middle turned."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ bit]) + data[middle + 1 :]
