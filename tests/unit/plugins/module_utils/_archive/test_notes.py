# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The notes in the storage: what is damaged in them is passed over, and never makes a deletion larger."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _notes
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._notes import BackupNote, Gap, Notes
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from hypothesis import given
from hypothesis import strategies as st

SEGMENT = "000000010000000000000003"
GAP = Gap(1, SEGMENT, SEGMENT, "pg_wal was full", "2026-01-01T00:00:00Z")


def test_there_and_back() -> None:
    notes = Notes({"base_1": BackupNote("2027-01-01T00:00:00Z", {"base/1/2": 3}), "base_2": BackupNote()}, (GAP,))
    assert _notes.parse(_notes.render(notes)) == notes
    assert notes.with_backup("base_1", BackupNote()).backups == {"base_2": BackupNote()}


def told(**changes: Any) -> str:
    entry = {"keep_until": "2027-01-01T00:00:00Z", "corrupt_blocks": {"a": 1}}
    return json.dumps({"format": 1, "backups": {"b": {**entry, **changes}}, "gaps": [vars(GAP)]})


@pytest.mark.parametrize("when", [None, "", "soon", 7, "2026-01-01T00:00:00", ["2026"], "9999-99-99T00:00:00Z"])
def test_an_end_that_can_not_be_read_is_none(when: Any) -> None:
    assert _notes.parse(told(keep_until=when)).backups["b"].keep_until is None


@pytest.mark.parametrize("blocks", [None, 3, ["a"], {"a": True}, {"a": -1}, {"a": "1"}, {"a": 0}])
def test_counts_that_are_none(blocks: Any) -> None:
    assert _notes.parse(told(corrupt_blocks=blocks)).backups["b"].corrupt_blocks == {}


@pytest.mark.parametrize(
    "change",
    [
        {"timeline": 0},
        {"timeline": True},
        {"timeline": "1"},
        {"first": "x"},
        {"last": 3},
        {"time": "then"},
        {"reason": "a\nb"},
    ],
)
def test_a_gap_that_is_none(change: dict[str, Any]) -> None:
    text = json.dumps({"format": 1, "gaps": [{**vars(GAP), **change}, vars(GAP)]})
    assert _notes.parse(text).gaps == (GAP,)


@pytest.mark.parametrize("text", ["", "[]", "x", '{"format": 2}', "{}", "null", "NaN"])
def test_what_is_no_notes_is_an_error(text: str) -> None:
    with pytest.raises(WalgError, match="can't be read"):
        _notes.parse(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda some: (
            st.lists(some)
            | st.dictionaries(st.sampled_from(["backups", "gaps", "b", "keep_until", "corrupt_blocks", "first"]), some)
        ),
        max_leaves=20,
    )
)
def test_whatever_it_holds(value: Any) -> None:
    found = _notes.parse(json.dumps({"format": 1, "backups": value, "gaps": value}))
    assert _notes.parse(_notes.render(found)) == found
