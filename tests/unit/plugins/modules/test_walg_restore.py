# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_restore for requests that stand somewhere already: nothing is asked of any storage."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _answer, _state
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._state import RestoreState
from ansible_collections.mapswipe.walg.plugins.modules import walg_restore
from support.restores import restore_state
from support.walg_world import World, write_cluster


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def marked(world: World, state: str) -> RestoreState:
    made = restore_state(world, state)
    made.answer.backup = {"name": "base_1"}
    _state.save(world.instance, made)
    return made


def run(capfd: pytest.CaptureFixture[str], world: World, request: str, check: bool = False) -> dict[str, Any]:
    options = {"request": request, "config_dir": world.instance.config_dir, "_ansible_check_mode": check}
    with patch_module_args(options), pytest.raises(SystemExit):
        walg_restore.main()
    answer: dict[str, Any] = json.loads(capfd.readouterr().out)
    return answer


def places(world: World) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in world.root.rglob("*"))


@pytest.mark.parametrize("check", [True, False])
def test_done_is_done_whatever_was_written_since(capfd: pytest.CaptureFixture[str], world: World, check: bool) -> None:
    marked(world, "done")
    write_cluster(world.data_dir, state=6)
    (world.data_dir / "written_since").write_text("x")
    before = places(world)
    answer = run(capfd, world, "r1", check)
    assert (answer["changed"], answer["restore"]["backup"]) == (False, {"name": "base_1"})
    assert places(world) == before


def test_check_mode_does_not_finish_a_swap(capfd: pytest.CaptureFixture[str], world: World) -> None:
    made = marked(world, "swapping")
    write_cluster(Path(made.work_dirs()[-1]))
    before = places(world)
    answer = run(capfd, world, "r1", check=True)
    assert (answer["changed"], answer["restore"]["backup"]) == (True, {"name": "base_1"})
    assert places(world) == before


@pytest.mark.parametrize(
    ("state", "request_name", "text"),
    [
        ("swapping", "r2", "walg_restore_request: r1"),
        ("starting", "r2", "walg_restore_request: r1"),
        ("done", "r1", "A new restore needs a new walg_restore_request"),
        ("rolling back", "r1", "walg_restore_rollback: true"),
        ("rolled back", "r1", "was rolled back. A new restore needs a new"),
        ("paused", "r2", "waits; end it first"),
        ("done", "../x", "Restore request '../x' is not allowed"),
    ],
)
def test_refusals(capfd: pytest.CaptureFixture[str], world: World, state: str, request_name: str, text: str) -> None:
    marked(world, state)
    before = places(world)
    answer = run(capfd, world, request_name)
    assert answer["failed"] is True
    assert text in answer["msg"]
    assert places(world) == before


def test_unknown_instance(capfd: pytest.CaptureFixture[str], world: World) -> None:
    os.unlink(world.instance.record_file)
    assert "is not configured" in run(capfd, world, "r1")["msg"]


def test_a_damaged_marker_is_shown_and_kept(capfd: pytest.CaptureFixture[str], world: World) -> None:
    marked(world, "done")
    path = Path(_state.path(world.instance))
    path.write_text("{")
    assert "is damaged" in run(capfd, world, "r1")["msg"]
    assert path.read_text() == "{"


@pytest.mark.parametrize("check", [True, False])
def test_every_key_of_the_answer_is_documented(capfd: pytest.CaptureFixture[str], world: World, check: bool) -> None:
    marked(world, "done")
    write_cluster(world.data_dir)
    documented = yaml.safe_load(walg_restore.RETURN)["restore"]["contains"]
    assert set(documented) == _answer.NAMES
    assert set(run(capfd, world, "r1", check)["restore"]) == _answer.NAMES
