# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting: it ends when it is done or the time is over, and looks less often as it goes."""

from __future__ import annotations

import threading

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _waiting


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(round(seconds, 3))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(_waiting.time, "monotonic", lambda: made.now)
    monkeypatch.setattr(_waiting.time, "sleep", made.sleep)
    return made


def test_it_ends_when_it_is_done(clock: Clock) -> None:
    answers = iter([False, False, True])
    assert _waiting.wait_until(lambda: next(answers), 5)
    assert clock.pauses == [0.1, 0.15]


def test_it_ends_when_the_time_is_over(clock: Clock) -> None:
    assert not _waiting.wait_until(lambda: False, 0.2, every=0.06)
    assert clock.pauses == [0.06, 0.09, 0.135]


def test_it_looks_once_at_least(clock: Clock) -> None:
    assert _waiting.wait_until(lambda: True, 0)
    assert not _waiting.wait_until(lambda: False, 0)
    assert clock.pauses == []


@pytest.mark.parametrize(
    ("options", "pauses"), [({}, [0.1, 0.15, 0.225, 0.338, 0.506, 0.759, 1.0, 1.0]), ({"longest": 0.1}, [0.1] * 8)]
)
def test_the_pause_grows(clock: Clock, options: dict[str, float], pauses: list[float]) -> None:
    answers = iter([False] * 8 + [True])
    assert _waiting.wait_until(lambda: next(answers), 60, **options)
    assert clock.pauses == pauses


def test_a_limit_ends_whatever_waits() -> None:
    with pytest.raises(_waiting.OutOfTimeError), _waiting.limit(0.1):
        threading.Event().wait(20)
    with _waiting.limit(5):
        pass
