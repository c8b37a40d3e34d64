# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A time with wal_level = minimal: searched for once after each start, noted until a newer base backup, never forgotten before."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _wal_level
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _waiting
from support.observe import files
from support.walg_world import segment

SIZE = 16 << 20


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A server's directory; segment 5 begins with a change to minimal, 4 and 6 with one to replica."""
    (tmp_path / "state").mkdir()
    (tmp_path / "data" / "pg_wal" / "archive_status").mkdir(parents=True)
    started(tmp_path / "data", "100")
    for number, level in ((4, 1), (5, 0), (6, 1)):
        write(tmp_path / "data", number, level)
    return tmp_path / "data"


def write(data: Path, number: int, level: int) -> None:
    """A segment that begins with the record of a change of wal_level."""
    record = struct.pack("=IIQBB2xI", 50, 0, 77, 0x60, 0, 12345) + bytes([255, 24])
    record += b"\7" * 16 + struct.pack("=i", level) + b"\7" * 4
    header = struct.pack("=HHIQI", 0xD10D, 2, 1, SIZE * number, 0).ljust(24, b"\0") + struct.pack("=QII", 7, SIZE, 8192)
    (data / "pg_wal" / segment(1, number)).write_bytes((header + record).ljust(8192 * 2, b"\0"))


def started(data: Path, when: str) -> None:
    (data / "postmaster.pid").write_text(f"1\n{data}\n{when}\n5432\n")


def look(data: Path, identifier: str = "7", seconds: float | None = None, *, dry: bool = False) -> list[str]:
    return _wal_level.minimal_segments(str(data.with_name("state")), str(data), identifier, seconds, dry)


def test_it_is_found_and_searched_for_once_after_each_start(data: Path) -> None:
    assert look(data) == [segment(1, 5)]
    (data / "pg_wal" / segment(1, 5)).unlink()
    assert look(data) == [segment(1, 5)], "it is noted"
    write(data, 7, 0)
    assert look(data) == [segment(1, 5)], "without a restart there is no such change"
    started(data, "200")
    assert look(data) == [segment(1, 5), segment(1, 7)]


def test_check_mode_notes_nothing(data: Path) -> None:
    before = files(data.with_name("state"))
    assert look(data, dry=True) == [segment(1, 5)]
    assert files(data.with_name("state")) == before


def test_what_was_sent_is_not_read_again(data: Path) -> None:
    (data / "pg_wal" / "archive_status" / f"{segment(1, 5)}.done").touch()
    (data / "pg_wal" / "archive_status" / f"{segment(1, 6)}.ready").touch()
    assert look(data) == []


def test_a_search_that_may_not_last_is_left_to_the_next(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found by then counts."""
    times = iter(range(0, 10_000, 100))
    with monkeypatch.context() as patched:
        patched.setattr(_waiting.time, "monotonic", lambda: float(next(times)))
        found = look(data, seconds=1)
    assert found == []
    assert look(data) == [segment(1, 5)]


def test_a_newer_base_backup_takes_it_off(data: Path) -> None:
    state = str(data.with_name("state"))
    look(data)
    _wal_level.drop(state, "7", [segment(1, 9)])
    assert look(data) == [segment(1, 5)]
    _wal_level.drop(state, "7", [segment(1, 5)])
    assert look(data) == []
    before = files(data.with_name("state"))
    _wal_level.drop(state, "7", [segment(1, 5)])
    assert files(data.with_name("state")) == before


@pytest.mark.parametrize("note", ["{", "[]", "{}", '{"system_identifier": "8", "searched": "100", "segments": ["x"]}'])
def test_a_note_that_is_damaged_or_of_another_cluster_is_none(data: Path, note: str) -> None:
    (data.with_name("state") / _wal_level.NOTE).write_text(note)
    assert look(data) == [segment(1, 5)]
