# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From every state there is a way on and a way back, and a message can name both."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _state, _ways
from support.restores import restore_state
from support.walg_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("keeps_old", [True, False])
@pytest.mark.parametrize("state", _state.STATES)
def test_each_state_has_both(world: World, state: str, keeps_old: bool) -> None:
    told = _ways.of(restore_state(world, state, keeps_old=keeps_old))
    assert "walg_restore_request: r1" in told
    assert told.startswith("Way on")
    if state not in ("rolling back", "rolled back"):
        assert ("walg_restore_rollback: true" in told) is (keeps_old or state != "done")
        assert "Way back: " in told


def test_what_is_half_back_goes_back(world: World) -> None:
    made = restore_state(world, "rolled back")
    assert "new walg_restore_request" in _ways.of(made)
    made.moved_back = True
    assert "walg_restore_rollback: true again" in _ways.of(made)
