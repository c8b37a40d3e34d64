# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on global/pg_control: what a cluster that does not run says of itself.

The layout is ControlFileData in src/include/catalog/pg_control.h of PostgreSQL 10 to 19, on 64-bit little-endian and
big-endian hosts alike (native order, natural alignment). pg_controldata would say the same, but must be of the same
major version and is not installed everywhere.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field, replace
from typing import Mapping

from .._host._files import open_regular

FILE = os.path.join("global", "pg_control")  # in the data directory
_SIZE = 8192  # bytes of it (PG_CONTROL_FILE_SIZE)
MIB = 1024 * 1024
#: DBState: clean shutdowns, of a primary and in recovery.
_SHUT_DOWN = (1, 2)
#: DBState: in recovery of an archive, or stopped there.
_IN_RECOVERY = (2, 5)
#: The struct up to the size of a segment, by pg_control_version: CheckPoint differs (PostgreSQL 12 joined epoch and xid; 17, 18
#: and 19 added members).
_HEAD = "QIIiq"  # system identifier, control version, catalog version, state, time
_CHECKPOINT_AT = len(_HEAD)  # its LSN is the first value after the head
_CHECKPOINT = "QII?"  # redo, timeline, previous timeline, full_page_writes
_SIZES = (
    "?IdII",  # track_commit_timestamp, alignment, a float; sizes of a block, a relation's file
    "II",  # sizes of a WAL page, a segment
)


@dataclass(frozen=True)
class Control:
    """What is read. ``checkpoint``, ``timeline``: of the latest checkpoint; ``limits``: what a hot standby needs at least.

    ``catalog``: the version of the system catalog, which names the cluster's own directory in a tablespace (PG_14_202107181).
    """

    system_identifier: str
    version: int
    clean: bool
    timeline: int = 0
    limits: Mapping[str, int] = field(default_factory=dict)
    in_recovery: bool = False
    segment_size: int = 0  # bytes; 0: not known
    checkpoint: int = 0
    catalog: int = 0


def read(data_dir: str) -> bytes:
    """Return the content of a data directory's control file. Called as its owner. Raises OSError, or WalgError for no regular file."""
    with open(open_regular(os.path.join(data_dir, FILE)), "rb") as stream:
        return stream.read(_SIZE)


def parse(data: bytes) -> Control | None:
    """Parse the file's first bytes; None when they are too few."""
    head = struct.Struct("@" + _HEAD)
    if len(data) < head.size:
        return None
    identifier, version, catalog, state, _time = head.unpack(data[: head.size])
    recovering = state in _IN_RECOVERY
    control = Control(str(identifier), version, state in _SHUT_DOWN, in_recovery=recovering, catalog=catalog)
    layout = _LAYOUTS.get(version)
    if layout is None or len(data) < struct.calcsize("@" + layout.text):
        return control
    values = struct.unpack_from("@" + layout.text, data)
    limits = dict(zip(layout.limits, values[layout.first :]))
    size = values[-1] if is_segment_size(values[-1]) else 0
    timeline, checkpoint = values[layout.timeline], values[_CHECKPOINT_AT]
    return replace(control, timeline=timeline, limits=limits, segment_size=size, checkpoint=checkpoint)


def is_segment_size(size: int) -> bool:
    """Say whether initdb would make segments of so many bytes: a power of two from 1 MiB to 1 GiB."""
    return MIB <= size <= 1024 * MIB and size & (size - 1) == 0


@dataclass(frozen=True)
class _Layout:
    text: str
    timeline: int
    first: int
    limits: tuple[str, ...]


def _layout(*, prior: bool, epoch: bool, wal_level: bool, senders: bool, decoding: bool = False) -> _Layout:
    """Build the format: ``prior``: a second checkpoint pointer (10); ``epoch``: epoch and xid apart (up to 11);
    ``wal_level``: the checkpoint has one (17 and later); ``senders``: max_wal_senders is kept (12 and later);
    ``decoding``: the checkpoint says whether logical decoding is enabled, offsets of multixacts have 64 bits, and
    an SLRU's segment has a size (19).
    """
    pointers = "QQ" if prior else "Q"
    xid = "II" if epoch else "Q"
    level = ("i" if wal_level else "") + ("?" if decoding else "")
    # oid, multi, multi offset, oldest xid and its database, oldest multi and its database, time, commit timestamps (2), oldest active
    rest = "II" + ("Q" if decoding else "I") + "IIIIqIII"
    # unlogged LSN, minimum recovery point and its timeline, backup start, backup end, end required
    recovery = "QQIQQ?"
    limits = ["max_connections", "max_worker_processes"]
    if senders:
        limits.append("max_wal_senders")
    limits += ["max_prepared_transactions", "max_locks_per_transaction"]
    # wal_level, wal_log_hints, then the limits. A CheckPoint is aligned like its first member.
    sizes = ("I" if decoding else "").join(_SIZES)
    text = _HEAD + pointers + _CHECKPOINT + level + xid + rest + "0Q" + recovery + "i?" + "i" * len(limits) + sizes
    count = len(_fields(_HEAD + pointers + _CHECKPOINT + level + xid + rest + recovery + "i?"))
    timeline = len(_fields(_HEAD + pointers)) + 1
    return _Layout(text, timeline, count, tuple(limits))


def _fields(text: str) -> list[str]:
    return [char for char in text if not char.isdigit()]


_LAYOUTS = {
    1002: _layout(prior=True, epoch=True, wal_level=False, senders=False),
    1100: _layout(prior=False, epoch=True, wal_level=False, senders=False),
    1201: _layout(prior=False, epoch=False, wal_level=False, senders=True),
    1300: _layout(prior=False, epoch=False, wal_level=False, senders=True),
    1700: _layout(prior=False, epoch=False, wal_level=True, senders=True),
    1800: _layout(prior=False, epoch=False, wal_level=True, senders=True),
    1905: _layout(prior=False, epoch=False, wal_level=True, senders=True, decoding=True),
}
