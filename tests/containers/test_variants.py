# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other ways to run the image: a directory of the machine, a user of one's own, WAL and tablespaces elsewhere, PostgreSQL 18."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.container_world import ContainerWorld, Image, docker, images

MOVED = 18  # from this major version on, the data directory is in a folder of its own


def served(world: ContainerWorld, **more: Any) -> ContainerWorld:
    """Have a project archived, from its first start to the first base backup and rows after that."""
    world.up()
    world.sql("CREATE TABLE ledger AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 300) g")
    assert world.line() in world.play("site", **more).failure()
    world.write_env(world.line())
    world.site(walg_backup_restart="allowed", **more)
    world.sql("INSERT INTO ledger SELECT g, md5(g::text) FROM generate_series(301, 400) g")
    world.ship()
    return world


@pytest.fixture(scope="module")
def bound(make_world: Callable[..., ContainerWorld]) -> ContainerWorld:
    """A data directory of the machine's, and a user whom neither the image nor the machine knows."""
    return served(make_world(bound=True, user="4711"))


def test_a_directory_of_the_machine_and_a_user_of_ones_own(bound: ContainerWorld) -> None:
    settings = (bound.kit_dir / "main" / "kit" / "etc" / "main.json").stat()
    assert (settings.st_uid, settings.st_mode & 0o777) == (4711, 0o600)
    bound.run_cron_job()
    assert bound.base_backups() == 2
    rows = bound.rows("ledger")
    bound.lose()
    bound.restored("lost")
    assert bound.rows("ledger") == rows
    owner = (bound.data_place() / "PG_VERSION").stat()
    assert (owner.st_uid, owner.st_gid) == (4711, 0)


def test_a_restore_that_is_killed_is_finished_by_the_next(bound: ContainerWorld) -> None:
    bound.ship()
    rows = bound.rows("ledger")
    bound.lose()
    for phase in ("fetch", "recover"):
        argv = bound.sandbox.module_argv("walg_restore", {**bound.sandbox.instance(), "request": "killed"})
        environment = bound.sandbox.environment(bound.sandbox.control / "none")
        with subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as module:
            _await_phase(bound, phase, module)
            module.send_signal(signal.SIGKILL)
        assert bound.status() == "exited"
    bound.restored("killed")
    assert bound.rows("ledger") == rows
    assert bound.helpers() == []


def _await_phase(world: ContainerWorld, phase: str, module: subprocess.Popen[bytes]) -> None:
    """Wait until a restore says that it does this."""
    progress = world.kit_dir / "main" / "kit" / "state" / "main" / "progress.json"
    deadline = time.monotonic() + 120
    while not (progress.exists() and f'"{phase}"' in progress.read_text(encoding="utf-8")):
        assert module.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_fresh_cluster_with_live_arguments_does_not_reach_the_archive(bound: ContainerWorld) -> None:
    command = bound.sql("SHOW archive_command")
    compose = bound.compose_file()
    compose["services"][bound.service]["command"] = [
        "postgres",
        "-c",
        "archive_mode=on",
        "-c",
        f"archive_command={command}",
    ]
    bound.write(compose)
    bound.write_env(bound.line())
    bound.lose()
    stored = bound.stored()
    bound.up()
    first, later = bound.logs().split("PostgreSQL init process complete", 1)
    # The temporary server of initdb has the container's arguments.
    assert "refused to send 000000010000000000000001" in first
    bound.sql("CREATE TABLE fresh AS SELECT 1 AS id")
    bound.sql("SELECT pg_switch_wal()")
    assert bound.stored() == stored
    assert "ready to accept connections" in later
    refused = bound.play("site")
    assert refused.rc != 0
    assert "another cluster" in refused.failure() or "system identifier" in refused.failure()
    assert bound.stored() == stored


def test_wal_and_a_tablespace_on_volumes_of_their_own(make_world: Callable[..., ContainerWorld]) -> None:
    world = make_world(wal_apart=True, tablespace=True)
    world.up()
    world.run_inside("mkdir", "/var/lib/space/apart")
    world.sql("CREATE TABLESPACE apart LOCATION '/var/lib/space/apart'")
    world.sql("CREATE TABLE s TABLESPACE apart AS SELECT g AS id FROM generate_series(1, 50) g")
    served(world)
    rows = world.rows("ledger") + world.rows("s")
    world.lose()
    world.restored("lost", walg_restore_wal_dir="/var/lib/wal/pg_wal")
    assert world.rows("ledger") + world.rows("s") == rows
    where = world.run_inside("readlink", f"{world.image.data_dir}/pg_wal").stdout.strip()
    assert where.startswith("/var/lib/wal/")
    assert world.sql("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'apart'").startswith(
        "/var/lib/space/"
    )


def test_the_layout_of_18(make_world: Callable[..., ContainerWorld]) -> None:
    world = make_world(images()[MOVED])
    if tuple(int(part) for part in world.walg_version().split(".")[:2]) < (2, 0):
        world.up()
        world.play("site")
        world.write_env(world.line())
        before = world.started()
        refused = world.play("site", walg_backup_restart="allowed")
        assert f"PostgreSQL {MOVED}" in refused.failure()
        assert world.started() == before
        assert world.stored() == []
        return
    served(world)
    rows = world.rows("ledger")
    world.lose()
    world.restored("lost")
    assert world.rows("ledger") == rows
    assert world.sql("SHOW data_directory") == "/var/lib/postgresql/18/docker"


@pytest.fixture
def without_timeout(image: Image) -> Iterator[Image]:
    """An image that lacks a program that the wrappers need."""
    tag = f"{image.tag}-no-timeout"
    dockerfile = f"FROM {image.tag}\nRUN rm /usr/bin/timeout\n"
    argv = ["docker", "build", "--force-rm", "--tag", tag, "-"]
    subprocess.run(argv, input=dockerfile, env=None, capture_output=True, text=True, check=True)
    yield Image(tag, image.major, image.data_dir, image.mount)
    docker("image", "rm", tag, check=False)


def test_a_program_that_the_image_lacks(make_world: Callable[..., ContainerWorld], without_timeout: Image) -> None:
    world = make_world(without_timeout)
    world.up()
    before = world.started()
    world.play("site")
    world.write_env(world.line())
    refused = world.play("site", walg_backup_restart="allowed")
    assert refused.rc != 0
    assert "has no timeout" in refused.failure()
    assert world.started() == before
    world.close()
