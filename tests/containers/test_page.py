# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/containers.md, followed to the letter: its project, inventories, commands and the line for .env, from the first run to the last."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from support.container_world import STORAGE, ContainerWorld, docker, inspected
from support.following_compose import RESTORE, SITE, Reader
from support.restoring import until


def shown(reader: Reader, word: str) -> dict[str, Any]:
    """Return the first of the page's YAML blocks that has this word."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", reader.page.text, re.S | re.M)
    found: dict[str, Any] = yaml.safe_load(next(block for block in blocks if word in block))
    return found


@pytest.fixture(scope="module")
def reader(make_world: Callable[..., ContainerWorld]) -> Reader:
    """Somebody whose database runs before this collection is heard of. The storage is a directory of the machine."""
    world = make_world()
    made = Reader(world, "unchanged-image")
    project = shown(made, "services:")
    assert project == made.compose_file()
    project["services"]["db"]["image"] = world.image.tag
    project["services"]["db"]["volumes"] = [f"data:{world.image.mount}", f"{world.root / 'storage'}:{STORAGE}"]
    made.write(project)
    made.write_inventory(shown(made, "walg_compose:"), without=["walg_google_credentials"])
    world.up()
    world.sql("CREATE TABLE ledger AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 500) g")
    return made


def test_the_second_run_archives(reader: Reader) -> None:
    world = reader.world
    reader.add_the_line()
    reader.follow(SITE)
    assert world.sql("SHOW archive_mode") == "on"
    assert world.base_backups() == 1
    assert len(world.rows("ledger")) == 500
    before = world.started()
    assert "changed=0 " in reader.follow(SITE)
    assert world.started() == before


def test_after_the_loss_of_the_volume(reader: Reader) -> None:
    world = reader.world
    rows = reader.lose()
    reader.follow("up --no-start")
    said = reader.follow(RESTORE)
    assert "POSTGRES_PASSWORD" in said
    world.wait()
    assert world.rows("ledger") == rows


def test_after_the_loss_with_an_empty_cluster_in_the_place(reader: Reader) -> None:
    world = reader.world
    rows = reader.lose()
    world.up()
    again = {"REQUEST": "lost-again"}
    said = reader.rejected(RESTORE, **again)
    (other,) = set(re.findall(r'walg_restore_other_cluster: \\?"(\d+)', said))
    reader.follow("$OTHER", OTHER=other, **again)
    world.wait()
    assert world.rows("ledger") == rows


def test_a_point_in_time_and_back(reader: Reader) -> None:
    world = reader.world
    good, moment = world.rows("ledger"), world.now()
    world.sql("DELETE FROM ledger WHERE id > 100")
    world.ship()
    bad = world.rows("ledger")
    values = {"REQUEST": "bad-delete", "MOMENT": moment}
    before = world.started()
    said = reader.follow("walg_restore_action=pause", **values)
    (connect,) = set(re.findall(r"docker exec -it \S+ psql -h \S+ -p \d+ -U \w+", said))
    assert connect.startswith(f"docker exec -it {inspected(world.container)['Name'].lstrip('/')}-walg ")
    # Nobody sits here, so there is no terminal.
    assert "(1 row)" in reader.follow("$CONNECT", CONNECT=connect.replace(" -it ", " -i "))
    assert world.started() == before
    assert world.rows("ledger") == bad
    reader.follow("walg_restore_action=promote", **values)
    world.wait()
    assert world.rows("ledger") == good
    reader.follow("walg_restore_rollback=true", **values)
    world.wait()
    assert world.rows("ledger") == bad
    assert world.helpers() == []


def test_removed_again(reader: Reader) -> None:
    world = reader.world
    said = reader.follow("mapswipe.walg.remove")
    assert "remove COMPOSE_FILE from" in said
    world.wait()
    assert world.sql("SHOW archive_mode") == "off"
    reader.follow("sed -i '/^COMPOSE_FILE=/d'")
    world.wait()
    assert str(world.kit_dir) not in str(inspected(world.container)["Mounts"])
    reader.follow("mapswipe.walg.remove")
    assert not (world.kit_dir / "main").exists()
    assert list((world.sandbox.host / "cron").iterdir()) == []
    assert len(world.rows("ledger")) == 100


def test_without_compose(reader: Reader) -> None:
    world, name = reader.world, reader.values["NAME"]
    (world.root / "plain").mkdir()
    (world.root / "plain").chmod(0o777)
    without = ["walg_google_credentials", "walg_compose"]
    reader.write_inventory(shown(reader, "walg_container:"), without, walg_container=name)
    docker("run", "-d", "--name", name, *shlex.split(reader.values["OPTIONS"]), world.image.tag)

    def sql(text: str) -> str:
        argv = ["docker", "exec", "--user=postgres", name, "psql", "-XAtq", "-h", "/var/run/postgresql", "-c", text]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()

    until(lambda: "init process complete" in docker("logs", name) and sql("SELECT 1") == "1", 60)
    said = reader.rejected(SITE)
    reader.follow("docker run")
    (flags,) = re.findall(r"docker run .*\$OPTIONS \\\n +(.*) \$IMAGE\n", reader.page.text)
    assert flags.replace("$KIT", str(world.kit_dir)) in said
    reader.follow(SITE)
    assert sql("SHOW archive_mode") == "on"
    assert inspected(name)["Config"]["StopTimeout"] == 120
    assert [path for path in (world.root / "plain").rglob("*") if "stop_sentinel" in path.name]


def test_every_command_was_run(reader: Reader) -> None:
    assert reader.page.left() == []
