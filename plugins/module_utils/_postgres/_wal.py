# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Positions in WAL, names of segments, and timeline history files."""

from __future__ import annotations

import re

from .._errors import WalgError

SEGMENT_NAME = re.compile(r"^[0-9A-F]{24}$")
DEFAULT_SEGMENT_SIZE = 16 * 1024 * 1024
LAST_TIMELINE = 2**32 - 1


def parse_lsn(text: str) -> int:
    """Return the integer of an LSN written X/Y. Raises WalgError on anything else."""
    match = re.match(r"^([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})\Z", text.strip())
    if not match:
        raise WalgError(f"Not an LSN: {text!r}; expected two hexadecimal numbers such as 0/3000148.")
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


def parse_history(text: str) -> list[tuple[int, int]]:
    """Return the ancestors in a history file, oldest first: (timeline, LSN at which it was left)."""
    rows = [line.split(None, 2) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        return [(int(row[0]), parse_lsn(row[1])) for row in rows]
    except (IndexError, ValueError) as exc:
        raise WalgError(f"This is not a history file of PostgreSQL: {text[:200]!r}.") from exc
