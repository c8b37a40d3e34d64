# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marker of a restore: what is written is what is read, and a damaged one is not taken for none."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._record import Instance
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _state
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._state import BESIDE, STATES, Marker

PLACES = [
    {"path": path, "link": link, "mount": False, "work": f"{path}.restore-r1", "aside": f"{path}.before-r1"}
    for path, link in (("/w", "pg_wal"), ("/d", ""))
]
TARGET = {"kind": "lsn", "value": "0/5000000", "inclusive": True}
MARKER = Marker(
    "r1", "fetching", TARGET, False, "base_1", "7", "/d", PLACES, {"timeline": 1}, True, "/tmp/s", [{"a": 1}]
)


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    cluster = Cluster(str(tmp_path / "data"), "/bin", "/run", os_user=User.current().name)
    return Instance("main", str(tmp_path), str(tmp_path), str(tmp_path), "/p", "/b", "file:///s", cluster)


def test_no_marker(instance: Instance) -> None:
    assert _state.load(instance) is None


@pytest.mark.parametrize("state", STATES)
def test_round_trip(instance: Instance, state: str) -> None:
    written = replace(MARKER, state=state)
    _state.save(instance, written)
    assert _state.load(instance) == written
    assert os.listdir(instance.state_dir) == ["restore.json"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "null", "[]", "{}", '"x"', json.dumps({"request": "r1"})),
        json.dumps({**vars(MARKER), "added_later": 1}),
        json.dumps({**vars(MARKER), "state": "of another version"}),
    ],
)
def test_a_damaged_marker_is_an_error_and_stays(instance: Instance, text: str) -> None:
    """Taken for none, the directory of an unfinished swap would be forgotten."""
    path = Path(_state.path(instance))
    path.write_text(text)
    with pytest.raises(WalgError, match=r"restore\.json is damaged"):
        _state.load(instance)
    assert path.read_text() == text


def test_swap_begun() -> None:
    """What is finished or undone, never removed; and what waits, or lies beside and may be removed."""
    by_state = [(state, replace(MARKER, state=state)) for state in STATES]
    assert [state for state, one in by_state if one.swap_begun] == ["swapping", "starting", "rolling back"]
    assert [state for state, one in by_state if one.waits] == ["paused", "shut down"]
    assert not [state for state, one in by_state if one.swap_begun and state in BESIDE]
    assert set(STATES) - set(BESIDE) == {"swapping", "starting", "done", "rolling back", "rolled back"}


def test_whose_it_is_and_what_it_made() -> None:
    assert MARKER.is_of("r1", "/d")
    assert not MARKER.is_of("r2", "/d")
    assert not MARKER.is_of("r1", "/e")
    assert MARKER.work_dirs() == ["/w.restore-r1", "/d.restore-r1"]
