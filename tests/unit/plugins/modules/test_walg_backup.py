# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_backup: what check mode foretells, what a run says of a base backup that is there, and what it fails with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _locks
from ansible_collections.mapswipe.walg.plugins.modules import walg_backup
from support import scripted
from support.module_call import Call
from support.observe import files
from support.scripted import Scripted
from support.walg_world import World, listed, segment, shown

NAME = f"base_{segment(1, 2)}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One base backup and its WAL."""
    return World(tmp_path, [listed(1, 2, "2026-01-02T12:00:00Z")], [shown(1, 1, 5)])


@pytest.fixture
def call(world: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return Call(walg_backup, capfd, monkeypatch, config_dir=world.instance.config_dir)


def looks(world: World) -> list[scripted.Call]:
    return [world.facts(), world.version(), world.owner(), *world.lists(), world.present(), world.shows()]


def enough(world: World) -> list[scripted.Call]:
    return [*looks(world), world.present(), world.sentinel(NAME)]


@pytest.mark.parametrize("check", [True, False])
def test_one_that_is_there(world: World, call: Call, check: bool) -> None:
    runner = Scripted(calls=enough(world))
    answer = call(runner, check=check)
    runner.finish()
    assert (answer["changed"], answer["needed"], answer["backup"]["name"]) == (False, False, NAME)
    assert answer["diff"] == {"before": f"{NAME}\n", "after": f"{NAME}\n"}
    assert answer["reason"].startswith(f"{NAME} is ")


def test_check_mode_takes_none(world: World, call: Call) -> None:
    before = files(world.root)
    runner = Scripted(calls=looks(world))
    answer = call(runner, check=True, max_age=0)
    runner.finish()
    assert (answer["changed"], answer["needed"]) == (True, True)
    assert answer["diff"] == {"before": "", "after": "a new base backup\n"}
    assert (answer["backup"]["name"], files(world.root)) == (NAME, before)


def test_check_mode_before_wal_g_is_there(world: World, call: Call) -> None:
    os.unlink(world.instance.binary)
    runner = Scripted(calls=[world.facts()])
    answer = call(runner, check=True)
    runner.finish()
    assert (answer["changed"], answer["backup"], answer["reason"]) == (True, None, "the settings are not written yet")


def test_one_at_a_time(world: World, call: Call) -> None:
    with _locks.locked(world.instance.files.backup_lock, "A base backup"):
        answer = call(Scripted(calls=looks(world)), max_age=0)
    assert "A base backup of the instance 'main' is already running" in answer["msg"]


def test_an_archive_of_another_cluster(world: World, call: Call) -> None:
    world.backups.append(listed(1, 3, "2026-01-02T13:00:00Z", identifier="7"))
    for check in (True, False):
        answer = call(Scripted(calls=looks(world)), check=check)
        assert "another cluster (system identifier 7)" in answer["msg"]
