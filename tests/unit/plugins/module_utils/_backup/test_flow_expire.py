# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where retention must not even plan: a standby, an archive of another writer or of nobody, a shared prefix, a lock that is held."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _expire
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _locks
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import Retention
from support.scripted import Call, Scripted
from support.walg_world import World

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def refused(world: World, *calls: Call, dry: bool = True) -> str:
    """What retention says when it plans nothing; it deletes nothing either, since no such call is expected."""
    runner = Scripted(calls=list(calls))
    with pytest.raises(WalgError) as caught:
        _expire.run(runner, world.instance, Retention(), NOW, dry=dry)
    runner.finish()
    return caught.value.msg


def top(world: World, *folders: str) -> Call:
    rows = "".join(f"dir 0 0001-01-01 00:00:00 +0000 UTC {one}/\n" for one in folders)
    return world.walg("st", "ls", stdout=f"type size last modified name\n{rows}")


@pytest.mark.parametrize("dry", [True, False])
def test_a_standby_leaves_it_to_its_primary(world: World, dry: bool) -> None:
    runner = Scripted(calls=[world.facts(in_recovery=True)])
    answer = _expire.run(runner, world.instance, Retention(), NOW, dry=dry)
    runner.finish()
    assert (answer["changed"], answer["plan"]) == (False, None)
    assert "its primary deletes" in answer["text"]


def test_an_archive_of_another_writer(world: World) -> None:
    other = {"writer": "w0", "host": "elsewhere", "machine": "m0", "timeline": 5, "highest_timeline": 5}
    assert "is the archive of" in refused(world, world.facts(), world.owner(**other))
    cluster = world.owner(system_identifier="42")
    assert "another cluster" in refused(world, world.facts(), cluster, dry=False)


def test_an_archive_of_nobody(world: World) -> None:
    assert "does not say whose archive it is" in refused(world, world.facts(), *world.no_owner())


def test_a_prefix_with_another_one_in_it(world: World) -> None:
    said = refused(world, world.facts(), world.owner(), top(world, "basebackups_005", "production", "wal_005"))
    assert "holds production/, which is not WAL-G's" in said


def test_while_a_base_backup_runs(world: World) -> None:
    with _locks.locked(world.instance.files.backup_lock, "A base backup"):
        assert "is already running" in refused(world, world.facts(), dry=False)


def test_a_policy_that_keeps_nothing_asks_nobody(world: World) -> None:
    runner = Scripted()
    with pytest.raises(WalgError, match="keeps nothing"):
        _expire.run(runner, world.instance, Retention(days=0, minimum_backups=0, minimum_days=0), NOW, dry=False)
    runner.finish()


def test_the_rules_are_those_of_the_job_unless_given(world: World) -> None:
    assert _expire.policy_of(world.instance, {}) == Retention()
    assert _expire.policy_of(world.instance, {"days": 3}) == Retention(days=3)
    path = Path(world.instance.config_dir) / "main.job.json"
    path.write_text('{"retention": {"days": 30, "weekly": 5}}')
    assert _expire.policy_of(world.instance, {"days": 3}) == Retention(days=3, weekly=5)
