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
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _layout, _state
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._answer import Answer
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._journal import Step
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._recovery_plan import RecoveryPlan
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._state import BESIDE, STATES, RestoreState

PLACES = [
    _layout.Location(path, link, mount=False, work=f"{path}.restore-r1", aside=f"{path}.before-r1")
    for path, link in (("/w", "pg_wal"), ("/d", ""))
]
STATE = RestoreState(
    request="r1",
    state="fetching",
    target=Target("lsn", "0/5000000"),
    standby=False,
    backup="base_1",
    system_identifier="7",
    data_dir="/d",
    places=PLACES,
    recovery=RecoveryPlan(major=14, segment_size=16, timeline=1, along="current", recorded={"limits": {"a": "1"}}),
    answer=Answer(request="r1", notes=["x"], timeline=1),
    keeps_old=True,
    socket_dir="/tmp/s",
    journal=[Step("make", "1:2", "/d.before-r1")],
)
TOLD = json.loads(_state.text(STATE))


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    cluster = Cluster(str(tmp_path / "data"), "/bin", "/run", os_user=User.current().name)
    return Instance("main", str(tmp_path), str(tmp_path), str(tmp_path), "/p", "/b", "file:///s", cluster)


def test_no_state(instance: Instance) -> None:
    assert _state.load(instance) is None


@pytest.mark.parametrize("state", STATES)
def test_round_trip(instance: Instance, state: _state.State) -> None:
    written = replace(STATE, state=state)
    _state.save(instance, written)
    assert _state.load(instance) == written
    assert os.listdir(instance.state_dir) == ["restore.json"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "null", "[]", "{}", '"x"', json.dumps({"request": "r1"})),
        json.dumps({**TOLD, "added_later": 1}),
        json.dumps({**TOLD, "state": "of another version"}),
        json.dumps({**TOLD, "recovery": {}}),
        json.dumps({**TOLD, "recovery": {**TOLD["recovery"], "later": 1}}),
        json.dumps({**TOLD, "places": [7]}),
        json.dumps({**TOLD, "answer": 7}),
    ],
)
def test_a_damaged_state_is_an_error_and_stays(instance: Instance, text: str) -> None:
    """Taken for none, the directory of an unfinished swap would be forgotten."""
    path = Path(_state.path(instance))
    path.write_text(text)
    with pytest.raises(WalgError, match=r"restore\.json is damaged"):
        _state.load(instance)
    assert path.read_text() == text


FORMER_PLAN = {
    "request": "r1",
    "target": TOLD["target"],
    "action": "promote",
    "backup": {"name": "base_1", "timeline": 1},
    "older_backups": ["base_0"],
    "timeline": 3,
    "last_segments": ["000000030000000000000005"],
    "salvaged_segments": [],
    "settings": {"work_mem": "1MB"},
    "links": {"postgresql.conf": "/etc/x"},
    "kept_as": "/d.before-r1",
    "major": 14,
    "segment_size": 16,
    "primary_conninfo": "host=p",
    "stays_on": None,
    "archive": "none",
    "salvage_from": "/d/pg_wal",
    "icu": "153.1",
    "other_host_allowed": True,
    "recorded": {"limits": {"a": "1"}},
}


@pytest.mark.parametrize("done", [False, True])
def test_a_state_of_format_1_is_still_read(done: bool) -> None:
    """A killed run of an earlier version is finished by this one."""
    result = {**FORMER_PLAN, "state": "done", "timeline": 4, "replayed_lsn": "0/1", "icu": "153.1"} if done else {}
    written = {name: value for name, value in TOLD.items() if name not in ("format", "recovery", "answer")}
    written.update({"plan": FORMER_PLAN, "result": result, "state": "done" if done else "swapping"})
    found = _state.parse(json.dumps(written), "/x")
    kept = replace(STATE, state="done" if done else "swapping", recovery=found.recovery, answer=found.answer)
    assert found == kept
    assert found.recovery == RecoveryPlan(
        major=14,
        segment_size=16,
        timeline=3,
        along=3,
        last_segments=["000000030000000000000005"],
        salvage_from="/d/pg_wal",
        primary_conninfo="host=p",
        archive="none",
        older_backups=["base_0"],
        settings={"work_mem": "1MB"},
        links={"postgresql.conf": "/etc/x"},
        icu="153.1",
        other_host_allowed=True,
        recorded={"limits": {"a": "1"}},
    )
    answer = found.answer
    assert (answer.kept_as, answer.timeline) == ("/d.before-r1", 4 if done else 3)
    assert (answer.state, answer.replayed_lsn) == (("done", "0/1") if done else ("swapping", None))
    assert _state.parse(_state.text(found), "/x") == found


def test_a_newer_format_is_named() -> None:
    with pytest.raises(WalgError, match=r"format 3.*run the play with that version"):
        _state.parse(json.dumps({**TOLD, "format": 3}), "/x")


def test_swap_begun() -> None:
    """What is finished or undone, never removed; and what waits, or lies beside and may be removed."""
    by_state = [(state, replace(STATE, state=state)) for state in STATES]
    assert [state for state, one in by_state if one.swap_begun] == ["swapping", "starting", "rolling back"]
    assert [state for state, one in by_state if one.waits] == ["paused", "shut down"]
    assert not [state for state, one in by_state if one.swap_begun and state in BESIDE]
    assert set(STATES) - set(BESIDE) == {"swapping", "starting", "done", "rolling back", "rolled back"}


def test_whose_it_is_and_what_it_made() -> None:
    assert STATE.is_of("r1", "/d")
    assert not STATE.is_of("r2", "/d")
    assert not STATE.is_of("r1", "/e")
    assert STATE.work_dirs() == ["/w.restore-r1", "/d.restore-r1"]
