# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_control of every version, written member by member as src/include/catalog/pg_control.h has it on 64 bits."""

from __future__ import annotations

import struct

IDENTIFIER = 18446744073709551557
LIMITS = {
    "max_connections": 150,
    "max_worker_processes": 9,
    "max_wal_senders": 11,
    "max_prepared_transactions": 7,
    "max_locks_per_transaction": 65,
}


class Writer:
    """Members one after the other, each aligned to its own size."""

    def __init__(self) -> None:
        self.data = b""

    def put(self, kind: str, *values: int) -> None:
        for value in values:
            self.data += b"\0" * (-len(self.data) % struct.calcsize(kind))
            self.data += struct.pack(f"={kind}", value)


def control(version: int, state: int = 1, identifier: int = IDENTIFIER, segment_size: int = 16 << 20) -> bytes:
    """A file in which every member that is not looked at has a value of its own."""
    made = Writer()
    made.put("Q", identifier)
    made.put("I", version, 202107181)
    made.put("i", state)
    made.put("q", 1700000000)
    made.put("Q", *([0xA1, 0xA2] if version == 1002 else [0xA1]))  # checkPoint, and prevCheckPoint in 10
    # The checkpoint's copy: redo, ThisTimeLineID, PrevTimeLineID, fullPageWrites
    made.put("Q", 0xB1)
    made.put("I", 3, 2)
    made.put("?", 1)
    if version >= 1700:
        made.put("i", 1)  # wal_level
    if version >= 1905:
        made.put("?", 1)  # logicalDecodingEnabled
    if version < 1201:
        made.put("I", 0xC1, 0xC2)  # nextXidEpoch, nextXid
    else:
        made.put("Q", 0xC1)  # nextXid
    made.put("I", 0xC3, 0xC4)  # nextOid, nextMulti
    made.put("Q" if version >= 1905 else "I", 0xC5)  # nextMultiOffset
    made.put("I", 0xC6, 0xC7, 0xC8, 0xC9)  # oldestXid to oldestMultiDB
    made.put("q", 1700000001)
    made.put("I", 0xCA, 0xCB, 0xCC)  # the commit timestamps' ends, oldestActiveXid
    made.put("Q", 0xD1, 0xD2)  # unloggedLSN, minRecoveryPoint; the struct before ends on 8
    made.put("I", 4)  # minRecoveryPointTLI
    made.put("Q", 0xD3, 0xD4)  # backupStartPoint, backupEndPoint
    made.put("?", 1)  # backupEndRequired
    made.put("i", 1)  # wal_level
    made.put("?", 1)  # wal_log_hints
    for name, value in LIMITS.items():
        if name != "max_wal_senders" or version >= 1201:
            made.put("i", value)
    made.put("?", 1)  # track_commit_timestamp
    made.put("I", 8)  # maxAlign
    made.put("d", 0x412E848)  # floatFormat
    made.put("I", 8192, 131072)  # of a block, of a relation's file in blocks
    if version >= 1905:
        made.put("I", 32)  # slru_pages_per_segment
    made.put("I", 8192, segment_size)  # of a WAL page, of a segment
    return made.data.ljust(8192, b"\0")
