# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_control of every version, written member by member as src/include/catalog/pg_control.h has it on 64 bits."""

from __future__ import annotations

import struct

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils import _control

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


def control(version: int, state: int = 1) -> bytes:
    """A file in which every member that is not looked at has a value of its own."""
    made = Writer()
    made.put("Q", IDENTIFIER)
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
    if version < 1201:
        made.put("I", 0xC1, 0xC2)  # nextXidEpoch, nextXid
    else:
        made.put("Q", 0xC1)  # nextXid
    made.put("I", 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9)  # nextOid to oldestMultiDB
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
    return made.data.ljust(8192, b"\0")


@pytest.mark.parametrize("version", [1002, 1100, 1201, 1300, 1700, 1800])
def test_versions(version: int) -> None:
    found = _control.parse(control(version))
    assert found is not None
    assert (found.system_identifier, found.version, found.timeline) == (str(IDENTIFIER), version, 3)
    wanted = {name: value for name, value in LIMITS.items() if name != "max_wal_senders" or version >= 1201}
    assert found.limits == wanted


@pytest.mark.parametrize(("state", "clean"), [(0, False), (1, True), (2, True), (3, False), (5, False), (6, False)])
def test_only_a_shutdown_is_clean(state: int, clean: bool) -> None:
    found = _control.parse(control(1300, state))
    assert found is not None
    assert found.clean is clean


def test_an_unknown_version_says_who_it_is_and_no_more() -> None:
    found = _control.parse(control(1900))
    assert found is not None
    assert (found.system_identifier, found.clean, found.timeline, found.limits) == (str(IDENTIFIER), True, 0, {})


def test_a_file_cut_short() -> None:
    assert _control.parse(control(1300)[:20]) is None
    found = _control.parse(control(1300)[:100])
    assert found is not None
    assert (found.timeline, found.limits) == (0, {})
