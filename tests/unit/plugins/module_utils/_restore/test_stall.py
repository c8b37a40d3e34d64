# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fetch that gets on and one that does not, by what lies on the disk; the clock is the test's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _stall


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(_stall.time, "monotonic", lambda: made.now)
    return made


@pytest.fixture
def stall(tmp_path: Path, clock: Clock) -> _stall.Stall:
    for name in ("data", "space"):
        (tmp_path / name / "base").mkdir(parents=True)
    (tmp_path / "data" / "base" / "1").write_bytes(b"x" * 8192)
    return _stall.Stall([str(tmp_path / "data"), str(tmp_path / "space")], User.current(), 60)


def grows(path: Path) -> None:
    with (path / "data" / "base" / "1").open("ab") as stream:
        stream.write(b"x" * 8192)


def is_rewritten(path: Path) -> None:
    """As a delta does it: of the same size."""
    file = path / "data" / "base" / "1"
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))


def empty_file(path: Path) -> None:
    """In the other directory, and older than all."""
    (path / "space" / "2").touch()
    os.utime(path / "space" / "2", (0, 0))


def goes(path: Path) -> None:
    (path / "data" / "base" / "1").unlink()


@pytest.mark.parametrize("change", [grows, is_rewritten, empty_file, goes])
def test_what_changes_goes_on(
    tmp_path: Path, clock: Clock, stall: _stall.Stall, change: Callable[[Path], None]
) -> None:
    stall.details()
    clock.now += 60
    stall.details()
    change(tmp_path)
    clock.now += 1
    stall.details()
    clock.now += 60
    stall.details()
    clock.now += 1
    with pytest.raises(_stall.StalledError, match="nothing new arrived for 60 s"):
        stall.details()


def test_bytes_that_have_arrived(tmp_path: Path, stall: _stall.Stall) -> None:
    assert stall.details() == {"fetched_bytes": (tmp_path / "data" / "base" / "1").stat().st_blocks * 512}


def test_no_limit(clock: Clock, stall: _stall.Stall) -> None:
    stall.limit = 0
    for _turn in range(3):
        assert stall.details()["fetched_bytes"] > 0
        clock.now += 1e6


def test_directories_that_do_not_exist_yet(clock: Clock, tmp_path: Path) -> None:
    stall = _stall.Stall([str(tmp_path / "none")], User.current(), 60)
    assert stall.details() == {"fetched_bytes": 0}
    clock.now += 61
    with pytest.raises(_stall.StalledError):
        stall.details()


def test_a_look_that_takes_long_is_rare(clock: Clock, stall: _stall.Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million files: 3 s for a look, so the next comes after a minute."""
    looks = []

    def slow(_owner: User, _function: Callable[..., object], _paths: list[str]) -> list[int]:
        looks.append(clock.now)
        clock.now += 3
        return [len(looks), 0, 0]

    monkeypatch.setattr(_stall, "call_as", slow)
    for _turn in range(63):
        stall.details()
        clock.now += 1
    assert [one - 1000 for one in looks] == [0, 63]
