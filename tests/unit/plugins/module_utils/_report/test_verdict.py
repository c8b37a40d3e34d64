# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict: what denies, what hides, and that unknown is never yes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._report import _verdict
from support import reported

NOW = reported.NOW


def changed(**places: Any) -> dict[str, Any]:
    """Facts that are well but for what is at these places (``a__b``: key b in a)."""
    facts = copy.deepcopy(reported.facts(10))
    for place, value in places.items():
        *outer, last = place.split("__")
        target = facts
        for name in outer:
            target = target[name]
        target[last] = value
    return facts


def test_all_is_well() -> None:
    verdict = _verdict.judge(reported.facts(10), NOW)
    assert (verdict.restorable, verdict.light, verdict.exit_code) == ("yes", "ok", 0)
    assert verdict.to == reported.ago(days=0.001)
    assert verdict.proved == reported.ago(days=10)
    assert [one.code for one in verdict.reasons] == ["proved"]


def test_to_what_a_restore_came_is_told() -> None:
    more = {"proved_to": reported.ago(days=10, minutes=5), "proved_target": "latest, from base_1"}
    verdict = _verdict.judge(changed(proved_by="restore", **more), NOW)
    assert verdict.proved_to == more["proved_to"]
    assert verdict.reasons[0].text == (
        "Last proved by a restore 10 d ago, to the commit of 2026-01-21 11:55:00 UTC (latest, from base_1)."
    )
    assert _verdict.of_dict(_verdict.as_dict(verdict)) == verdict
    assert _verdict.judge(changed(**more), NOW).proved_to is None  # a re-read reaches no commit


def test_one_is_singular() -> None:
    lost, given_up = reported.segment(3), reported.segment(4)
    failing = {"failing": True, "failed": {"segment": lost, "time": reported.ago(minutes=1)}}
    one = changed(
        health={
            **reported.health(**failing, waiting={"files": 1, "oldest": 60.0, "first": lost}),
            "lost": [lost],
            "dropped": [given_up],
        },
        verification=verified(sound=False, damaged=[DAMAGED]),
        retention={"last": {"locked": ["a"]}},
    )
    text = " ".join(reason.text for reason in _verdict.judge(one, NOW).reasons)
    for words in (
        "1 file waits, ",
        "1 segment is neither",
        "1 segment was given up",
        "1 stored object is damaged",
        "not let 1 object go",
    ):
        assert words in text
    assert "The only base backup can't be restored" in " ".join(
        reason.text for reason in _verdict.judge(changed(archive__backups=[{"name": "a"}]), NOW).reasons
    )


BROKEN = reported.archive(10)["backups"]
DAMAGED = {
    "object": "wal_005/x.lz4",
    "what": "does not decompress",
    "costs": "nothing after 4 a.m. can be restored",
    "remedy": "Take a full base backup.",
    "backups": [],
}


def verified(**last: Any) -> dict[str, Any]:
    known = reported.facts(1)["verification"]
    return {**known, "last": {**known["last"], **last}}


CASES: list[tuple[dict[str, Any], str, str, int]] = [
    ({"time": reported.ago(minutes=16)}, "facts_old", "unknown", 7),
    ({"time": reported.stamp(NOW.replace(hour=13))}, "facts_ahead", "unknown", 7),
    ({"time": "yesterday"}, "facts_old", "unknown", 7),
    ({"limits__check": None}, "facts_old", "unknown", 7),
    ({"unreachable": "timed out"}, "unreachable", "unknown", 7),
    ({"archive": None, "archive_problem": "403"}, "storage_unreadable", "unknown", 7),
    ({"archive": None, "archive_problem": "403", "health__failing": True}, "storage_unreadable", "no", 6),
    ({"archive": None}, "storage_unreadable", "unknown", 7),
    ({"archive_time": reported.ago(minutes=16)}, "archive_old", "unknown", 7),
    ({"archive__backups": []}, "no_backup", "no", 6),
    ({"archive__backups": [{**one, "restorable": False} for one in BROKEN]}, "no_backup", "no", 6),
    ({"archive__backups": [{**one, "foreign": True} for one in BROKEN]}, "no_backup", "no", 6),
    ({"archive__trunk": {"timeline": None, "candidates": [1, 2], "reason": "rivals"}}, "trunk_unknown", "unknown", 7),
    ({"archive__windows": []}, "no_backup", "no", 6),
    ({"health__lost": ["000000010000000000000009"]}, "lost", "no", 6),
    ({"health__dropped": ["000000010000000000000009"]}, "dropped", "no", 6),
    ({"health__failing": True}, "archiver_failing", "yes", 5),
    ({"health__trouble": "archive_mode is off"}, "not_archiving", "yes", 5),
    ({"health__behind": 400.0}, "archive_behind", "yes", 5),
    ({"health__behind": None}, "archive_pace_unknown", "yes", 5),
    ({"health__behind": 3600.0, "health__promise": None}, "archive_behind", "yes", 5),
    ({"health__server": "down", "health__problem": "refused"}, "server_down", "yes", 5),
    ({"limits__backup_age": 3600}, "backup_old", "yes", 5),
    (
        {"verification": verified(damaged=[DAMAGED], sound=False, chain={"left": [{"missing": None}]})},
        "damage",
        "yes",
        5,
    ),
    ({"verification": verified(damaged=[DAMAGED], sound=False, chain={"left": []})}, "damage", "no", 6),
    (
        {
            "verification": verified(damaged=[DAMAGED], sound=False, chain={"left": []}),
            "archive__backups": [
                *BROKEN,
                {**BROKEN[-1], "name": "base_new", "delta": False, "start_time": reported.ago(minutes=5)},
            ],
        },
        "damage",
        "yes",
        5,
    ),
    ({"verification": verified(sound=None, text="unknown: 403")}, "verification_unknown", "yes", 5),
    ({"owner_trouble": "it is the archive of db2"}, "owner_foreign", "no", 6),
    ({"runs__state": {"code": 8, "ended": reported.ago(minutes=5), "text": "full"}}, "state_unwritable", "yes", 5),
    ({"verification": verified(reread={"behind": 3 * 86400.0})}, "verification_behind", "yes", 5),
    ({"runs__check__ended": reported.ago(days=-1)}, "job_silent", "yes", 5),
    ({"notes__backups": {BROKEN[-1]["name"]: {"corrupt_blocks": {"base/5/1": 2}}}}, "corrupt_pages", "yes", 5),
    ({"notes": {"problem": "403"}}, "notes_unreadable", "yes", 5),
    ({"archive__owner_problem": "damaged"}, "owner_unreadable", "yes", 5),
    ({"archive__foreign": ["7"]}, "foreign", "yes", 5),
    ({"runs__backup__code": 1}, "backup_failed", "yes", 5),
    ({"runs__expire__code": 3}, "retention_refused", "yes", 5),
    ({"runs__check__code": 8}, "hook_failing", "yes", 5),
    ({"runs__check__ended": reported.ago(hours=2)}, "job_silent", "yes", 5),
    ({"runs__run": {"code": 0, "ended": reported.ago(days=3)}}, "job_silent", "yes", 5),
    ({"runs": {}, "history": []}, "job_never", "yes", 5),
]


@pytest.mark.parametrize(("places", "code", "restorable", "exit_code"), CASES)
def test_what_is_wrong_is_told_with_what_to_do(
    places: dict[str, Any], code: str, restorable: str, exit_code: int
) -> None:
    verdict = _verdict.judge(changed(**places), NOW)
    told = {one.code: one for one in verdict.reasons}
    assert code in told
    assert told[code].text
    assert told[code].remedy or code == "facts_old"
    assert (verdict.restorable, verdict.exit_code) == (restorable, exit_code)
    assert verdict.light != "ok"


def test_a_gap_after_the_newest_backup_denies_and_one_before_it_is_told() -> None:
    facts = reported.facts(10, hole=True)
    verdict = _verdict.judge(facts, NOW)
    assert (verdict.restorable, verdict.exit_code) == ("yes", 0)
    assert "old_gap" in [one.code for one in verdict.reasons]
    facts["archive"]["windows"].pop()
    verdict = _verdict.judge(facts, NOW)
    assert (verdict.restorable, verdict.exit_code) == ("no", 6)
    assert verdict.reasons[0].code == "gap"


@pytest.mark.parametrize(
    ("room", "level"),
    [((23.0, 9e9), "warning"), ((3.0, 9e9), "critical"), ((None, 9e8), "critical"), ((25.0, 9e9), "")],
)
def test_the_room_of_pg_wal(room: tuple[float | None, float], level: str) -> None:
    wal = {"bytes": 1e9, "free": room[1], "rate": 1.0, "hours_left": room[0]}
    facts = changed(health__wal=wal, health__waiting={"files": 3, "oldest": 20.0, "first": "x"})
    assert [one.level for one in _verdict.judge(facts, NOW).reasons if one.code == "wal_room"] == (
        [level] if level else []
    )
    facts["health"]["waiting"]["files"] = 0
    assert "wal_room" not in [one.code for one in _verdict.judge(facts, NOW).reasons]


def test_only_a_restore_or_a_whole_re_read_proves() -> None:
    verdict = _verdict.judge(changed(proved_by="archive check"), NOW)
    assert verdict.proved is None
    assert [one.code for one in verdict.reasons] == ["never_proved"]


def test_a_verdict_comes_back_from_what_a_host_says() -> None:
    verdict = _verdict.judge(changed(health__failing=True), NOW)
    back = _verdict.of_dict(_verdict.as_dict(verdict))
    assert _verdict.as_dict(back)["reasons"][0]["code"] == "archiver_failing"
    assert (back.restorable, back.to, back.exit_code) == (verdict.restorable, verdict.to, verdict.exit_code)


def test_nothing_at_all_and_nonsense_are_unknown() -> None:
    assert _verdict.judge({}, NOW).restorable == "unknown"
    nonsense: dict[str, Any] = dict.fromkeys(reported.facts(1), 7)
    assert _verdict.judge(nonsense, NOW).restorable == "unknown"
    assert _verdict.of_dict({}).light == "unknown"
    assert _verdict.of_dict({"restorable": "yes", "exit_code": 7, "reasons": [{"level": "green"}]}).light != "ok"


def test_corrupt_pages_of_an_old_base_backup_are_no_alarm() -> None:
    """The newest one that counts has none."""
    verdict = _verdict.judge(changed(notes={"backups": {BROKEN[0]["name"]: {"corrupt_blocks": {"base/5/1": 2}}}}), NOW)
    (found,) = [one for one in verdict.reasons if one.code == "corrupt_pages"]
    assert (found.level, verdict.exit_code) == ("info", 0)
    assert found.text.startswith("1 base backup holds pages")
