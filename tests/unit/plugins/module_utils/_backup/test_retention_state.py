# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan is shown before it is carried out the first time, and again where it would delete much."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _retention, _retention_state
from ansible_collections.mapswipe.walg.plugins.module_utils._backup._retention_state import State
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import Retention

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULES = _retention_state.digest(Retention(), "file:///s", "7")


def plan(goes: int, of: int) -> _retention.Plan:
    drop = [_retention.Drop(f"base_{number}", "", (), 1) for number in range(goes)]
    return _retention.Plan([], drop, [], [], 0, [], [], frozenset(f"base_{number}" for number in range(of)), [], [])


def hours(number: float) -> datetime:
    return NOW + timedelta(hours=number)


def test_the_first_plan_waits_twenty_hours() -> None:
    state, made = State(), plan(1, 9)
    assert "first plan" in _retention_state.must_show(state, made, RULES, NOW, confirmed=False)
    assert _retention_state.must_show(state, made, RULES, NOW, confirmed=True) == ""
    _retention_state.note_shown(state, made, RULES, NOW)
    _retention_state.note_shown(state, made, RULES, hours(19))
    assert "first plan" in _retention_state.must_show(state, made, RULES, hours(19.9), confirmed=False)
    assert _retention_state.must_show(state, made, RULES, hours(20), confirmed=False) == ""
    other = _retention_state.digest(Retention(days=13), "file:///s", "7")
    assert "first plan" in _retention_state.must_show(state, made, other, hours(20), confirmed=False)


def test_more_than_half_is_shown_again() -> None:
    state = State(accepted=RULES)
    assert _retention_state.must_show(state, plan(3, 4), RULES, NOW, confirmed=False) == ""
    assert _retention_state.must_show(state, plan(4, 8), RULES, NOW, confirmed=False) == ""
    assert "would delete 5 of 8" in _retention_state.must_show(state, plan(5, 8), RULES, NOW, confirmed=False)
    _retention_state.note_shown(state, plan(5, 8), RULES, NOW)
    assert _retention_state.must_show(state, plan(6, 9), RULES, hours(24), confirmed=False) == ""
    assert "would delete 9 of 14" in _retention_state.must_show(state, plan(14, 14), RULES, hours(24), confirmed=False)


def test_a_clock_that_was_set_back_shows_again() -> None:
    state = State()
    _retention_state.note_shown(state, plan(1, 9), RULES, hours(9000))
    _retention_state.note_shown(state, plan(1, 9), RULES, NOW)
    assert _retention_state.must_show(state, plan(1, 9), RULES, hours(20), confirmed=False) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        '{"shown": 3}',
        '{"journal": [1]}',
        '{"journal": {"objects": 5}}',
        '{"shown": {"names": 5}}',
        "null",
        "\0\xff{",
    ],
)
def test_a_damaged_file_remembers_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "retention.json"
    path.write_text(text, encoding="latin-1")
    assert _retention_state.load(str(path)) == State()


def test_there_and_back(tmp_path: Path) -> None:
    state = State(RULES, {"digest": "x", "names": ["a"]}, _retention_state.journal_of(["a"], NOW), {"text": "t"})
    _retention_state.save(str(tmp_path / "retention.json"), state)
    found = _retention_state.load(str(tmp_path / "retention.json"))
    assert found == state
    assert _retention_state.journal_time(found) == NOW.timestamp()
    assert _retention_state.journal_time(replace(found, journal={"time": "x"})) == 0.0
