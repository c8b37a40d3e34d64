# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan in lines: names, bytes and what stays, and never more lines than somebody reads."""

from __future__ import annotations

from typing import Any

from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _retention_told


def plan(many: int, missing: str | None = None) -> dict[str, Any]:
    window = {"timeline": 1, "first_time": "2026-01-01T00:00:00Z", "backups": 2, "missing": missing}
    gone = [{"name": f"base_{number}", "bytes": 10, "reason": "no rule keeps it"} for number in range(many)]
    ranges = [{"timeline": 1, "first": "a", "last": "b", "segments": 7}]
    return {"delete": gone, "leftovers": [], "wal": {"ranges": ranges}, "windows_after": [window]}


def test_what_goes_and_what_stays() -> None:
    told = _retention_told.lines(plan(1), "would delete 1 base backup", shown_only=True)
    assert told[:4] == [
        "Retention would delete 1 base backup",
        "goes: base backup base_0, 10 bytes: no rule keeps it",
        "goes: WAL a to b (7)",
        "stays: timeline 1, 2026-01-01T00:00:00Z to the present, base backups: 2",
    ]
    assert "Nothing is deleted yet" in told[4]
    assert len(_retention_told.lines(plan(1), "", shown_only=False)) == 4
    assert "to the gap at 7" in _retention_told.lines(plan(0, "7"), "", shown_only=False)[-1]


def test_many_are_shortened_and_a_standby_has_no_plan() -> None:
    told = _retention_told.lines(plan(400), "", shown_only=False)
    assert (len(told), told[21]) == (24, "and 380 more")
    assert _retention_told.lines(None, "a standby", shown_only=False) == ["a standby"]
