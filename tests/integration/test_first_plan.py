# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site that never deleted gets rules: the play shows what they will delete, once, and deletes nothing; or why there is no plan."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.restoring import archived, backup
from support.sandbox import Play, Sandbox

ASK, SHOW = "Retention | Ask what the rules would delete", "Retention | Show the first plan"
WHY, NOTE = "Retention | Warn that its first plan is rejected", "Retention | Write down that the first plan was shown"
RULES = {"walg_backup_keep_days": 0, "walg_backup_keep": 1, "walg_backup_minimum": 1, "walg_backup_minimum_days": 0}


@pytest.fixture(scope="module")
def host(sandbox: Sandbox) -> Sandbox:
    history = archived(sandbox)
    for _turn in range(2):
        history.ship(2)
        backup(sandbox)
    return sandbox


def site(host: Sandbox, *arguments: str) -> Play:
    play = host.play("mapswipe.walg.site", host.variables(host.clusters[0], **RULES), *arguments)
    assert play.rc == 0, play.stdout
    return play


def told(play: Play, task: str) -> list[dict[str, Any]]:
    """Return what a task answered where it ran."""
    found = [line for line in play.results if line["task"].endswith(task) and line["status"] == "ok"]
    return [line["result"] for line in found]


def stored(host: Sandbox) -> list[str]:
    top = host.storage_dir / "main"
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())


@contextmanager
def another_archive(host: Sandbox) -> Iterator[None]:
    """While this lasts, there is another archive below the prefix."""
    strange = host.storage_dir / "main" / "other"
    strange.mkdir()
    (strange / "notes.txt").write_text("x")
    try:
        yield
    finally:
        (strange / "notes.txt").unlink()
        strange.rmdir()


def test_a_rejected_plan_is_named_and_not_taken_as_shown(host: Sandbox) -> None:
    with another_archive(host):
        before = [name for name in stored(host) if name.startswith("basebackups_005")]
        play = site(host)
        (told_why,) = told(play, WHY)
        assert told_why["msg"].startswith("WARNING: Archiving is set up, but retention's first plan is rejected"), (
            told_why
        )
        assert "other/, which is not WAL-G's" in told_why["msg"]
        assert "Move it elsewhere" in told_why["msg"]
        assert (told(play, SHOW), told(play, NOTE)) == ([], [])
        assert set(before) <= set(stored(host))


def test_a_play_that_dies_before_has_not_shown_it(host: Sandbox) -> None:
    """The play ends where it would show the plan: what it shows can't be told."""
    dies = {"__walg_backup_retention": {"shown_only": True, "plan": {}, "lines": "{{ 1 / 0 }}"}}
    play = host.play("mapswipe.walg.site", host.variables(host.clusters[0], **RULES), "-e", json.dumps(dies))
    assert play.rc != 0
    assert (told(play, SHOW), told(play, NOTE)) == ([], [])
    # test_the_plan_is_shown_once_and_nothing_goes comes next: its plays show it.


def test_the_plan_is_shown_once_and_nothing_goes(host: Sandbox) -> None:
    before = [name for name in stored(host) if name.startswith("basebackups_005")]
    names = [one["name"] for one in host.module("walg_backup_info", host.instance())["backups"]]
    for arguments in (["--check"], []):
        play = site(host, *arguments)
        assert told(play, SHOW), (told(play, ASK), play.stdout)
        (shown,) = told(play, SHOW)
        lines = shown["msg"]
        assert lines[0].startswith("Retention would delete 2 base backups, "), lines
        assert [line.split(",")[0] for line in lines if "goes: base backup" in line] == [
            f"goes: base backup {name}" for name in names[:-1]
        ]
        assert any(line.startswith("goes: WAL ") for line in lines)
        assert any(line.startswith("stays: timeline 1, ") and "to the present" in line for line in lines)
        assert "Nothing is deleted yet." in lines[-1]
        assert not any("Retention" in task for task in play.changed())
    assert set(before) <= set(stored(host))
    again = site(host)
    assert (told(again, ASK), told(again, SHOW), told(again, WHY), told(again, NOTE)) == ([], [], [], [])
    assert again.changed() == []


def test_the_job_shows_it_too_and_deletes_nothing(host: Sandbox) -> None:
    before = stored(host)
    argv = [str(host.host / "program" / "walg-job"), "expire", "--config-dir", str(host.host / "config")]
    assert host.run(argv, user=host.user).returncode == 0
    assert stored(host) == before
    assert "would delete 2 base backups" in (host.host / "log" / "main" / "job.log").read_text()


def test_other_rules_have_a_first_plan_of_their_own(host: Sandbox) -> None:
    play = host.play("mapswipe.walg.site", host.variables(host.clusters[0], **{**RULES, "walg_backup_keep": 2}))
    assert play.rc == 0, play.stdout
    (shown,) = told(play, SHOW)
    assert shown["msg"][0].startswith("Retention would delete 1 base backup, "), shown
