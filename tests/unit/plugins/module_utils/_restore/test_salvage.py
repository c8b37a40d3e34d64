# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL of the old cluster that never reached the archive: contiguous, of this cluster, and not recycled."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _salvage
from support.walg_world import IDENTIFIER, SIZE, segment


def write(folder: Path, number: int, *, timeline: int = 1, holds: int = 0, identifier: str = IDENTIFIER) -> Path:
    """A sparse segment whose header says what it holds."""
    path = folder / segment(1, number)
    with path.open("wb") as stream:
        stream.write(struct.pack("=HHIQIxxxxQ", 0xD10D, 2, timeline, (holds or number) * SIZE, 0, int(identifier)))
        stream.truncate(SIZE)
    return path


def after(folder: Path) -> list[str]:
    return _salvage.after(str(folder), segment(1, 5), IDENTIFIER, SIZE)


def test_what_follows_without_a_gap(tmp_path: Path) -> None:
    assert after(tmp_path / "absent") == []
    for number in (5, 6, 7, 9):
        write(tmp_path, number)
    assert after(tmp_path) == [segment(1, 6), segment(1, 7)]
    (tmp_path / "target").mkdir()
    _salvage.copy(str(tmp_path), after(tmp_path), str(tmp_path / "target"))
    assert sorted(path.name for path in (tmp_path / "target").iterdir()) == after(tmp_path)


@pytest.mark.parametrize("change", [{"holds": 3}, {"timeline": 2}, {"identifier": "7"}])
def test_a_segment_of_something_else_ends_it(tmp_path: Path, change: dict[str, Any]) -> None:
    """A recycled one has the name of a coming segment and an old one's content."""
    write(tmp_path, 6)
    write(tmp_path, 7, **change)
    assert after(tmp_path) == [segment(1, 6)]


def test_a_segment_cut_short(tmp_path: Path) -> None:
    write(tmp_path, 6).write_bytes(b"x")
    assert after(tmp_path) == []
