# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of segments as real servers wrote them; what is expected was read by pg_waldump 18, of 14 by the server's own answers.

The servers had segments of 1 MiB and wrote: rows, a prepared and a rolled-back transaction, subtransactions, a message
longer than a segment, a row that was never committed, and a switch.
"""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _wal, _wal_content
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._wal_content import SegmentContent
from hypothesis import given
from hypothesis import strategies as st

DATA = Path(__file__).resolve().parents[3] / "data" / "wal"
MIB, PAGE = 1024 * 1024, 8192


def recorded(name: str) -> bytes:
    return gzip.decompress((DATA / f"{name}.gz").read_bytes())


LAST = recorded("pg18-00000001000000000000000D")
FULL = recorded("pg18-00000001000000000000000B")


def identifier(data: bytes) -> str:
    return str(struct.unpack_from("=Q", data, 24)[0])


@pytest.mark.parametrize(
    ("name", "record", "commit", "time"),
    [
        ("pg18-00000001000000000000000B", 0xBAF260, 0xBAF260, "2026-11-24T14:17:02.764132Z"),
        ("pg18-00000001000000000000000C", None, None, None),  # the middle of one long record
        ("pg18-00000001000000000000000D", 0xD1E978, 0xD1E7D0, "2026-11-24T14:17:02.789917Z"),
        ("pg14-00000001000000000000000D", 0xD1E950, 0xD1E7C8, "2026-11-24T14:16:56.065515Z"),
    ],
)
def test_recorded_segments(name: str, record: int | None, commit: int | None, time: str | None) -> None:
    data = recorded(name)
    start = int(name[-8:], 16) * MIB
    assert _wal_content.read_segment(data, start) == SegmentContent(identifier(data), record, commit, time)


def test_a_prepared_transaction_counts_when_it_is_committed() -> None:
    """Cut behind COMMIT_PREPARED 755, which pg_waldump shows at 0/BAF1A0."""
    end = 0xBAF1D8 - 0xB00000
    cut = FULL[:end] + bytes(MIB - end)
    found = _wal_content.read_segment(cut, 0xB00000)
    assert (found.last_record, found.last_commit) == (0xBAF1A0, 0xBAF1A0)
    assert found.commit_time == "2026-11-24T14:17:02.762322Z"


def test_a_record_that_is_not_whole_does_not_count() -> None:
    """The last page that was written ends within a record."""
    whole = 0xBAE000 - 0xB00000
    found = _wal_content.read_segment(FULL[:whole] + bytes(MIB - whole), 0xB00000)
    assert found == SegmentContent(identifier(FULL), 0xBADB58)


def test_pages_of_an_earlier_use_of_the_file_are_not_read() -> None:
    """PostgreSQL renames old segments; without a switch the end of the last one still holds what it held before."""
    at = 30 * PAGE
    stale = bytearray(LAST[:at] + FULL[at:])
    assert _wal_content.read_segment(bytes(stale), 0xD00000) == _wal_content.read_segment(LAST, 0xD00000)


def test_records_of_an_earlier_use_of_a_page_are_not_read() -> None:
    """Behind the last record something that looks like one, but names another one before it."""
    at = 0xD1E978 + 24 - 0xD00000
    record = struct.pack("=IIQBB2xI", 34, 999, 0xD00000, 0, 1, 0) + bytes([255, 8]) + bytes(8)
    stale = LAST[:at] + record + LAST[at + len(record) :]
    assert _wal_content.read_segment(stale, 0xD00000) == _wal_content.read_segment(LAST, 0xD00000)


def test_a_page_that_overwrites_a_lost_continuation() -> None:
    """As after a crash in the middle of a record that spans pages: records go on at the page with that flag."""
    first = struct.pack("=HHIQI4xQII", 0xD10D, 2, 1, 0, 0, 7, 8 * PAGE, PAGE)
    whole = struct.pack("=IIQBB2xI", 34, 5, 0, 0, 1, 0) + bytes([255, 8]) + struct.pack("=q", 1_000_000)
    lost = struct.pack("=IIQBB2xI", 2 * PAGE, 6, 40, 0, 1, 0)
    second = struct.pack("=HHIQI4x", 0xD10D, 8, 1, PAGE, 0)
    after = struct.pack("=IIQBB2xI", 34, 7, 80, 0, 1, 0) + bytes([255, 8]) + struct.pack("=q", 2_000_000)
    data = (
        (first + whole.ljust(40, b"\0") + lost).ljust(PAGE, b"\1")
        + (second + after).ljust(PAGE, b"\0")
        + bytes(6 * PAGE)
    )
    found = _wal_content.read_segment(data, 0)
    assert found == SegmentContent("7", PAGE + 24, PAGE + 24, "2000-01-01T00:00:02Z")


@pytest.mark.parametrize(
    ("data", "start"),
    [
        (b"", 0),
        (b"\0" * 39, 0),
        (b"\0" * MIB, 0xD00000),
        (LAST, 0xC00000),
        (LAST[: MIB // 2], 0xD00000),
        (b"not a segment at all, but text of some length" * 10, 0),
    ],
)
def test_what_is_no_such_segment(data: bytes, start: int) -> None:
    with pytest.raises(WalgError, match=r"segment"):
        _wal_content.read_segment(data, start)


@given(st.integers(0x1E000, 0x1EA00), st.binary(min_size=1, max_size=64))
def test_damage_never_breaks_it(at: int, noise: bytes) -> None:
    """Around the last records."""
    found = _wal_content.read_segment(LAST[:at] + noise + LAST[at + len(noise) :], 0xD00000)
    assert found.last_commit is None or found.last_record is not None


@pytest.mark.parametrize(("length", "at"), [(50, 16), (54, 20)])
@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("before", [0, 8192 - 40 - 30])  # the second record goes over a page's end
def test_a_change_to_wal_level_minimal(length: int, at: int, level: int, before: int) -> None:
    """The record of PostgreSQL 10 and 11, and that of 12 and later."""
    size, page = 1 << 20, 8192
    data = bytearray(b"\x07" * (length - 26))
    data[at : at + 4] = struct.pack("=i", level)
    record = struct.pack("=IIQBB2xI", length, 0, 77, 0x60, 0, 12345) + bytes([255, length - 26]) + bytes(data)
    content = b"\1" * before + record
    pages = []
    for number in range(3):
        header = struct.pack("=HHIQI", 0xD10D, 0 if number else 2, 1, size * 5 + number * page, 0).ljust(24, b"\0")
        header += b"" if number else struct.pack("=QII", 7, size, page)
        room = page - len(header)
        pages.append((header + content[:room]).ljust(page, b"\0"))
        content = content[room:]
    whole = b"".join(pages).ljust(size, b"\0")
    name = _wal.segment_name(1, 5, size)
    assert _wal_content.says_minimal(io.BytesIO(whole), name) is (level == 0)
    assert not _wal_content.says_minimal(io.BytesIO(whole), _wal.segment_name(1, 6, size)), "kept for later use"
    assert not _wal_content.says_minimal(io.BytesIO(whole[:30]), name)
