# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of a schedule mean, and what is said of wrong ones: all of it, and no secret."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _schedule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _job_spec
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import BackupRule, JobSpec
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _schedule_options, _specs


def spec_of(**given: Any) -> JobSpec:
    return _schedule_options.spec_of(given, "main", "db1")


def test_the_defaults_are_those_of_the_job() -> None:
    """A site whose job has no file yet does what one with a new file does, but for the minute and where the metrics go."""
    minute = str(_schedule.spread("db1/main", 0))
    assert spec_of() == JobSpec(backup=BackupRule(minute=minute), metrics_dir="auto")
    assert _job_spec.parse(_job_spec.render(spec_of()), "x") == spec_of()


def test_everything_given() -> None:
    spec = spec_of(
        scheduler="timer",
        minute="7",
        hour="2,14",
        weekday="1-5",
        source="standby",
        page_checksums=False,
        jitter="60",
        nice=10,
        check_minutes=10,
        heartbeat=False,
        retention={"days": "31", "minimum_backups": 3},
        verify={"days": 7, "rate": 1000000},
        wal_pressure="drop",
        pressure_limit=10**10,
        hooks={"failure_command": ["/bin/tell", "x"], "webhook": "https://chat.example/x", "timeout": 5},
        metrics_dir="/srv/metrics",
    )
    assert spec.backup == BackupRule("2,14", "7", "1-5", "standby", False, 60, 10)
    assert spec.retention == _job_spec.Retention(days=31, minimum_backups=3)
    assert spec.verification == _job_spec.Verification(7, 1000000)
    assert spec.hooks == _job_spec.Hooks(("/bin/tell", "x"), "https://chat.example/x", "", 5)
    assert (spec.check_minutes, spec.heartbeat, spec.wal_pressure, spec.pressure_limit) == (10, False, "drop", 10**10)
    assert spec_of(expire=False).retention is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"hour": "24"}, "The schedule's hour"),
        ({"weekday": "monday"}, "The schedule's weekday"),
        ({"jitter": -1}, "The option jitter is -1."),
        ({"jitter": "many"}, "The option jitter is many."),
        ({"nice": 20}, "from 0 to 19"),
        ({"check_minutes": 0}, "from 1 to 60"),
        ({"check_minutes": True}, "The option check_minutes is True."),
        ({"retention": {"minimum_backups": 0}}, "The option retention.minimum_backups is 0."),
        ({"retention": {"days": -1}}, "The option retention.days is -1."),
        ({"retention": {"day": 1}}, "The option retention.day of the schedule is not known."),
        ({"retention": "none"}, "The option retention must be a dictionary."),
        ({"verify": {"rate": -5}}, "The option verify.rate is -5."),
        ({"pressure_limit": -5}, "The option pressure_limit is -5."),
        ({"scheduler": "at"}, "Expected: cron, timer."),
        ({"source": "any"}, "Expected: primary, standby, this_host."),
        ({"heartbeat": "no"}, "Expected: true or false."),
        ({"metrics_dir": "metrics"}, "Give the whole path"),
        ({"hooks": {"failure_command": "tell"}}, "must be a list of words"),
        ({"hooks": {"failure_command": ["tell"]}}, "whole path"),
        ({"hooks": {"timeout": 0}}, "The option hooks.timeout is 0."),
        ({"minutes": 3}, "The option minutes of the schedule is not known."),
    ],
)
def test_what_is_wrong(given: dict[str, Any], text: str) -> None:
    with pytest.raises(WalgError) as caught:
        spec_of(**given)
    assert text in caught.value.msg


@pytest.mark.parametrize(
    "address", ["s3cr3t", "ftp://host/s3cr3t", "https:///s3cr3t", "https://host/s3cr3t x", "http://[s3cr3t"]
)
@pytest.mark.parametrize("name", ["webhook", "ping"])
def test_an_address_that_is_none_is_not_shown(name: str, address: str) -> None:
    with pytest.raises(WalgError, match=f"hooks.{name} is not an address") as caught:
        spec_of(hooks={name: address})
    assert "s3cr3t" not in caught.value.msg


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(WalgError) as caught:
        spec_of(hour="25", nice=-1, retention={"minimum_backups": 0})
    assert len(caught.value.fields["found"]) == 3


def test_what_is_secret() -> None:
    hooks = {"webhook": "https://a/1", "ping": "https://b/2", "failure_command": ["/bin/x"]}
    assert list(_schedule_options.secrets_of({"hooks": hooks})) == ["https://a/1", "https://b/2"]
    for other in (None, {}, {"hooks": None}, {"hooks": "x"}, "x"):
        assert list(_schedule_options.secrets_of(other)) == []


def test_every_number_has_bounds() -> None:
    numbers = {
        name if group is None else f"{group}.{name}"
        for group, options in [(None, _specs.schedule_options()), *_groups()]
        for name, option in options.items()
        if option["type"] == "int"
    }
    assert numbers == set(_schedule_options._BOUNDS)


def _groups() -> list[tuple[str, _specs.Spec]]:
    return [(name, one["options"]) for name, one in _specs.schedule_options().items() if "options" in one]
