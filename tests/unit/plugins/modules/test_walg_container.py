# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_container: what it writes, when it recreates, what it fails with, and away again. The engine is a stand-in."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._container import (
    _container_check,
    _engine,
    _force,
    _fragment,
    _placed,
    _project,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.modules import walg_container
from support.fake_engine import DOCKER, OLD, PODMAN, SECRET, UNSET_V1, UNSET_V2, Engine, bind, recorded
from support.module_call import Call
from support.observe import files

IMAGE = "sha256:aa11bb22cc33dd44ee55ff660011223344556677889900aabbccddeeff001122"


class World:
    """A machine with a Compose project and an engine."""

    def __init__(self, root: Path) -> None:
        self.project, self.kit_dir, self.config_dir = root / "maps", root / "kits", root / "etc"
        self.project.mkdir()
        self.identity = root / "machine-id"
        self.identity.write_text("0123456789abcdef0123456789abcdef\n")
        (self.project / "docker-compose.yml").write_text("services: {}\n")
        self.told = recorded("docker-20.10")
        self.labels["com.docker.compose.project.working_dir"] = str(self.project)
        self.labels["com.docker.compose.project.config_files"] = str(self.project / "docker-compose.yml")
        service = {
            "image": "postgres:14",
            "volumes": [{"type": "volume", "source": "data", "target": "/var/lib/postgresql/data", "volume": {}}],
        }
        self.engine = Engine(containers=[self.told], services={"db": service, "web": {}}, images={"postgres:14": IMAGE})

    @property
    def labels(self) -> dict[str, str]:
        """The container's labels."""
        found: dict[str, str] = self.told["Config"]["Labels"]
        return found

    @property
    def kit(self) -> Path:
        return self.kit_dir / "main" / "kit"

    @property
    def fragment(self) -> Path:
        return self.kit_dir / "main.compose.yml"

    @property
    def record(self) -> Path:
        return self.config_dir / "main.container.json"

    @property
    def env_file(self) -> Path:
        return self.project / ".env"

    @property
    def compose(self) -> dict[str, str]:
        return {"project_dir": str(self.project), "service": "db"}

    def name_fragment(self) -> None:
        """Do what the first run asks for."""
        self.env_file.write_text(f"POSTGRES_PASSWORD={SECRET}\nCOMPOSE_FILE=docker-compose.yml:{self.fragment}\n")

    def mount_kit(self, **options: bool) -> None:
        """Have the container have the kit, and the machine's identity."""
        self.told["Mounts"].append(bind(str(self.kit), str(self.kit), **options))
        self.told["Mounts"].append(bind(str(self.identity), str(self.identity), writable=False))

    def old_compose(self) -> None:
        """Have the project be one of docker-compose 1.29."""
        self.engine.compose, self.engine.plugin = "1.29.2", False
        self.labels["com.docker.compose.version"] = "1.29.2"
        self.labels["com.docker.compose.project.config_files"] = "docker-compose.yml"
        self.engine.services["db"]["volumes"] = ["data:/var/lib/postgresql/data:rw"]
        self.engine.volumes = {"data": {}}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(_engine, "program", lambda wanted="": PODMAN if wanted == "podman" else DOCKER)
    monkeypatch.setattr(_container_check, "refuse_elsewhere", lambda _container: None)
    monkeypatch.setattr(_force, "_PAUSE", 0.0)
    monkeypatch.setattr(shutil, "which", lambda name: OLD if name == "docker-compose" else None)
    monkeypatch.setattr(
        "ansible_collections.mapswipe.walg.plugins.module_utils._host._trust.refuse_loose", lambda *_of: None
    )
    made = World(tmp_path)
    monkeypatch.setattr(_fragment, "MACHINE_ID", str(made.identity))
    return made


@pytest.fixture
def call(world: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    options = {
        "config_dir": str(world.config_dir),
        "kit_dir": str(world.kit_dir),
        "program_dir": "/usr/local/lib/mapswipe-walg",
        "compose": world.compose,
    }
    return Call(walg_container, capfd, monkeypatch, **options)


def failed(call: Call, world: World, **options: Any) -> str:
    """Return the sentence with which the module fails. No secret is in its answer."""
    answer = call(world.engine, **options)
    assert answer["failed"] is True
    assert SECRET not in json.dumps(answer)
    message: str = answer["msg"]
    assert len(message.split()) > 5
    return message


def test_a_compose_project_from_nothing_to_the_kit(call: Call, world: World) -> None:
    message = failed(call, world, check=True, restart="allowed")
    assert not world.kit_dir.exists()
    assert not world.config_dir.exists()
    line = f"COMPOSE_FILE=docker-compose.yml:{world.fragment}"
    assert message.endswith(f": {line}")
    first = f"run without check mode, which writes {world.fragment}; then "
    assert failed(call, world, restart="allowed") == message.replace(first, "") != message
    assert json.loads(world.fragment.read_text()) == {
        "services": {
            "db": {
                "volumes": [f"{world.kit}:{world.kit}", f"{world.identity}:{world.identity}:ro"],
                "stop_grace_period": "120s",
            }
        }
    }
    assert list(world.kit.iterdir()) == []
    assert (world.kit.stat().st_mode & 0o7777, world.fragment.stat().st_mode & 0o7777) == (0o755, 0o644)
    placed = _placed.parse(world.record.read_text(), "it")
    assert (placed.project_dir, placed.service, placed.container, placed.kit) == (
        str(world.project),
        "db",
        "",
        str(world.kit),
    )
    world.env_file.write_text(line)
    question = call(world.engine, check=True, restart="allowed")
    assert (question["changed"], question["needs_recreate"], question["in_force"]) == (False, True, False)
    assert question["_planned"] == world.record.read_text()
    assert call(world.engine, restart="allowed")["needs_recreate"] is True
    assert world.engine.ups() == []
    foretold = call(world.engine, check=True, restart="allowed", recreate=True)
    assert (foretold["changed"], foretold["needs_recreate"], world.engine.ups()) == (True, True, [])
    done = call(world.engine, restart="allowed", recreate=True)
    assert (done["changed"], done["needs_recreate"], done["in_force"], done["warnings"]) == (True, False, True, [])
    assert world.engine.ups() == [
        [DOCKER, "compose", "--project-name=maps", "up", "--detach", "--timeout=120", "--no-deps", "--no-build", "db"]
    ]
    assert done["container"] == {
        "name": "maps-db-1",
        "id": world.engine.containers[0]["Id"],
        "engine": "docker",
        "image": "postgres:14",
        "status": "running",
    }
    before = files(world.kit_dir), files(world.config_dir)
    for check in (True, False):
        again = call(world.engine, check=check, restart="allowed", recreate=True)
        assert (again["changed"], again["in_force"], again["diff"]) == (False, True, [])
    assert (files(world.kit_dir), files(world.config_dir)) == before
    assert len(world.engine.ups()) == 1


def test_without_leave_it_says_what_to_run(call: Call, world: World) -> None:
    world.name_fragment()
    message = failed(call, world)
    assert message.endswith(
        f"Set walg_backup_restart: allowed, or do it yourself: cd {world.project} && docker compose up -d --no-deps db"
    )


def test_in_check_mode_a_fragment_that_is_named_but_not_written_is_planned(call: Call, world: World) -> None:
    world.name_fragment()
    answer = call(world.engine, check=True, restart="allowed")
    assert (answer["changed"], answer["needs_recreate"]) == (True, True)
    assert not any("config" in one for one in world.engine.calls)


def test_a_second_run_costs_two_calls(call: Call, world: World) -> None:
    world.mount_kit()
    call(world.engine)
    world.engine.calls.clear()
    assert call(world.engine)["changed"] is False
    assert len(world.engine.calls) == 2


def test_old_compose_is_served_too(call: Call, world: World) -> None:
    world.old_compose()
    (world.project / "docker-compose.yml").write_text("version: '3.8'\nservices: {}\n")
    world.name_fragment()
    assert failed(call, world).endswith(f"cd {world.project} && docker-compose up -d --no-deps db")
    assert json.loads(world.fragment.read_text())["version"] == "3.8"
    done = call(world.engine, restart="allowed", recreate=True)
    assert (done["in_force"], world.engine.ups()) == (
        True,
        [[OLD, "--project-name=maps", "up", "--detach", "--timeout=120", "--no-deps", "--no-build", "db"]],
    )


def test_compose_acts_as_the_projects_owner(call: Call, world: World) -> None:
    world.name_fragment()
    call(world.engine, restart="allowed", recreate=True)
    of_compose = [user for user, argv in zip(world.engine.users, world.engine.calls, strict=True) if "compose" in argv]
    assert set(of_compose) == {world.project.owner()}
    assert not [one for one in world.engine.environments if SECRET in str(one)]


def test_a_stopped_service_is_recreated_without_being_started(call: Call, world: World) -> None:
    world.told["State"].update(Status="exited", Pid=0, Running=False)
    world.name_fragment()
    message = failed(call, world, restart="allowed")
    assert message == "The container maps-db-1 is exited. Start it."
    done = call(world.engine, restart="allowed", recreate=True, purpose="restore")
    assert (done["in_force"], done["container"]["status"]) == (True, "exited")
    assert "--no-start" in world.engine.ups()[0]
    assert "--detach" not in world.engine.ups()[0]


def test_it_waits_until_the_new_server_answers(call: Call, world: World) -> None:
    world.name_fragment()
    world.engine.unready = 3
    call(world.engine, restart="allowed", recreate=True)
    assert len([one for one in world.engine.calls if "pg_isready" in one]) == 4


def test_a_new_container_that_does_not_run_is_told(call: Call, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_force, "_PATIENCE", 0.0)
    world.name_fragment()
    world.engine.on_up = lambda made: made["State"].update(Status="restarting", Pid=0)
    message = failed(call, world, restart="allowed", recreate=True)
    assert message == "The container maps-db-1 was recreated, but it is restarting. See docker logs maps-db-1."


@pytest.mark.parametrize(("mine", "written"), [(None, "120s"), (10, "120s"), (60, "120s"), (120, None), (300, None)])
def test_a_longer_time_to_stop_is_left_alone(call: Call, world: World, mine: int | None, written: str | None) -> None:
    world.told["Config"]["StopTimeout"] = mine
    call(world.engine)
    assert json.loads(world.fragment.read_text())["services"]["db"].get("stop_grace_period") == written


def test_a_short_time_to_stop_is_warned_of(call: Call, world: World) -> None:
    world.mount_kit()
    (warning,) = call(world.engine)["warnings"]
    assert warning.startswith("docker stop gives the server in the container maps-db-1 10 s; then it is killed")
    assert warning.endswith(f"cd {world.project} && docker compose up -d --no-deps db.")
    world.told["Config"]["StopTimeout"] = 60
    assert call(world.engine)["warnings"] == []


def test_a_container_without_the_machines_identity_is_recreated(call: Call, world: World) -> None:
    world.mount_kit()
    world.told["Mounts"].pop()
    world.name_fragment()
    assert call(world.engine, restart="allowed", recreate=True)["in_force"] is True
    assert len(world.engine.ups()) == 1


def test_a_machine_without_an_identity(call: Call, world: World) -> None:
    world.identity.unlink()
    world.mount_kit()
    assert call(world.engine)["in_force"] is True
    assert json.loads(world.fragment.read_text())["services"]["db"]["volumes"] == [f"{world.kit}:{world.kit}"]


# Which files Compose reads.


def test_an_override_file_is_in_the_line(call: Call, world: World) -> None:
    """Compose takes it by itself only as long as COMPOSE_FILE is not set."""
    (world.project / "docker-compose.override.yml").write_text("services: {}\n")
    names = [str(world.project / one) for one in ("docker-compose.yml", "docker-compose.override.yml")]
    world.labels["com.docker.compose.project.config_files"] = ",".join(names)
    message = failed(call, world)
    assert message.endswith(f"COMPOSE_FILE=docker-compose.yml:docker-compose.override.yml:{world.fragment}")
    assert f"add to {world.env_file} this line" in message


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("COMPOSE_FILE=docker-compose.yml:prod.yml", "COMPOSE_FILE=docker-compose.yml:prod.yml:{}"),
        ("COMPOSE_FILE='prod.yml'  # live", "COMPOSE_FILE=prod.yml:{}"),
        (
            "COMPOSE_PATH_SEPARATOR=,\nCOMPOSE_FILE=docker-compose.yml,prod.yml",
            "COMPOSE_FILE=docker-compose.yml,prod.yml,{}",
        ),
    ],
)
def test_a_compose_file_that_is_set_already_is_shown_as_it_must_become(
    call: Call, world: World, given: str, becomes: str
) -> None:
    (world.project / "prod.yml").write_text("services: {}\n")
    world.env_file.write_text(f"POSTGRES_PASSWORD={SECRET}\n{given}\n")
    names = given.partition("FILE=")[2].replace(",", ":").strip("'").split("'")[0].split(":")
    world.labels["com.docker.compose.project.config_files"] = ",".join(str(world.project / one) for one in names)
    message = failed(call, world)
    assert message.endswith(becomes.format(world.fragment))
    assert f"in {world.env_file}, change COMPOSE_FILE to this line" in message


def test_the_fragment_in_another_place_of_the_line_is_as_good(call: Call, world: World) -> None:
    world.name_fragment()
    world.env_file.write_text(f"COMPOSE_FILE={world.fragment}:docker-compose.yml\n")
    assert call(world.engine, restart="allowed")["needs_recreate"] is True


def test_files_given_with_f_are_in_the_command(call: Call, world: World) -> None:
    elsewhere = world.project.parent / "deploy" / "live.yml"
    elsewhere.parent.mkdir()
    elsewhere.write_text("services: {}\n")
    world.labels["com.docker.compose.project.config_files"] = str(elsewhere)
    message = failed(call, world, restart="allowed", recreate=True)
    assert f"was made from {elsewhere}, but a call without -f in {world.project} takes docker-compose.yml." in message
    assert message.endswith(f"docker compose -f {elsewhere} -f {world.fragment} up -d --no-deps db")
    assert world.engine.ups() == []


def test_a_label_may_be_relative_to_a_directory_above(call: Call, world: World) -> None:
    """docker/compose 8434: Compose 1.x writes there what -f said."""
    world.old_compose()
    world.labels["com.docker.compose.project.config_files"] = f"{world.project.name}/docker-compose.yml"
    world.name_fragment()
    assert call(world.engine, restart="allowed")["needs_recreate"] is True


def test_a_compose_file_of_other_variables_is_not_guessed(call: Call, world: World) -> None:
    world.env_file.write_text("WHERE=prod\nCOMPOSE_FILE=$WHERE.yml\n")
    assert f"COMPOSE_FILE in {world.env_file}, line 2, holds a $" in failed(call, world)


def test_files_that_are_gone_are_named(call: Call, world: World) -> None:
    world.labels["com.docker.compose.project.config_files"] = "/srv/before/docker-compose.yml"
    assert "was made from /srv/before/docker-compose.yml, which is gone." in failed(call, world)


def test_a_project_of_another_name_keeps_it(call: Call, world: World) -> None:
    world.labels["com.docker.compose.project"] = "live"
    world.name_fragment()
    world.engine.volumes = {"data": {"name": "maps_data"}}
    assert "docker compose --project-name live up" in failed(call, world)
    call(world.engine, restart="allowed", recreate=True)
    assert "--project-name=live" in world.engine.ups()[0]


def test_an_env_file_of_another_name_is_read_by_compose(call: Call, world: World) -> None:
    world.labels["com.docker.compose.project.environment_file"] = str(world.project / "live.env")
    world.name_fragment()
    assert f"--env-file {world.project}/live.env" in failed(call, world)
    call(world.engine, restart="allowed", recreate=True)
    assert f"--env-file={world.project}/live.env" in world.engine.ups()[0]


def test_a_service_behind_a_profile_is_found(call: Call, world: World) -> None:
    world.engine.services["db"]["profiles"] = ["live"]
    world.engine.profiles = ("live", "more")
    world.name_fragment()
    call(world.engine, restart="allowed", recreate=True)
    assert world.engine.ups()[0][3:6] == ["--profile=live", "--profile=more", "up"]


def test_a_symbolic_link_to_the_project_is_the_project(call: Call, world: World, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(world.project)
    world.mount_kit()
    assert call(world.engine, compose={"project_dir": str(link), "service": "db"})["in_force"] is True
    world.labels["com.docker.compose.project.working_dir"] = str(link)
    assert call(world.engine)["in_force"] is True


def test_what_needs_quotes_is_quoted(call: Call, world: World, tmp_path: Path) -> None:
    odd = tmp_path / "it's $HOME"
    world.project.rename(odd)
    world.labels["com.docker.compose.project.working_dir"] = str(odd)
    world.labels["com.docker.compose.project.config_files"] = str(odd / "docker-compose.yml")
    (odd / ".env").write_text(f"COMPOSE_FILE=docker-compose.yml:{world.fragment}\n")
    message = failed(call, world, compose={"project_dir": str(odd), "service": "db"})
    quoted = str(odd).replace("'", "'\"'\"'")
    assert f"cd '{quoted}' && docker compose" in message


# What a new container would change beside the mount.


@pytest.mark.parametrize("name", ["postgres:15", "postgres:14"])
def test_another_image_is_no_mere_restart(call: Call, world: World, name: str) -> None:
    world.name_fragment()
    world.engine.services["db"]["image"] = name
    world.engine.images = {"postgres:14": "sha256:beef00112233445566"}
    message = failed(call, world, restart="allowed", recreate=True)
    there = "beef00112233" if name == "postgres:14" else "which is not on this machine"
    assert message.startswith(
        f"A new container would have the image {name} as it is now, {there}; the container maps-db-1 has"
    )
    assert world.engine.ups() == []


def test_a_policy_that_pulls_is_rejected(call: Call, world: World) -> None:
    world.name_fragment()
    world.engine.services["db"]["pull_policy"] = "always"
    assert "has pull_policy: always" in failed(call, world, restart="allowed")


@pytest.mark.parametrize(
    "volumes", [[], [{"type": "bind", "source": "/srv/new", "target": "/var/lib/postgresql/data"}]]
)
def test_other_data_is_rejected(call: Call, world: World, volumes: list[Any]) -> None:
    world.name_fragment()
    world.engine.services["db"]["volumes"] = volumes
    message = failed(call, world, restart="allowed", recreate=True)
    wanted = "/srv/new" if volumes else "nothing"
    assert (
        f"has maps_data at /var/lib/postgresql/data; by the compose files in {world.project}, a new one would have {wanted}"
        in message
    )
    assert world.engine.ups() == []


@pytest.mark.parametrize("old", [False, True])
def test_a_variable_of_the_shell_that_is_not_there_is_named(call: Call, world: World, old: bool) -> None:
    if old:
        world.old_compose()
    world.name_fragment()
    world.engine.said = (UNSET_V1 if old else UNSET_V2).format("POSTGRES_PASSWORD")
    message = failed(call, world, restart="allowed", recreate=True)
    assert message.startswith(
        f"Compose finds no value for POSTGRES_PASSWORD in {world.project}, and would leave it blank"
    )
    assert world.engine.ups() == []


# What keeps Compose from being used.


def test_no_compose_at_all(call: Call, world: World) -> None:
    world.engine.compose = ""
    assert failed(call, world).startswith(
        "There is no Compose on this machine: neither `docker compose` nor `docker-compose`"
    )


def test_an_owner_who_may_not_use_the_engine(call: Call, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    look = _project.look
    owner = User("maps", 4711, 4711, "/home/maps")
    monkeypatch.setattr(_project, "look", lambda directory: replace(look(directory), owner=owner))
    world.name_fragment()
    world.engine.closed_to = "maps"
    message = failed(call, world, restart="allowed")
    assert message.startswith(
        f"Compose is run as the owner of {world.project}, and maps may not use the engine: add that user"
    )
    world.engine.closed_to = ""
    assert call(world.engine, restart="allowed", recreate=True)["in_force"] is True
    assert {user for user, argv in zip(world.engine.users, world.engine.calls, strict=True) if "up" in argv} == {"maps"}


def test_a_service_that_left_the_file(call: Call, world: World) -> None:
    del world.engine.services["db"]
    message = failed(call, world)
    assert message.startswith(f"The Compose project in {world.project} has no service 'db'; there are: web.")


def test_an_error_of_compose_is_shown_without_what_it_quotes(call: Call, world: World) -> None:
    world.engine.refuses = (
        f'invalid interpolation format for services.db.environment.X.\nYou may need to escape: "${{{SECRET}"\n'
    )
    message = failed(call, world)
    assert f"Compose can't read the project in {world.project}: exit code 1." in message


def test_podman_compose_is_left_to_the_user(call: Call, world: World) -> None:
    """It sets Docker's labels and its own, and no oneoff."""
    del world.labels["com.docker.compose.oneoff"]
    world.labels.update({"io.podman.compose.project": "maps", "io.podman.compose.version": "1.0.3"})
    message = failed(call, world, restart="allowed", recreate=True)
    assert message.endswith(f"podman-compose -f docker-compose.yml -f {world.fragment} up -d --no-deps db")


# Which container is meant.


def test_a_container_without_compose(call: Call, world: World) -> None:
    world.told["Config"]["Labels"] = None
    world.told["Name"] = "/maps-db"
    options = {"compose": None, "container": "maps-db"}
    message = failed(call, world, **options)
    assert message.endswith(
        f"--volume {world.kit}:{world.kit} --volume {world.identity}:{world.identity}:ro --stop-timeout 120"
    )
    assert not world.fragment.exists()
    world.mount_kit()
    world.told["Config"]["StopTimeout"] = 120
    done = call(world.engine, **options)
    assert (done["in_force"], done["compose_file"], done["changed"]) == (True, None, False)
    assert call(world.engine, compose=None, container=world.told["Id"])["changed"] is False
    assert _placed.parse(world.record.read_text(), "it").container == "maps-db"


def test_podman_and_a_volume_without_a_name(call: Call, world: World) -> None:
    world.told = recorded("podman-4.3")
    world.engine.containers = [world.told]
    options = {"compose": None, "container": "maps-db", "engine": "podman"}
    name = world.told["Mounts"][0]["Name"]
    assert failed(call, world, **options).endswith(f"--stop-timeout 120 --volume {name}:/var/lib/postgresql/data")
    world.mount_kit()
    short, unnamed = call(world.engine, **options)["warnings"]
    assert short.startswith("podman stop gives the server in the container maps-db 10 s")
    assert f"on a volume without a name, {name}" in unnamed


def test_compose_hands_on_a_volume_without_a_name(call: Call, world: World) -> None:
    world.told["Mounts"][0]["Name"] = "5f" * 32
    world.engine.services["db"]["volumes"] = []
    world.name_fragment()
    (warning,) = call(world.engine, restart="allowed", recreate=True)["warnings"]
    assert warning.endswith(
        "`docker compose down` leaves it behind: name it in your compose file, as an external volume at /var/lib/postgresql/data."
    )
    again = {"type": "volume", "source": "old", "target": "/var/lib/postgresql/data"}
    world.engine.services["db"]["volumes"] = [again]
    world.engine.volumes = {"old": {"name": "5f" * 32, "external": True}}
    world.engine.containers[0]["Mounts"] = world.told["Mounts"][:1]
    assert call(world.engine, restart="allowed", recreate=True)["in_force"] is True


def test_a_container_of_compose_by_its_name(call: Call, world: World) -> None:
    message = failed(call, world, compose=None, container="maps-db-1")
    assert f"set walg_compose: {{project_dir: {world.project}, service: db}} in place of walg_container." in message
    world.mount_kit()
    assert call(world.engine, compose=None, container="maps-db-1")["in_force"] is True


@pytest.mark.parametrize("name", ["absent", "3f4e", "-x", "--help", "a b"])
def test_no_such_container(call: Call, world: World, name: str) -> None:
    """The beginning of an identifier is no name."""
    message = failed(call, world, compose=None, container=name)
    known = "there are: maps-db-1." if name in ("absent", "3f4e") else "is no container's name"
    assert known in message
    if name.startswith("-"):
        assert world.engine.calls == []


def test_a_beginning_that_several_identifiers_have(call: Call, world: World) -> None:
    second = recorded("docker-20.10")
    second.update(Id="3" + "7" * 63, Name="/web")
    world.engine.containers.append(second)
    assert "There is no container '3' on this machine; there are: maps-db-1, web." in failed(
        call, world, compose=None, container="3"
    )


def test_a_service_without_a_container(call: Call, world: World) -> None:
    message = failed(call, world, compose={**world.compose, "service": "dbb"})
    assert "The service 'dbb' of the Compose project" in message
    assert "services that have one there: db." in message


def test_a_project_that_was_renamed(call: Call, world: World) -> None:
    world.labels["com.docker.compose.project.working_dir"] = "/srv/before"
    assert "There is one that was made in /srv/before, which is gone" in failed(call, world)


def test_a_service_with_two_containers(call: Call, world: World) -> None:
    second = recorded("docker-20.10")
    second.update(Id="7" * 64, Name="/maps-db-2")
    second["Config"]["Labels"] = world.labels
    second["State"]["Status"] = "exited"
    world.engine.containers.append(second)
    assert "has 2 containers: maps-db-1 (running), maps-db-2 (exited)." in failed(call, world)


def test_a_container_of_compose_run_is_not_the_service(call: Call, world: World) -> None:
    second = recorded("docker-20.10")
    second.update(Id="7" * 64, Name="/maps-db-run-1")
    second["Config"]["Labels"] = {**world.labels, "com.docker.compose.oneoff": "True"}
    world.engine.containers.append(second)
    world.mount_kit()
    assert call(world.engine)["container"]["name"] == "maps-db-1"


def test_an_engine_that_does_not_answer(call: Call, world: World) -> None:
    world.engine.alive = False
    message = failed(call, world)
    assert message.startswith("The engine does not answer (docker: Cannot connect to the Docker daemon at")
    assert "Start it (systemctl start docker)" in message


@pytest.mark.parametrize("status", ["paused", "restarting", "exited", "created"])
@pytest.mark.parametrize("purpose", ["backup", "restore"])
def test_a_container_that_does_not_run(call: Call, world: World, status: str, purpose: str) -> None:
    world.told["State"].update(Status=status, Pid=0)
    world.mount_kit()
    if purpose == "restore" and status in ("exited", "created"):
        assert call(world.engine, purpose=purpose)["container"]["status"] == status
    else:
        assert failed(call, world, purpose=purpose).startswith(f"The container maps-db-1 is {status}. ")


# What is mounted.


def on_tmpfs(told: dict[str, Any]) -> None:
    told["Mounts"] = []
    told["HostConfig"]["Tmpfs"] = {"/var/lib/postgresql": "size=1g"}


def on_nothing(told: dict[str, Any]) -> None:
    told["Mounts"] = []


def by_argument(told: dict[str, Any]) -> None:
    told["Config"]["Cmd"] = ["postgres", "-D", "/pg/data"]


def by_setting(told: dict[str, Any]) -> None:
    told["Config"]["Cmd"] = ["postgres", "-c", "data_directory=/pg/data"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            on_tmpfs,
            "The data directory /var/lib/postgresql/data of the container maps-db-1 is in memory (tmpfs at /var/lib/postgresql)",
        ),
        (on_nothing, "The data directory /var/lib/postgresql/data of the container maps-db-1 is on no volume"),
        (by_argument, "The data directory /pg/data of the container maps-db-1 is on no volume"),
        (by_setting, "The data directory /pg/data of the container maps-db-1 is on no volume"),
    ],
)
def test_data_that_does_not_outlive_the_container(call: Call, world: World, change: Any, message: str) -> None:
    change(world.told)
    world.mount_kit()
    assert failed(call, world).startswith(message)


def test_a_data_directory_that_is_given(call: Call, world: World) -> None:
    world.mount_kit()
    assert failed(call, world, data_dir="/elsewhere").startswith("The data directory /elsewhere of the container")


def test_a_volume_that_is_in_memory(call: Call, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.mount_kit()
    table = (
        "22 1 0:20 / / rw - overlay overlay rw\n"
        "23 22 0:21 / /var/lib/postgresql/data rw,relatime shared:1 - tmpfs tmpfs rw\n"
        "24 22 0:22 / /tmp rw - ext4 /dev/sda1 rw\n"
    )
    monkeypatch.setattr(_container_check, "read_text", lambda path, *_of: table if path.endswith("mountinfo") else "")
    assert "is in memory" in failed(call, world)


def test_a_layout_of_postgresql_18(call: Call, world: World) -> None:
    world.told["Config"]["Env"] = ["PGDATA=/var/lib/postgresql/18/docker"]
    world.told["Mounts"][0]["Destination"] = "/var/lib/postgresql"
    world.mount_kit()
    assert call(world.engine)["in_force"] is True


@pytest.mark.parametrize("tmpfs", [None, {"/tmp": ""}])
def test_a_read_only_root_needs_a_tmp(call: Call, world: World, tmpfs: dict[str, str] | None) -> None:
    world.told["HostConfig"].update(ReadonlyRootfs=True, Tmpfs=tmpfs)
    world.mount_kit()
    if tmpfs:
        assert call(world.engine)["in_force"] is True
    else:
        assert "--tmpfs /tmp, or in its compose file: tmpfs: [/tmp]." in failed(call, world)


def test_a_kit_that_can_only_be_read(call: Call, world: World) -> None:
    world.mount_kit(writable=False)
    assert f"has the kit {world.kit} read-only" in failed(call, world)


def test_something_else_in_the_kits_place(call: Call, world: World) -> None:
    source = "/run/desktop/mnt/host/wsl/docker-desktop-bind-mounts/Debian/4d9e39410bba"
    world.told["Mounts"].append(bind(source, str(world.kit)))
    assert f"has {source} at {world.kit}, where the machine's own {world.kit} should be." in failed(call, world)


def test_the_kit_of_another_instance(call: Call, world: World) -> None:
    other = str(world.kit_dir / "maps" / "kit")
    world.told["Mounts"].append(bind(other, other))
    message = failed(call, world)
    assert f"has the kit of the instance 'maps' ({other}). Set walg_instance: maps" in message
    world.told["Mounts"][-1] = bind(other, str(world.kit))
    assert "has the kit of the instance 'maps'" in failed(call, world)


@pytest.mark.parametrize("by_name", [False, True])
def test_a_container_of_another_instance(call: Call, world: World, by_name: bool) -> None:
    world.mount_kit()
    options = {"compose": None, "container": "maps-db-1"} if by_name else {}
    call(world.engine, **options)
    message = failed(call, world, instance="second")
    assert f"is that of the instance 'main' already ({world.record})." in message


def test_a_kit_does_not_move(call: Call, world: World) -> None:
    world.mount_kit()
    call(world.engine)
    message = failed(call, world, kit_dir=str(world.kit_dir / "more"))
    assert message.startswith(f"The kit of the instance 'main' is {world.kit}. Set walg_kit_dir: {world.kit_dir}, or")


def test_an_instance_does_not_move_to_another_container(call: Call, world: World) -> None:
    world.mount_kit()
    call(world.engine)
    second = recorded("docker-20.10")
    second.update(Id="7" * 64, Name="/second")
    second["Config"]["Labels"] = {}
    world.engine.containers.append(second)
    options = {"compose": None, "container": "second"}
    assert f"The instance 'main' is that of the service db in {world.project}, which has its kit." in failed(
        call, world, **options
    )
    assert call(world.engine, compose=None, container="maps-db-1")["in_force"] is True  # the same one by its name
    world.engine.containers.pop(0)
    assert "in addition: --volume" in failed(call, world, **options)


def test_a_record_that_is_damaged_is_written_again(call: Call, world: World) -> None:
    world.mount_kit()
    call(world.engine)
    text = world.record.read_text()
    world.record.write_text("{}")
    assert call(world.engine)["changed"] is True
    assert world.record.read_text() == text


# What is given.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"container": "db"}, "Both walg_container and walg_compose are given."),
        ({"compose": None}, "Neither walg_container nor walg_compose is given."),
        ({"compose": {"service": "db"}}, "walg_compose lacks project_dir."),
        ({"compose": {"project_dir": "/srv/maps"}}, "walg_compose lacks service."),
        (
            {"compose": {"project_dir": "maps", "service": "db"}},
            "project_dir in walg_compose is 'maps', a relative path.",
        ),
        (
            {"compose": {"project_dir": "/srv/no/such", "service": "db"}},
            "project_dir in walg_compose is /srv/no/such: No such file",
        ),
        ({"compose": {"project_dir": "/etc", "service": "db"}}, "There is no compose file in /etc"),
        ({"compose": {"project_dir": "/dev/null", "service": "db"}}, "/dev/null, which is no directory."),
        ({"config_dir": "a\0b"}, "The option config_dir holds a line break or another control character"),
        ({"compose": {"project": "/srv/maps"}}, "compose.project. Supported parameters include: project_dir, service."),
        ({"kit_dir": "/opt/a:b"}, "walg_kit_dir is /opt/a:b."),
        ({"kit_dir": "kits"}, "walg_kit_dir is 'kits', a relative path."),
        ({"instance": "A"}, "Instance name 'A' is not allowed"),
        ({"stop_grace": 1}, "The option stop_grace is 1."),
    ],
)
def test_options_that_can_not_be_meant(call: Call, world: World, options: dict[str, Any], message: str) -> None:
    answer = call(world.engine, **options)
    assert answer["failed"] is True
    assert message in answer["msg"]
    assert not world.config_dir.exists()


def test_no_engine_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(_engine.WalgError, match="There is no docker and no podman on this machine"):
        _engine.program()
    with pytest.raises(_engine.WalgError, match="There is no podman on this machine"):
        _engine.program("podman")


# Away again.


def test_away_again(call: Call, world: World) -> None:
    world.name_fragment()
    done = call(world.engine, restart="allowed", recreate=True)
    assert done["in_force"] is True
    (world.kit / "state").mkdir()
    kept = call(world.engine, state="absent")
    assert (kept["changed"], world.record.exists()) == (False, True)
    assert kept["advice"].startswith(
        f"{world.kit} is kept, since the service db in {world.project} needs it: remove COMPOSE_FILE from"
    )
    assert kept["warnings"] == [kept["advice"]]
    world.env_file.write_text("")
    kept = call(world.engine, state="absent")
    assert f"has it mounted: then recreate the container, and run this again: cd {world.project}" in kept["advice"]
    made = world.engine.containers[0]
    made["Mounts"] = [one for one in made["Mounts"] if one["Destination"] != str(world.kit)]
    foretold = call(world.engine, check=True, state="absent")
    assert (foretold["changed"], world.kit.exists()) == (True, True)
    gone = call(world.engine, state="absent")
    assert (gone["changed"], gone["diff"]) == (True, foretold["diff"])
    assert not world.kit_dir.exists()
    assert not world.record.exists()
    assert call(world.engine, state="absent")["changed"] is False


def test_away_where_other_files_are_left_in_the_line(call: Call, world: World) -> None:
    (world.project / "prod.yml").write_text("services: {}\n")
    call(world.engine)
    world.env_file.write_text(f"COMPOSE_FILE=prod.yml:{world.fragment}\n")
    assert "to this: COMPOSE_FILE=prod.yml; then" in call(world.engine, state="absent")["advice"]


def test_away_when_the_container_is_gone(call: Call, world: World) -> None:
    call(world.engine)
    world.engine.containers.clear()
    assert call(world.engine, state="absent")["changed"] is True
    assert not world.record.exists()


def test_nothing_goes_while_it_is_not_known_which_container_has_it(call: Call, world: World) -> None:
    call(world.engine)
    second = recorded("docker-20.10")
    second.update(Id="7" * 64, Name="/maps-db-2")
    second["Config"]["Labels"] = world.labels
    world.engine.containers.append(second)
    assert "has 2 containers" in failed(call, world, state="absent")
    world.engine.containers.pop()
    world.labels["com.docker.compose.project.working_dir"] = "/srv/before"
    assert "which is gone" in failed(call, world, state="absent")
    assert world.record.exists()


def test_nothing_goes_while_the_engine_is_silent(call: Call, world: World) -> None:
    call(world.engine)
    world.engine.alive = False
    assert "The engine does not answer" in failed(call, world, state="absent")
    assert world.record.exists()
