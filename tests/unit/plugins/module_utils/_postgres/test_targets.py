# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery targets: as asked, as PostgreSQL is told, as its log proves them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _targets
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "target", "settings"),
    [
        ({}, Target(), {}),
        ({"target": "immediate"}, Target("immediate"), {"recovery_target": "immediate"}),
        (
            {"target_time": "2026-01-31T12:00:00+02:00"},
            Target("time", "2026-01-31T10:00:00.000000Z"),
            {"recovery_target_time": "2026-01-31 10:00:00.000000+00", "recovery_target_inclusive": "on"},
        ),
        (
            {"target_lsn": "0/05000000", "target_inclusive": False},
            Target("lsn", "0/5000000", inclusive=False),
            {"recovery_target_lsn": "0/5000000", "recovery_target_inclusive": "off"},
        ),
        (
            {"target_xid": str(2**32 + 740)},
            Target("xid", "740"),
            {"recovery_target_xid": "740", "recovery_target_inclusive": "on"},
        ),
        ({"target_name": "before it"}, Target("name", "before it"), {"recovery_target_name": "before it"}),
    ],
)
def test_targets(given: dict[str, Any], target: Target, settings: dict[str, str]) -> None:
    assert _targets.from_options(given, NOW) == target
    assert target.settings() == settings
    assert Target(**target.as_dict()) == target


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"target": "soon"}, "Unknown target"),
        ({"target_lsn": "0/1", "target_xid": "7"}, "Several recovery targets"),
        ({"target": "immediate", "target_name": "x"}, "Several recovery targets"),
        ({"target_time": "2026-01-31T12:00:00"}, "Not a time"),
        ({"target_time": "2026-02-01T00:00:01Z"}, "in the future"),
        ({"target_lsn": "5000000"}, "LSN"),
        ({"target_xid": "2"}, "Not a transaction id"),
        ({"target_xid": "-7"}, "Not a transaction id"),
        ({"target_name": "x" * 64}, "Not the name of a restore point"),
        ({"target_name": "a\nb"}, "Not the name of a restore point"),
    ],
)
def test_what_is_no_target(given: dict[str, Any], text: str) -> None:
    with pytest.raises(WalgError, match=text):
        _targets.from_options(given, NOW)


@pytest.mark.parametrize(
    ("line", "proves"),
    [
        ("LOG:  recovery stopping after commit of transaction 740, time 2026-01-31 10:00:00+00", True),
        ("LOG:  recovery stopping before abort of transaction 740, time 2026-01-31 10:00:00+00", True),
        ('LOG:  recovery stopping before WAL location (LSN) "0/5000000"', True),
        ('LOG:  recovery stopping at restore point "x", time 2026-01-31 10:00:00+00', True),
        ("LOG:  recovery stopping after reaching consistency", True),
        ("FATAL:  recovery ended before configured recovery target was reached", False),
        ("LOG:  redo done at 0/5000148", False),
    ],
)
def test_proof(line: str, proves: bool) -> None:
    log = ["LOG:  starting", line, "LOG:  selected new timeline ID: 2"]
    assert _targets.proof(log, Target("xid", "740")) == (line if proves else "")
    assert _targets.proof(log, Target()) == ""
    assert _targets.ended_early(log) is ("ended before" in line)


def test_actions() -> None:
    _targets.check_action("pause", Target("xid", "740"), standby=False)
    for action, target, standby in [
        ("wait", Target("immediate"), False),
        ("pause", Target(), False),
        ("pause", Target(), True),
        ("promote", Target("immediate"), True),
    ]:
        with pytest.raises(WalgError, match="action"):
            _targets.check_action(action, target, standby)


@pytest.mark.parametrize(
    ("before", "after", "goes"),
    [
        (Target("lsn", "0/5000000"), Target("lsn", "0/5000000"), True),
        (Target("lsn", "0/A000000"), Target("lsn", "0/9000000"), False),
        (Target("lsn", "0/9000000"), Target("lsn", "0/A000000"), True),
        (Target("lsn", "0/5000000", inclusive=False), Target("lsn", "0/5000000"), True),
        (Target("lsn", "0/5000000"), Target("lsn", "0/5000000", inclusive=False), False),
        (Target("time", "2026-01-31T10:00:00Z"), Target("time", "2026-01-31T11:00:00+02:00"), False),
        (Target("time", "2026-01-31T10:00:00Z"), Target("time", "2026-01-31T10:00:01Z"), True),
        (Target("xid", "740"), Target("xid", "740", inclusive=False), False),
        (Target("xid", "740"), Target("xid", "739"), True),  # numbers are no order of commits
        (Target("immediate"), Target("immediate"), True),
        (Target("immediate"), Target("lsn", "0/5000000"), True),
        (Target("lsn", "0/5000000"), Target("immediate"), False),
        (Target("lsn", "0/5000000"), Target("name", "x"), True),
        (Target("name", "x"), Target(), True),
    ],
)
def test_recovery_goes_on_and_not_back(before: Target, after: Target, goes: bool) -> None:
    assert _targets.forward(before, after) is goes
