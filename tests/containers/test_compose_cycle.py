# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody has a database by Docker Compose, with an unchanged image: archived, backed up by cron, lost, restored, taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.container_world import ContainerWorld, inspected


@pytest.fixture(scope="module")
def world(make_world: Callable[..., ContainerWorld]) -> ContainerWorld:
    """The database, as it is before this collection is heard of."""
    made = make_world(arguments=["-c", "max_connections=33"])
    made.up()
    made.sql("CREATE TABLE ledger AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 500) g")
    return made


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What a step leaves for later ones."""
    return {}


def test_site_says_which_line_compose_lacks(world: ContainerWorld) -> None:
    before = world.started()
    play = world.play("site")
    assert play.rc != 0
    assert world.line() in play.failure()
    assert f"{world.project}/.env" in play.failure()
    assert world.started() == before


def test_site_says_how_to_create_the_container_again(world: ContainerWorld) -> None:
    world.write_env(world.line())
    before = world.started()
    play = world.play("site")
    assert play.rc != 0
    assert "docker compose" in play.failure()
    assert "walg_backup_restart: allowed" in play.failure()
    assert world.started() == before


def test_check_mode_changes_nothing(world: ContainerWorld) -> None:
    before = world.started()
    play = world.site("--check", walg_backup_restart="allowed")
    assert play.changed()
    assert world.started() == before
    assert world.stored() == []


def test_site_archives_and_backs_up(world: ContainerWorld) -> None:
    before = world.container
    world.site(walg_backup_restart="allowed")
    assert world.container != before
    assert world.sql("SHOW archive_mode") == "on"
    assert world.sql("SHOW max_connections") == "33"
    assert world.base_backups() == 1
    assert len(world.rows("ledger")) == 500


def test_a_second_site_changes_nothing(world: ContainerWorld) -> None:
    before = world.started()
    play = world.site()
    assert play.changed() == []
    assert world.started() == before


def test_cron_takes_a_base_backup(world: ContainerWorld) -> None:
    world.run_cron_job()
    assert world.base_backups() == 2


def test_every_row_comes_back_after_the_loss_of_the_volume(world: ContainerWorld, seen: dict[str, Any]) -> None:
    world.sql("INSERT INTO ledger SELECT g, md5(g::text) FROM generate_series(501, 700) g")
    world.ship()
    seen["rows"] = world.rows("ledger")
    world.lose()
    world.restored("lost")
    assert world.rows("ledger") == seen["rows"]
    assert world.sql("SHOW max_connections") == "33"
    assert inspected(world.container)["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert world.compose("ps", "--services", "--status", "running").split() == ["db"]
    assert world.helpers() == []
    world.ship()


def test_the_same_request_changes_nothing(world: ContainerWorld) -> None:
    world.sql("INSERT INTO ledger VALUES (701, 'after the restore')")
    play = world.restore("lost")
    assert play.rc == 0, play.stdout
    assert play.changed() == []
    assert '(701,"after the restore")' in world.rows("ledger")


def test_a_point_in_time_is_planned_while_the_server_goes_on(world: ContainerWorld, seen: dict[str, Any]) -> None:
    seen["before"] = world.rows("ledger")
    seen["point"] = world.now()
    world.sql("DELETE FROM ledger WHERE id > 100")
    world.ship()
    seen["harmed"] = world.rows("ledger")
    started = world.started()
    play = world.restore("point", "--check", walg_restore_target_time=seen["point"], walg_restore_stop_running=True)
    assert play.rc == 0, play.stdout
    assert play.changed()
    refused = world.restore("point", walg_restore_target_time=seen["point"])
    assert "walg_restore_stop_running: true" in refused.failure()
    assert world.started() == started
    assert world.rows("ledger") == seen["harmed"]


def test_a_point_in_time_and_the_way_back(world: ContainerWorld, seen: dict[str, Any]) -> None:
    wanted = {"walg_restore_target_time": seen["point"], "walg_restore_stop_running": True}
    world.restored("point", **wanted)
    assert world.rows("ledger") == seen["before"]
    world.restored("point", walg_restore_rollback=True, **wanted)
    assert world.rows("ledger") == seen["harmed"]
    assert world.helpers() == []
    world.ship()
