# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same over several timelines: ancestors lead there, orphans do not, and a segment is read from whoever has its end."""

from __future__ import annotations

import json

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _choose_backup, _wal_path
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._wal_path import Leg
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _backups
from support.walg_world import SIZE, inventory, listed, segment, shown

SWITCH = 5 * SIZE + 0x8000


def situation() -> _choose_backup.ArchiveView:
    """Timeline 1 was left in segment 5 by 2, where a base backup is in 7; an old drill, 3, left it in segment 3."""
    rows = [
        listed(1, 2, "2026-01-02T00:00:00Z"),
        listed(3, 4, "2026-01-04T00:00:00Z"),
        listed(1, 6, "2026-01-06T00:00:00Z"),  # by the old primary, after it had been left
        listed(2, 7, "2026-01-07T00:00:00Z"),
    ]
    mine = sorted(_backups.parse_list(json.dumps(rows)), key=lambda one: -one.start_lsn)
    archive = inventory(
        shown(1, 1, 6),
        shown(2, 5, 9, parent=1, switch=SWITCH),
        shown(3, 3, 4, parent=1, switch=3 * SIZE + 0x8000),
    )
    return _choose_backup.ArchiveView("file:///s", mine, archive)


def lsn(number: int, offset: int = 0x1000) -> Target:
    return Target("lsn", f"0/{number * SIZE + offset:X}")


def name(timeline: int, number: int) -> str:
    return f"base_{segment(timeline, number)}"


@pytest.mark.parametrize(
    ("target", "timeline", "backup"),
    [
        (Target(), 2, name(2, 7)),
        (lsn(6), 2, name(1, 2)),  # neither the drill's nor that of the old primary
        (Target("time", "2026-01-06T12:00:00Z"), 2, name(1, 2)),
        (Target(), 1, name(1, 6)),
        (Target(), 3, name(3, 4)),
        (lsn(3), 3, name(1, 2)),
    ],
)
def test_a_base_backup_leads_along_its_descendants(target: Target, timeline: int, backup: str) -> None:
    found = _choose_backup.pick(situation(), target, timeline)
    assert (found.backup.name, found.timeline) == (backup, timeline)


def test_those_that_do_not_lead_there_are_named_as_passed_over() -> None:
    assert _choose_backup.pick(situation(), Target(), 3).skipped == [name(2, 7), name(1, 6)]
    assert _choose_backup.pick(situation(), lsn(6), 2).skipped == [name(1, 6), name(3, 4)]


START = 2 * SIZE + 40


@pytest.mark.parametrize(
    ("target", "needed"),
    [
        (lsn(4), [Leg(1, START, 5 * SIZE)]),
        # The segment of the switch has both: timeline 2's copy is read, before and after the switch.
        (lsn(5, 0x7000), [Leg(1, START, SWITCH), Leg(2, SWITCH, 6 * SIZE)]),
        (lsn(5, 0x9000), [Leg(1, START, SWITCH), Leg(2, SWITCH, 6 * SIZE)]),
        (lsn(6), [Leg(1, START, SWITCH), Leg(2, SWITCH, 7 * SIZE)]),
        (Target("immediate"), [Leg(1, START, 3 * SIZE)]),
        (Target("xid", "740"), [Leg(1, START, SWITCH), Leg(2, SWITCH, None)]),
    ],
)
def test_what_is_needed_up_to_the_target(target: Target, needed: list[Leg]) -> None:
    found = _choose_backup.pick(situation(), target, 2, name(1, 2))
    assert found.needed == needed
    assert found.legs == [Leg(1, START, SWITCH), Leg(2, SWITCH, None)]


def test_the_old_timelines_copy_of_the_switch_segment_may_be_missing() -> None:
    """It was never full, and so never archived."""
    given = situation()
    archive = inventory(shown(1, 1, 4), shown(2, 5, 9, parent=1, switch=SWITCH))
    mine = [one for one in given.mine if one.name in (name(1, 2), name(2, 7))]
    found = _choose_backup.pick(_choose_backup.ArchiveView("file:///s", mine, archive), lsn(6), 2)
    assert found.backup.name == name(1, 2)
    assert _wal_path.gaps(found.needed, archive) == []


@pytest.mark.parametrize(
    ("timeline", "backup", "text"),
    [
        (2, name(3, 4), rf"timeline 3.* does not lead to timeline 2\. Those that do: {name(2, 7)}, {name(1, 2)}"),
        (2, name(1, 6), rf"does not lead to timeline 2\. Those that do: {name(2, 7)}, {name(1, 2)}"),
        (9, "", r"leads to timeline 9\. The archive holds WAL of the timelines 1, 2, 3"),
    ],
)
def test_what_does_not_lead_there(timeline: int, backup: str, text: str) -> None:
    with pytest.raises(WalgError, match=text):
        _choose_backup.pick(situation(), Target(), timeline, backup)
