# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_archive_check: what check mode foretells, why nothing is proved, and what a failed proof says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _options, _record
from ansible_collections.mapswipe.walg.plugins.modules import walg_archive_check
from support.module_call import Call
from support.observe import files
from support.scripted import Scripted
from support.settings_rows import Clock
from support.walg_world import World, segment, write_cluster


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    write_cluster(made.data_dir)
    return made


@pytest.fixture
def call(world: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return Call(walg_archive_check, capfd, monkeypatch, config_dir=world.instance.config_dir, timeout=5)


def test_check_mode_proves_nothing(world: World, call: Call) -> None:
    before = files(world.root)
    answer = call(Scripted(calls=[world.facts()]), check=True)
    assert (answer["changed"], files(world.root)) == (True, before)
    assert answer["reason"].startswith("no proof for this storage")


def test_check_mode_before_the_settings_are_there(world: World, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = replace(world.instance, storage="file:///another")
    monkeypatch.setenv(_options.PLANNED, _record.render(planned))
    answer = call(Scripted(calls=[world.facts()]), check=True)
    assert (answer["changed"], answer["reason"]) == (True, "the settings are not written yet")


def test_a_standby_proves_nothing(world: World, call: Call) -> None:
    for check in (True, False):
        answer = call(Scripted(calls=[world.facts(in_recovery=True)]), check=check, force=True)
        assert (answer["changed"], "its primary proves the archive" in answer["reason"]) == (False, True)


def test_a_segment_that_stays_is_a_failure_with_the_archivers_numbers(
    world: World, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    never = dict.fromkeys(("last_archived_wal", "last_archived_time", "last_failed_time", "stats_reset"))
    statistics = {**never, "archived_count": 0, "failed_count": 3, "last_failed_wal": segment(1, 7)}
    record = world.psql(f"{segment(1, 7)}\n0/7000000\n", stdin="pg_switch_wal")
    asked = [world.psql("\n", stdin="max(last_archived_wal)")] * 10
    told = world.psql(statistics, stdin="row_to_json")
    answer = call(Scripted(calls=[world.facts(), record, *asked, told]))
    assert f"The segment {segment(1, 7)} did not leave the server within 5 s." in answer["msg"]
    assert (answer["segment"], answer["archiver"]) == (segment(1, 7), statistics)


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_limit_that_can_not_be_meant(call: Call, timeout: int) -> None:
    answer = call(Scripted(), timeout=timeout)
    assert f"The option timeout is {timeout}. Expected: a whole number from 1" in answer["msg"]
