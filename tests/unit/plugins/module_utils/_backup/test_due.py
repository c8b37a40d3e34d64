# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import calendar
import time
from collections.abc import Iterator

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _due
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _times
from ansible_collections.mapswipe.walg.plugins.module_utils._host._history import Run
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import BackupRule, JobSpec, Verification

NOW = float(calendar.timegm((2026, 6, 10, 12, 0, 30)))  # a Wednesday
HOUR = 3600


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def ran(verb: str, ago: float, code: int = 0, changed: bool = True) -> Run:
    return Run(verb, _times.of_seconds(NOW - ago), _times.of_seconds(NOW - ago + 1), 1.0, code, changed, "")


def at(seconds: float) -> str:
    return time.strftime("%a %d %H:%M", time.gmtime(seconds))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (BackupRule(), ("Wed 10 02:00", "Tue 09 02:00")),
        (BackupRule(minute="59", hour="11"), ("Wed 10 11:59", "Tue 09 11:59")),
        (BackupRule(minute="1", hour="12"), ("Tue 09 12:01", "Mon 08 12:01")),
        (BackupRule(minute="0", hour="12"), ("Wed 10 12:00", "Tue 09 12:00")),
        (BackupRule(minute="*/15", hour="*"), ("Wed 10 12:00", "Wed 10 11:45")),
        (BackupRule(hour="2,14"), ("Wed 10 02:00", "Tue 09 14:00")),
        (BackupRule(hour="1-3/2"), ("Wed 10 03:00", "Wed 10 01:00")),
        (BackupRule(weekday="sun"), ("Sun 07 02:00", "Sun 31 02:00")),
        (BackupRule(weekday="7"), ("Sun 07 02:00", "Sun 31 02:00")),
        (BackupRule(weekday="1-5"), ("Wed 10 02:00", "Tue 09 02:00")),
        (BackupRule(weekday="Thu"), ("Thu 04 02:00", "Thu 28 02:00")),
    ],
)
def test_the_last_two_times_of_a_schedule(rule: BackupRule, expected: tuple[str, str]) -> None:
    found = _due.scheduled(rule, NOW)
    assert found is not None
    assert tuple(map(at, found)) == expected


def test_a_schedule_is_local_time_also_where_the_clock_is_set_to_summer_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Zurich")
    time.tzset()
    after = float(calendar.timegm((2026, 3, 29, 12, 0, 0)))  # two o'clock did not exist on that day
    found = _due.scheduled(BackupRule(), after)
    assert found is not None
    assert time.strftime("%d %H:%M", time.localtime(found[0])) == "28 02:00"


def test_a_base_backup_is_due_once_for_each_time() -> None:
    rule = BackupRule()
    assert _due.backup_due(rule, [], [], NOW)[0] == "it was scheduled for 2026-06-10T02:00:00Z"
    assert _due.backup_due(rule, [ran("backup", 9 * HOUR)], [], NOW) == ("", None)
    assert _due.backup_due(rule, [ran("backup", 11 * HOUR)], [], NOW)[0]
    assert _due.backup_due(rule, [ran("backup", 9 * HOUR, changed=False)], [], NOW) == ("", None)


def test_after_a_week_of_downtime_it_is_caught_up_on() -> None:
    assert _due.backup_due(BackupRule(weekday="sun"), [ran("backup", 240 * HOUR)], [], NOW)[0]


def test_one_that_was_taken_by_hand_shortly_before_makes_it_needless() -> None:
    _reason, max_age = _due.backup_due(BackupRule(), [], [], NOW)
    assert max_age == pytest.approx(10 * HOUR + 30 + 12 * HOUR)


def test_after_a_failure_it_is_tried_again_a_while_later() -> None:
    failed = ran("backup", 600, code=1, changed=False)
    assert _due.backup_due(BackupRule(), [failed], ["gap"], NOW) == ("", None)
    failed = ran("backup", 2000, code=1, changed=False)
    assert _due.backup_due(BackupRule(), [failed], [], NOW)[0]


def test_a_gap_makes_one_due_at_once_with_the_reason() -> None:
    reason, max_age = _due.backup_due(BackupRule(), [ran("backup", HOUR)], ["gap", "slow"], NOW)
    assert "gap" in reason
    assert "slow" not in reason
    assert max_age is None


def test_damage_that_cuts_the_way_makes_one_due_and_rests_after_a_failure() -> None:
    done, failed = ran("backup", HOUR), ran("backup", 600, code=1, changed=False)
    assert _due.backup_due(BackupRule(), [done], [], NOW, damage="a part is damaged") == ("a part is damaged", None)
    assert _due.backup_due(BackupRule(), [failed], [], NOW, damage="a part is damaged") == ("", None)


def test_a_clock_that_was_set_back_holds_nothing_up() -> None:
    assert _due.backup_due(BackupRule(), [ran("backup", -900 * HOUR, code=1)], [], NOW)[0]
    assert _due.verify_due(JobSpec(), [ran("verify", -900 * HOUR)], NOW)
    assert _due.check_due(JobSpec(), [ran("check", -900 * HOUR)], NOW)


def test_a_base_backup_of_a_clock_that_was_ahead_holds_no_later_one_up() -> None:
    """Nor is retention due for ever after it, nor never after a retention of that time."""
    ahead, now = ran("backup", -900 * HOUR), ran("backup", HOUR)
    assert _due.backup_due(BackupRule(), [ahead], [], NOW)[0]
    assert _due.backup_due(BackupRule(), [ahead, now], [], NOW) == ("", None)
    assert not _due.expire_due([ahead, ran("expire", HOUR)], NOW)
    assert _due.expire_due([ran("expire", -900 * HOUR), now], NOW)


def test_retention_is_due_after_a_base_backup_that_was_taken() -> None:
    assert not _due.expire_due([], NOW)
    assert not _due.expire_due([ran("backup", HOUR, code=1)], NOW)
    assert not _due.expire_due([ran("backup", HOUR, changed=False)], NOW)
    assert _due.expire_due([ran("backup", HOUR)], NOW)
    assert _due.expire_due([ran("expire", 2 * HOUR), ran("backup", HOUR)], NOW)
    assert not _due.expire_due([ran("backup", HOUR), ran("expire", HOUR / 2)], NOW)
    assert not _due.expire_due([ran("backup", HOUR), ran("expire", 600, code=4)], NOW)
    assert _due.expire_due([ran("backup", HOUR), ran("expire", 2000, code=4)], NOW)


def test_a_slice_is_read_back_once_a_day() -> None:
    assert _due.verify_due(JobSpec(), [], NOW)
    assert not _due.verify_due(JobSpec(), [ran("verify", 20 * HOUR)], NOW)
    assert _due.verify_due(JobSpec(), [ran("verify", 24 * HOUR)], NOW)
    assert not _due.verify_due(JobSpec(verification=Verification(days=0)), [], NOW)
    assert _due.verify_due(JobSpec(), [ran("verify", HOUR, code=4)], NOW)
