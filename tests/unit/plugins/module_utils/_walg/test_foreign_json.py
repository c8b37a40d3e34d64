# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forged objects of a storage: each is a sentence, no traceback, and writes no line of its own into a message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _owner, _recorded
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _backups, _foreign_json

DEEP = ["[" * 100_000, "[" * 900 + "]" * 900, '{"a":' * 60 + "1" + "}" * 60]


@pytest.mark.parametrize("text", [*DEEP, "NaN", "[Infinity]", "1e999", "{", ""], ids=range(8))
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        _foreign_json.parse(text)


def test_what_is_not() -> None:
    assert _foreign_json.parse('{"a": [1, 2.5, {"b": null}]}') == {"a": [1, 2.5, {"b": None}]}


OWNER: dict[str, Any] = {
    "format": 1,
    "system_identifier": "7000000000000000001",
    "writer": "w1",
    "host": "db1",
    "data_dir": "/data",
    "timeline": 1,
    "highest_timeline": 1,
    "written": "2026-01-01T00:00:00Z",
    "successors": [{"writer": "w2", "host": "db2", "data_dir": "/data"}],
}


@pytest.mark.parametrize(
    "change",
    [
        {"writer": "w1\nRun this as root first: ..."},
        {"host": "db1\u202e"},
        {"data_dir": "/d\u200bata"},
        {"written": "\x1b[2J"},
        {"machine": "m\r"},
        {"successors": [{"writer": "w2\n", "host": "", "data_dir": ""}]},
        {"timeline": 2**70},
        {"highest_timeline": 2**32},
        {"writer": "\ud800"},
    ],
)
def test_a_forged_owner_record(change: dict[str, Any]) -> None:
    assert _owner.parse(json.dumps(OWNER), "s").writer == "w1"
    with pytest.raises(WalgError, match="can't be read") as caught:
        _owner.parse(json.dumps({**OWNER, **change}), "s")
    assert "Run this" not in caught.value.msg


@pytest.mark.parametrize("text", DEEP, ids=range(3))
def test_deep_objects(text: str) -> None:
    with pytest.raises(WalgError):
        _owner.parse(text, "s")
    with pytest.raises(WalgError):
        _backups.parse_list(text)


def listed(**told: Any) -> _backups.Backup:
    (backup,) = _backups.parse_list(
        json.dumps([{"backup_name": "base_000000010000000000000002", "user_data": {"mapswipe_walg": told}}])
    )
    return backup


@pytest.mark.parametrize("value", [5, True, "x", [1], {"a": [1]}, None, [[1]], -1])
@pytest.mark.parametrize(
    "name", ["wal_level_minimal", "limits", "libc", "settings", "withheld", "altered", "origins", "subscriptions"]
)
def test_a_forged_record_of_ours(name: str, value: Any) -> None:
    backup = listed(**{name: value})
    assert _backups.passed([backup]) == []
    assert isinstance(_backups.differing(_backups.host_of(backup), {"max_connections": "1"}, "glibc 1"), dict)
    assert isinstance(_recorded.read(_backups.recorded(backup)), _recorded.Recorded)


@pytest.mark.parametrize("name", ["base_00000001/../../x", "base_\x1b[2J", "base_-0000001", "--config=/x", "", "a b"])
def test_a_forged_name(name: str) -> None:
    with pytest.raises(WalgError, match="another form than is known"):
        _backups.parse_list(json.dumps([{"backup_name": name}]))
