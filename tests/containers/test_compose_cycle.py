# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody has a database by Docker Compose, with an unchanged image: archived to Google, backed up by cron, lost, restored, taken back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.container_gcs import GoogleNetwork
from support.container_world import ContainerWorld, docker, inspected
from support.observe import ProcessWatch
from support.restoring import until


@pytest.fixture(scope="module")
def world(google: GoogleNetwork, make_world: Callable[..., ContainerWorld]) -> ContainerWorld:
    """The database, as it is before this collection is heard of."""
    made = make_world(arguments=["-c", "max_connections=33"], google=google)
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


def test_cron_takes_a_base_backup(world: ContainerWorld, seen: dict[str, Any]) -> None:
    with ProcessWatch() as watch:
        world.run_cron_job()
    seen["processes"] = watch.seen
    assert world.base_backups() == 2


def test_cron_starts_it_by_itself(world: ContainerWorld) -> None:
    play = world.site(walg_backup_minute="*", walg_backup_hour="*")
    assert play.changed()
    with world.cron():
        until(lambda: world.base_backups() >= 3, 400)  # cron looks every five minutes what is due
    assert "base backup done" in world.run_inside("cat", str(world.kit_dir / "main/kit/log/main/job.log")).stdout


def test_a_restore_is_planned_while_the_server_goes_on(world: ContainerWorld) -> None:
    before = world.started()
    play = world.restore("early", "--check", walg_restore_target_time=world.now(), walg_restore_stop_running=True)
    assert play.rc == 0, play.stdout
    assert play.changed()
    assert world.started() == before
    assert world.helpers() == []


def test_every_row_comes_back_after_the_loss_of_the_volume(world: ContainerWorld, seen: dict[str, Any]) -> None:
    world.sql("INSERT INTO ledger SELECT g, md5(g::text) FROM generate_series(501, 700) g")
    world.ship()
    rows = world.rows("ledger")
    world.lose()
    planned = world.restore("lost", "--check")
    assert planned.rc == 0, planned.stdout
    assert planned.changed()
    assert list(world.data_place().iterdir()) == []
    assert (world.status(), world.helpers()) == ("exited", [])
    with ProcessWatch() as watch:
        world.restored("lost")
    seen["processes"] |= watch.seen
    assert world.rows("ledger") == rows
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


def test_no_secret_is_where_others_see_it(world: ContainerWorld, google: GoogleNetwork, seen: dict[str, Any]) -> None:
    key = _plain(json.loads(google.key())["private_key"])[40:80]
    assert any("wal-g" in line for line in seen["processes"])
    assert [line for line in seen["processes"] if key in _plain(line) or world.password in line] == []
    assert key not in _plain(docker("container", "inspect", world.container) + world.logs())
    # On the machine it is in the kit, for the server's user alone.
    holding = [path for path in _files(world.root) if key in _plain(path.read_text(errors="replace"))]
    assert sorted({str(path.parent.relative_to(world.root)) for path in holding}) == ["control", "kit/main/kit/etc"]
    kept = [path.stat() for path in holding if path.parent.name == "etc"]
    assert {(found.st_uid, found.st_mode & 0o777) for found in kept} == {(999, 0o600)}


def _plain(text: str) -> str:
    """Return a text without blanks and line ends, written out or not."""
    return re.sub(r"\s|\\n", "", text)


def _files(folder: Path) -> list[Path]:
    """Return the files that may hold a key."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in found if path.stat().st_size < 1 << 20]
