# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health of archiving under clocks that were set, and after a last answer that can't be read."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _health
from support.scripted import Scripted
from support.walg_world import SIZE, World, segment

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    (made.data_dir / "pg_wal" / "archive_status").mkdir(parents=True)
    return made


def waits(world: World, number: int, seconds: float) -> None:
    """Have a segment wait for so long."""
    path = world.data_dir / "pg_wal" / "archive_status" / f"{segment(1, number)}.ready"
    path.touch()
    os.utime(path, (NOW.timestamp() - seconds,) * 2)


def ask(world: World, lsn: str = "0/6000028") -> dict[str, Any]:
    told = {
        "lsn": lsn,
        "archive_timeout": 60,
        "last_wal": segment(1, 1),
        "last_time": NOW.timestamp() - 10,
        "failed_wal": None,
        "failed_time": None,
        "failed_count": 0,
        "fails": False,
        "mode": "on",
        "command": '/programs/wal-push /config/main.env "%p"',
        "library": "",
    }
    runner = Scripted(calls=[world.facts(), world.psql(told, stdin="pg_stat_archiver")])
    return _health.ask(runner, world.instance, NOW, heartbeat=False)


@pytest.mark.parametrize(
    ("ages", "behind"),
    [([], 0.0), ([3600], 3600.0), ([10, 3600, 20], 3600.0), ([-30], 0.0), ([-3600], None), ([-3600, 600], 600.0)],
)
def test_what_waits_since_the_future_waits_for_nobody_knows_how_long(
    world: World, ages: list[float], behind: float | None
) -> None:
    """An archiver that is stuck must not look well because the clock was set back."""
    for number, age in enumerate(ages):
        waits(world, 2 + number, age)
    found = ask(world)
    assert found["behind"] == behind
    assert found["waiting"]["files"] == len(ages)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "\0\xff",
        json.dumps({"timeline": 1, "rate_lsn": 5 * SIZE, "rate_since": "yesterday"}),
        json.dumps({"timeline": 1, "rate_lsn": 5 * SIZE, "rate_since": 7}),
        json.dumps({"timeline": 1, "rate_lsn": 5 * SIZE, "rate_since": "2026-01-02T11:59:00Z", "wal": [1]}),
        json.dumps({"timeline": 1, "rate_lsn": 5 * SIZE, "rate_since": "2026-01-02T11:59:00Z", "wal": {"rate": "x"}}),
        json.dumps({"timeline": 1, "rate_lsn": 5 * SIZE, "rate_since": "2026-01-03T11:59:00Z", "wal": {"rate": 7.5}}),
    ],
)
def test_a_last_answer_that_is_damaged_or_of_the_future_gives_no_rate(world: World, text: str) -> None:
    Path(world.instance.files.health).write_text(text, encoding="latin-1")
    room = ask(world)["wal"]
    assert (room["rate"], room["hours_left"]) == (None, None)


def test_the_rate_is_measured_over_some_minutes(world: World) -> None:
    before = {"timeline": 1, "rate_lsn": 5 * SIZE, "rate_since": "2026-01-02T11:59:00Z", "wal": {"rate": 7.5}}
    Path(world.instance.files.health).write_text(json.dumps(before))
    assert ask(world)["wal"]["rate"] == 7.5
    since = (NOW - timedelta(seconds=1000)).isoformat()
    Path(world.instance.files.health).write_text(json.dumps({**before, "rate_since": since}))
    assert ask(world)["wal"]["rate"] == round((0x6000028 - 5 * SIZE) / 1000, 1)
