# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is marked, and until when: never less than what is permanent already needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._notes import BackupNote, Notes
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _mark
from ansible_collections.mapswipe.walg.plugins.module_utils._backup._mark import Wanted
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._backups import Backup
from support.simulated_archive import Archive

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON, LATE = "2026-02-01T00:00:00Z", "2027-01-01T00:00:00Z"


def chain(*permanent: bool) -> list[Backup]:
    """A full base backup and a delta on it."""
    archive = Archive()
    for delta in (False, True):
        archive.take(delta=delta, segments=0, corrupt=False, permanent=False)
    return [replace(one.backup, permanent=mark) for one, mark in zip(archive.taken.values(), permanent, strict=True)]


def ends(notes: Notes, listed: list[Backup]) -> list[str | None]:
    return [notes.backups[one.name].keep_until if one.name in notes.backups else None for one in listed]


def test_a_delta_takes_its_base_along() -> None:
    base, delta = listed = chain(False, False)
    made = _mark.plan(Wanted(delta.name, until=SOON), listed, Notes(), "s")
    assert made.marks == {delta.name: True}
    assert ends(made.notes, listed) == [SOON, SOON]
    assert set(made.changed) == {base.name, delta.name}


@pytest.mark.parametrize(
    ("had", "asked", "then"), [(None, SOON, None), (LATE, SOON, LATE), (SOON, LATE, LATE), (SOON, "", None)]
)
def test_a_base_is_never_permanent_for_shorter(had: str | None, asked: str, then: str | None) -> None:
    base, delta = listed = chain(True, False)
    notes = Notes({base.name: BackupNote(had)} if had else {})
    made = _mark.plan(Wanted(delta.name, until=asked), listed, notes, "s")
    assert ends(made.notes, listed) == [then, asked or None]


def test_the_end_of_a_mark_can_be_changed_and_corrupt_blocks_stay_noted() -> None:
    base, _delta = listed = chain(True, False)
    notes = Notes({base.name: BackupNote(LATE, {"a": 1})})
    made = _mark.plan(Wanted(base.name, until=SOON), listed, notes, "s")
    assert (made.marks, made.changed) == ({}, [base.name])
    assert made.notes.backups[base.name] == BackupNote(SOON, {"a": 1})
    assert _mark.plan(Wanted(base.name, until=LATE), listed, notes, "s").changed == []


def test_unmarking() -> None:
    base, delta = listed = chain(True, True)
    with pytest.raises(WalgError, match="is permanent and is based on it"):
        _mark.plan(Wanted(base.name, permanent=False), listed, Notes(), "s")
    made = _mark.plan(Wanted(delta.name, permanent=False), listed, Notes({delta.name: BackupNote(SOON)}), "s")
    assert (made.marks, made.notes.backups) == ({delta.name: False}, {})
    ordinary = chain(False, False)
    assert _mark.plan(Wanted(ordinary[1].name, permanent=False), ordinary, Notes(), "s").changed == []


def test_what_can_not_be_meant() -> None:
    for wanted, text in (
        (Wanted("b", until="tomorrow"), "zone"),
        (Wanted("b", until="2025-01-01T00:00:00Z"), "past"),
        (Wanted("b", permanent=False, until=SOON), "ordinary"),
    ):
        with pytest.raises(WalgError, match=text):
            wanted.check(NOW)
    with pytest.raises(WalgError, match="There is no base backup 'b'"):
        _mark.plan(Wanted("b"), chain(False, False), Notes(), "s")
