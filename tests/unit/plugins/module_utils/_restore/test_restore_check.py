# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Never silently less: what recovery reached against what was asked."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _verdict
from support.restores import recovery_plan
from support.walg_world import IDENTIFIER, SIZE, segment

GOOD: dict[str, Any] = {
    "system_identifier": IDENTIFIER,
    "timeline": 2,
    "replayed_lsn": "0/5000148",
    "last_commit": "2026-01-01 00:00:00+00",
}
TWO = {"last_segments": [segment(1, 4), segment(2, 9)]}
SALVAGED = {"salvaged_segments": [segment(1, 6), segment(1, 7)]}
LESS = "did not replay all WAL"
TABLE: list[tuple[str, dict[str, Any], dict[str, Any], str | None]] = [
    ("all replayed", {}, {}, None),
    ("replayed beyond what was listed", {"replayed_lsn": "0/9000000"}, {}, None),
    ("the first record of the last segment", {"replayed_lsn": "0/5000001"}, {}, None),
    ("only up to the last segment", {"replayed_lsn": "0/5000000"}, {}, LESS),
    ("stopped in the segment before", {"replayed_lsn": "0/4FFFFFF"}, {}, LESS),
    ("a number, not a text, decides", {"replayed_lsn": "0/10000000"}, {}, None),
    ("nothing was replayed", {"replayed_lsn": None}, {}, LESS),
    ("another cluster", {"system_identifier": "7"}, {}, "has system identifier 7"),
    ("no new timeline", {"timeline": 1}, {}, "is not above 1"),
    ("nothing was listed", {"replayed_lsn": None}, {"last_segments": []}, None),
    ("the last of several timelines counts", {}, TWO, LESS),
    ("all but the last salvaged segment is full", {"replayed_lsn": "0/6000000"}, SALVAGED, LESS),
    ("replay came into the salvaged WAL", {"replayed_lsn": "0/6000001"}, SALVAGED, None),
]


@pytest.mark.parametrize(("proof", "plan", "text"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_latest_state(proof: dict[str, Any], plan: dict[str, Any], text: str | None) -> None:
    arguments = (recovery_plan(**plan), IDENTIFIER, Target(), "promoted", {**GOOD, **proof}, [])
    if text is None:
        _verdict.refuse_less(*arguments)
        return
    with pytest.raises(WalgError, match=text):
        _verdict.refuse_less(*arguments)


def test_older_base_backups_are_named_where_they_may_hold_it() -> None:
    plan = recovery_plan(older_backups=["base_7", "base_5", "base_3"])
    text = _verdict.older_backups(plan, "base_9", Target("name", "early"))
    assert text.endswith("\n  walg_restore_backup: base_7\nThen there are base_5, base_3.")
    assert _verdict.older_backups(plan, "base_9", Target("time", "2026-01-01T00:00:00Z")) == ""
    assert _verdict.older_backups(recovery_plan(older_backups=[]), "base_9", Target("xid", "7")) == ""


@pytest.mark.parametrize("state", ["promoted", "paused", "shut down"])
@pytest.mark.parametrize("stopped", [True, False])
def test_a_target_is_proved_by_the_log_alone(state: str, stopped: bool) -> None:
    """Promoted at the end of the archive, the server looks as if all were well."""
    log = ["LOG:  redo starts at 0/3000028"]
    log += ['LOG:  recovery stopping after WAL location (LSN) "0/5000000"'] if stopped else []
    proof = {} if state == "shut down" else GOOD
    arguments = (recovery_plan(), IDENTIFIER, Target("lsn", "0/5000000"), state, proof, log)
    if stopped:
        _verdict.refuse_less(*arguments)
        return
    with pytest.raises(WalgError, match="The target lsn 0/5000000 was not reached"):
        _verdict.refuse_less(*arguments)


def test_a_server_that_did_not_promote_may_be_on_the_old_timeline() -> None:
    proof = {**GOOD, "timeline": 1}
    _verdict.refuse_less(recovery_plan(), IDENTIFIER, Target(), "following", proof, [])


@pytest.mark.parametrize(
    ("salvaged", "listed", "expected"),
    [
        ([], [], None),
        ([], [segment(1, 5)], (5 * SIZE, segment(1, 5))),
        ([segment(1, 6)], [segment(1, 5)], (5 * SIZE, segment(1, 5))),  # the only one may be empty
        ([segment(1, 6), segment(1, 7)], [segment(1, 5)], (6 * SIZE, segment(1, 6))),
    ],
)
def test_must_reach(salvaged: list[str], listed: list[str], expected: tuple[int, str] | None) -> None:
    assert _verdict.must_reach(recovery_plan(last_segments=listed, salvaged_segments=salvaged)) == expected


@pytest.mark.parametrize(
    ("there", "here", "allowed", "good"),
    [
        ("153.120", "153.120", False, True),
        ("153.14", "153.120", False, False),
        ("153.14", "153.120", True, True),
        ("", "153.120", False, True),
        ("153.14", "", False, True),
    ],
)
def test_another_icu(there: str, here: str, allowed: bool, good: bool) -> None:
    plan = recovery_plan(icu=there, other_host_allowed=allowed)
    if good:
        _verdict.refuse_other_icu(plan, {"icu": here})
        return
    with pytest.raises(WalgError, match=rf"sorted by ICU {there}, the server here by {here}"):
        _verdict.refuse_other_icu(plan, {"icu": here})


class Somewhere:
    """A server beside, by what it says of itself."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def where(self) -> dict[str, Any]:
        return self.found


def test_watch() -> None:
    """Nothing is estimated before replay is seen, nor before it moves."""
    server: Any = Somewhere()
    watch = _verdict.Watch(server, recovery_plan(last_segments=[segment(1, 10)]))
    assert watch.details() == {}
    server.found = {"replaying": segment(1, 2)}
    assert watch.details() == {"replaying": segment(1, 2), "segments_left_at_most": 8, "segments_per_second": 0.0}
    watch.started -= 100
    server.found = {"replayed_lsn": "0/6000148"}
    found = watch.details()
    assert found["segments_left_at_most"] == 4
    assert found["seconds_left_at_most"] == pytest.approx(100, abs=5)
    server.found = {"replaying": segment(1, 12)}
    assert watch.details()["segments_left_at_most"] == 0
