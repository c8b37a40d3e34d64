# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL-G's backup list as two versions print it, and the rules on choosing from it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _times
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _backups
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._backups import Backup
from hypothesis import given
from hypothesis import strategies as st

DATA = Path(__file__).resolve().parents[3] / "data"
FULL, DELTA = "base_000000010000000000000002", "base_000000010000000000000004_D_000000010000000000000002"
SECOND = "base_000000020000000000000008"
ABOVE_DOUBLE = "18446744073709551557"  # a double would round it


def recorded(version: str) -> str:
    return (DATA / f"walg-{version}" / "backup-list-detail.json").read_text()


def backup(
    name: str = FULL, finish: str = "2026-01-02T00:00:00Z", identifier: str | None = "7", lsn: int = 200
) -> Backup:
    return Backup(name, "2026-01-01T00:00:00Z", finish, 100, lsn, identifier, 140023, "/d", "h", 10, 1, False)


def test_list_of_1_1_3() -> None:
    """As WAL-G printed it for a full backup, a delta on it, and a permanent one after a promotion."""
    full, delta, second = _backups.parse_list(recorded("1.1.3"))
    assert full == Backup(
        FULL,
        "2026-11-22T23:39:59.976722Z",
        "2026-11-22T23:40:01.386446Z",
        33554472,
        33554688,
        "7711144753083345219",
        140023,
        "/var/lib/postgresql/14/main",
        "db1",
        26524651,
        4822838,
        False,
        {"mapswipe_walg": {"instance": "main"}},
    )
    assert (full.timeline, full.pg_major, full.delta) == (1, 14, False)
    assert (delta.name, delta.timeline, delta.delta, delta.user_data) == (DELTA, 1, True, None)
    assert (second.name, second.timeline, second.permanent) == (SECOND, 2, True)


def test_list_of_3_0_8() -> None:
    """The same shape with storage_name; an identifier above 2^53, and one that WAL-G does not know."""
    full, delta, second = _backups.parse_list(recorded("3.0.8"))
    assert full.system_identifier is None
    assert delta.system_identifier == second.system_identifier == ABOVE_DOUBLE
    assert [one.pg_major for one in (full, delta, second)] == [16, 16, 16]
    assert _backups.identifiers([full, delta, second]) == [ABOVE_DOUBLE]


@pytest.mark.parametrize("text", ["", "\n", "[]", "[]\n", "null"])
def test_empty_storage(text: str) -> None:
    assert _backups.parse_list(text) == []


@pytest.mark.parametrize("text", ["No backups found", "[{", '[{"backup_name":"base_0000000100000000'])
def test_not_json(text: str) -> None:
    with pytest.raises(WalgError, match="not JSON") as caught:
        _backups.parse_list(text)
    assert caught.value.fields == {"stdout": text}


def test_only_the_name_is_needed() -> None:
    (found,) = _backups.parse_list(json.dumps([{"backup_name": FULL, "system_identifier": None, "new_key": 1}]))
    assert found == Backup(FULL, "", "", 0, 0, None, 0, "", "", 0, 0, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T04:05:06Z", datetime(2026, 1, 31, 4, 5, 6, tzinfo=UTC)),
        ("2026-01-31 04:05:06Z", datetime(2026, 1, 31, 4, 5, 6, tzinfo=UTC)),
        ("2026-01-31T04:05:06.5Z", datetime(2026, 1, 31, 4, 5, 6, 500000, tzinfo=UTC)),
        ("2026-01-31T04:05:06.123456789Z", datetime(2026, 1, 31, 4, 5, 6, 123457, tzinfo=UTC)),
        ("2026-01-31T04:05:06.9999999Z", datetime(2026, 1, 31, 4, 5, 7, tzinfo=UTC)),
        ("2026-01-31T04:05:06+05:30", datetime(2026, 1, 30, 22, 35, 6, tzinfo=UTC)),
        ("2026-01-31T23:05:06-01:00", datetime(2026, 2, 1, 0, 5, 6, tzinfo=UTC)),
        ("2026-01-31T04:05:06+00:00", datetime(2026, 1, 31, 4, 5, 6, tzinfo=UTC)),
    ],
)
def test_moment(text: str, expected: datetime) -> None:
    assert _times.moment(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "2026-01-31", "2026-01-31T04:05:06", "2026-01-31T04:05Z", "now", "1700000000", "2026-01-31T04:05:06 UTC"],
)
def test_a_time_without_a_zone_is_refused(text: str) -> None:
    with pytest.raises(WalgError, match="Not a time with a zone"):
        _times.moment(text)


@given(st.integers(0, 7 * 10**15), st.integers(-14 * 60, 14 * 60))
def test_moment_agrees_with_isoformat(microseconds: int, minutes: int) -> None:
    when = datetime(1990, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    stamped = when.astimezone(timezone(timedelta(minutes=minutes)))
    assert _times.moment(stamped.isoformat()) == stamped


def test_newest_first_goes_by_the_backups_end_in_time_not_in_text() -> None:
    early = backup("base_000000010000000000000009", "2026-01-02T01:00:00+02:00")
    middle = backup("base_000000010000000000000001", "2026-01-02T00:00:00Z")
    late = backup("base_000000010000000000000002", "2026-01-02T00:00:00.5Z")
    assert _backups.newest_first([early, late, middle]) == [late, middle, early]


def test_newest_first_breaks_ties_by_lsn() -> None:
    low, high = backup(lsn=300), backup(lsn=400)
    assert _backups.newest_first([low, high]) == [high, low]


def test_of_cluster() -> None:
    mine, foreign, unknown = backup(), backup(identifier="8"), backup(identifier=None)
    assert _backups.of_cluster([foreign, mine, unknown], "7") == [mine]


def test_chains() -> None:
    """Full backups with their deltas in the order of the list; one whose base is missing, and a ring, are chains too."""
    names = [
        FULL,
        DELTA,
        "base_000000010000000000000006_D_000000010000000000000004",
        SECOND,
        "base_000000010000000000000009_D_000000010000000000000007",
        "base_00000001000000000000000B_D_00000001000000000000000C",
        "base_00000001000000000000000C_D_00000001000000000000000B",
        "base_00000001000000000000000D_D_000000010000000000000009",
    ]
    listed = [backup(name) for name in names]
    expected = [names[:3], [names[3]], [names[4], names[7]]]
    found = [[one.name for one in members] for members in _backups.chains(listed)]
    assert found[:3] == expected
    assert sorted(found[3]) == names[5:7]
    assert len(found) == 4
    backwards = [[one.name for one in members] for members in _backups.chains(listed[::-1])]
    assert [members[0] for members in backwards if members[0] in (names[0], names[3], names[4])] == [
        names[4],
        names[3],
        names[0],
    ]
    assert [one.name for one in _backups.chain(listed[2], listed)] == [names[2], names[1], names[0]]
    assert [one.name for one in _backups.chain(listed[7], listed)] == [names[7], names[4]]


def test_foreign_backups_are_refused_and_named() -> None:
    with pytest.raises(WalgError) as caught:
        _backups.refuse_foreign([backup(), backup(identifier="9"), backup(identifier="8")], "7", "gs://b/p")
    assert caught.value.fields == {"found": ["8", "9"], "wanted": "7"}
    assert all(word in caught.value.msg for word in ("gs://b/p", "8, 9", "walg_storage"))


def test_own_and_nameless_backups_are_not_foreign() -> None:
    _backups.refuse_foreign([backup(), backup(identifier=None)], "7", "gs://b/p")


def test_result_keeps_the_identifier_exact_in_json() -> None:
    found = json.loads(json.dumps(_backups.as_dict(_backups.parse_list(recorded("3.0.8"))[1])))
    assert found["system_identifier"] == ABOVE_DOUBLE
    assert (found["name"], found["timeline"], found["delta"], found["permanent"]) == (DELTA, 1, True, False)


def test_what_the_lost_host_had_otherwise() -> None:
    told = {"limits": {"max_connections": "150", "max_wal_senders": "10"}, "libc": "glibc 2.31"}
    one = _backups.parse_list(
        json.dumps(
            [{"backup_name": "base_000000010000000000000002", "hostname": "db1", "user_data": {"mapswipe_walg": told}}]
        )
    )[0]
    was = _backups.host_of(one)
    assert was == {"hostname": "db1", **told}
    same = {"max_connections": "150", "max_wal_senders": "10"}
    assert _backups.differing(was, same, "glibc 2.31") == {}
    assert _backups.differing(was, {**same, "max_connections": "100"}, "glibc 2.36") == {
        "libc": {"then": "glibc 2.31", "now": "glibc 2.36"},
        "max_connections": {"then": "150", "now": "100"},
    }


@pytest.mark.parametrize("data", [None, "text", [], {}, {"mapswipe_walg": 1}, {"mapswipe_walg": {"limits": None}}])
def test_a_backup_that_tells_nothing_of_its_host(data: object) -> None:
    one = _backups.parse_list(json.dumps([{"backup_name": "base_000000010000000000000002", "user_data": data}]))[0]
    assert _backups.differing(_backups.host_of(one), {"max_connections": "100"}, "glibc 2.36") == {}
