# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image that containers are proved with has the shape of Docker's official one, and its entry behaves as that does."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from support.container_world import ContainerWorld, Image, docker, images, inspected

#: Asked in one shell, in a container without a server. Name, command, answer; {major}, {data} and {mount} are the image's.
FACTS = [
    ("no Python", "which python3 python || echo none", "none"),
    ("no cron", "which crontab cron || echo none", "none"),
    ("no systemd", "which systemctl || echo none", "none"),
    ("no ps", "which ps || echo none", "none"),
    ("no bundle of certificates", "ls -A /etc/ssl/certs /usr/local/share/ca-certificates 2>/dev/null | grep -v :", ""),
    ("no name of a machine", "cat /etc/machine-id", ""),
    ("its user", "id -u postgres; id -g postgres", "999\n999"),
    ("nothing belongs to nobody", "find / -xdev -nouser -o -xdev -nogroup", ""),
    ("a shell and what wrappers use", "which sh timeout od | wc -l", "3"),
    ("its programs", "which postgres pg_ctl initdb", "{bin}/postgres\n{bin}/pg_ctl\n{bin}/initdb"),
    ("its clients", "psql --version | cut -d' ' -f1", "psql"),
    ("one PostgreSQL", "ls /usr/lib/postgresql", "{major}"),
    ("its data directory", 'echo "$PGDATA"; stat -c %U:%a "$PGDATA"', "{data}\npostgres:1777"),
]


@pytest.mark.parametrize("major", sorted(images()) or [0])
def test_facts(image: Image, major: int) -> None:
    image = images()[major]
    script = "\n".join(f"echo '== {name}'\n{command}" for name, command, _answer in FACTS)
    said = docker("run", "--rm", "--entrypoint", "sh", image.tag, "-c", script)
    found = [part.split("\n", 1)[1].strip() for part in f"{said}\n".split("== ")[1:]]
    values = {"major": image.major, "data": image.data_dir, "bin": f"/usr/lib/postgresql/{image.major}/bin"}
    wanted = [answer.format(**values) for _name, _command, answer in FACTS]
    named = [name for name, _command, _answer in FACTS]
    assert dict(zip(named, found, strict=True)) == dict(zip(named, wanted, strict=True))


@pytest.mark.parametrize("major", sorted(images()) or [0])
def test_what_the_engine_knows(image: Image, major: int) -> None:
    image = images()[major]
    config = json.loads(docker("image", "inspect", image.tag))[0]["Config"]
    assert config["Entrypoint"] == ["docker-entrypoint.sh"]
    assert config["Cmd"] == ["postgres"]
    assert config["StopSignal"] == "SIGINT"
    assert list(config["Volumes"]) == [image.mount]
    assert not config["User"]
    assert f"PGDATA={image.data_dir}" in config["Env"]


def test_a_fresh_volume_gets_a_cluster_while_the_arguments_are_live(make_world: Callable[..., ContainerWorld]) -> None:
    scripts = {
        "10-table.sql": "CREATE TABLE seen AS SELECT current_setting('work_mem') AS it;",
        "20-sh.sh": "echo hello >&2\n",
    }
    world = make_world(
        arguments=["-c", "work_mem=5MB", "-c", "archive_mode=on", "-c", "archive_command=echo archive %f >&2"],
        environment={"POSTGRES_USER": "maps", "POSTGRES_DB": "mapdb", "POSTGRES_INITDB_ARGS": "--data-checksums"},
    )
    folder = world.project / "init"
    folder.mkdir()
    for name, text in scripts.items():
        (folder / name).write_text(text, encoding="ascii")
    compose = world.compose_file()
    compose["services"]["db"]["volumes"].append(f"{folder}:/docker-entrypoint-initdb.d:ro")
    world.write(compose)
    world.up()
    before = world.logs().partition("PostgreSQL init process complete")[0]
    # The temporary server archives, with the container's own archive_command.
    assert "archive 000000010000000000000001" in before
    assert "hello" in before
    asked = [
        "psql",
        "-XAtq",
        "-h",
        "127.0.0.1",
        "-U",
        "maps",
        "-d",
        "mapdb",
        "-c",
        "TABLE seen",
        "-c",
        "SHOW data_checksums",
    ]
    assert world.run_inside(*asked).stdout.split() == ["5MB", "on"]
    # A password is asked for by TCP from elsewhere, and there is no other database superuser.
    assert world.run_inside("psql", "-U", "postgres", "-d", "mapdb").returncode != 0


def test_stop_is_a_fast_shutdown_and_a_restart_keeps_rows(make_world: Callable[..., ContainerWorld]) -> None:
    world = make_world()
    world.up()
    world.sql("CREATE TABLE ledger AS SELECT g AS id FROM generate_series(1, 100) g")
    rows = world.rows("ledger")
    world.compose("stop")
    assert inspected(world.container)["State"]["ExitCode"] == 0
    assert "received fast shutdown request" in world.logs()
    world.compose("up", "-d", "--force-recreate")
    world.wait()
    assert "Skipping initialization" in world.logs()
    assert world.rows("ledger") == rows
    # Process 1 is the server, and it is the user postgres.
    assert world.run_inside("cat", "/proc/1/comm").stdout.strip() == "postgres"
    assert inspected(world.container)["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    world.lose()
    assert world.status() == "exited"


def test_a_user_whom_the_image_does_not_know(make_world: Callable[..., ContainerWorld]) -> None:
    world = make_world(bound=True, user="4711:4712")
    world.up()
    owner = world.data_place() / "PG_VERSION"
    assert (owner.stat().st_uid, owner.stat().st_gid) == (4711, 4712)
    assert world.run_inside("id", "-un").returncode != 0
    assert world.sql("SELECT 1") == "1"


def test_wal_and_a_tablespace_on_volumes_of_their_own(make_world: Callable[..., ContainerWorld]) -> None:
    world = make_world(wal_apart=True, tablespace=True)
    world.up()
    where = world.run_inside("readlink", f"{world.image.data_dir}/pg_wal").stdout.strip()
    assert where == "/var/lib/wal/pg_wal"
    world.run_inside("mkdir", "/var/lib/space/apart")
    world.sql("CREATE TABLESPACE apart LOCATION '/var/lib/space/apart'")
    world.sql("CREATE TABLE s TABLESPACE apart AS SELECT 1 AS id")
    assert world.rows("s") == ["(1)"]


def test_no_password_is_refused(image: Image) -> None:
    said = docker("run", "--rm", image.tag, check=False)
    assert "POSTGRES_PASSWORD" in said


def test_nothing_is_left_of_a_project(make_world: Callable[..., ContainerWorld]) -> None:
    world = make_world()
    world.up()
    name = world.project.name
    world.close()
    for kind in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        assert name not in docker(*kind)
    assert not world.root.exists()
