# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on objects: what the table of ``wal-g st ls`` says is in the storage, with sizes and times.

A row is: obj or dir, size in bytes, Go's default form of a time with its offset and zone, name; WAL-G 3 continues with blanks, or a
version of the object. A table of another form is an error: what is not listed might be treated as gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Iterable

BACKUPS, WAL = "basebackups_005", "wal_005"  # WAL-G's folders
_ROW = re.compile(
    r"(?P<type>obj|dir) +(?P<size>\d+) +(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)? (?P<zone>[+-]\d{4}) \S+ +(?P<name>\S.*?) *"
)
_SEGMENT = re.compile(r"(?P<name>[0-9A-F]{24})(?:\.(?!partial\b|[0-9A-F]{8}\b)[a-z0-9]+)?\Z")


@dataclass(frozen=True)
class Object:
    """One object: its name below the folder that was listed, its size in bytes, when the storage last wrote it (seconds since 1970)."""

    name: str
    size: int
    time: float


def parse(table: str) -> list[Object]:
    """Return the objects of a table of ``st ls``; folders are left out."""
    return [found for is_object, found in _rows(table) if is_object]


def folders(table: str) -> list[str]:
    """Return the names of the folders in a table of ``st ls``."""
    return [found.name.strip("/") for is_object, found in _rows(table) if not is_object]


def _rows(table: str) -> Iterable[tuple[bool, Object]]:
    days: dict[str, float] = {}
    for line in table.splitlines()[1:]:  # the first names the columns
        if not line.strip():
            continue
        row = _ROW.fullmatch(line)
        if row is None:
            raise WalgError(
                f"WAL-G's table of objects has another form than is known: {line[:200]!r}.", stdout=table[:2000]
            )
        yield row["type"] == "obj", Object(row["name"], int(row["size"]), _seconds(row["time"], row["zone"], days))


def _seconds(text: str, zone: str, days: dict[str, float]) -> float:
    """Return seconds since 1970; ``days`` spares the calendar, since a big archive has few days and many objects."""
    day = text[:10] + zone
    if day not in days:
        try:
            midnight = datetime(int(text[:4]), int(text[5:7]), int(text[8:10]), tzinfo=timezone.utc)
        except ValueError:  # year 0, which a folder has on some storages
            midnight = datetime(1970, 1, 1, tzinfo=timezone.utc)
        days[day] = (midnight - timedelta(hours=int(zone[:3]), minutes=int(zone[0] + zone[3:]))).timestamp()
    return days[day] + int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])


def segment_of(name: str) -> str:
    """Return the segment whose content an object of the WAL folder holds; "" for history files, partial segments and others."""
    found = _SEGMENT.match(name)
    return found["name"] if found else ""
