# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _job_spec
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import (
    BackupRule,
    Hooks,
    JobSpec,
    Retention,
)


@pytest.mark.parametrize(
    "spec",
    [
        JobSpec(),
        JobSpec(backup=None, retention=None, heartbeat=False),
        JobSpec(
            BackupRule(hour="*/6", nice=10), Retention(days=0, backups=3), hooks=Hooks(("a", "b c"), "https://x", "", 3)
        ),
    ],
)
def test_what_is_written_is_read_back(spec: JobSpec) -> None:
    assert _job_spec.parse(_job_spec.render(spec), "x") == spec


def test_what_is_not_given_has_its_default() -> None:
    assert _job_spec.parse('{"retention": {"days": 3}}', "x") == JobSpec(retention=Retention(days=3))


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    assert _job_spec.load(str(tmp_path), "main") == JobSpec()


@pytest.mark.parametrize(
    "told",
    [
        "[]",
        "{",
        "null",
        '{"retension": {}}',
        '{"retention": {"day": 1}}',
        '{"retention": {"days": "14"}}',
        '{"retention": {"days": true}}',
        '{"heartbeat": 1}',
        '{"hooks": {"webhook": null}}',
        '{"backup": []}',
    ],
)
def test_a_damaged_file_is_an_error_and_not_the_defaults(told: str) -> None:
    with pytest.raises(WalgError, match="is damaged"):
        _job_spec.parse(told, "/etc/x/main.job.json")


def test_what_was_read_outside_of_a_container_holds_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_job_spec, "_remembered", {})
    (tmp_path / "main.job.json").write_text('{"retention": {"days": 99}}')
    _job_spec.remember(str(tmp_path), "main")
    assert _job_spec.load("/nowhere", "main") == JobSpec()
    (tmp_path / "other.job.json").write_text("{")
    _job_spec.remember(str(tmp_path), "other")
    monkeypatch.setattr(_job_spec._inside, "current", lambda: True)
    assert _job_spec.load("/nowhere", "main") == JobSpec(retention=Retention(days=99))
    with pytest.raises(WalgError, match="is damaged"):
        _job_spec.load("/nowhere", "other")


def test_the_file_is_json_for_people() -> None:
    assert json.loads(_job_spec.render(JobSpec()))["retention"]["minimum_days"] == 7
