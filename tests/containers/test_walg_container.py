# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_container on a real engine: its lines and commands work as they are shown, and what can't work is told."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from support.container_world import ContainerWorld, Image, docker, inspected

NOBODY = 65534


class Machine:
    """A Compose project with a server, and the module for it."""

    def __init__(self, world: ContainerWorld) -> None:
        self.world, self.base = world, world.kit_dir / "main"
        directories = world.sandbox.directories()
        self.options = {
            "kit_dir": str(world.kit_dir),
            "config_dir": directories["walg_config_dir"],
            "program_dir": directories["walg_program_dir"],
        }
        self.compose = {"project_dir": str(world.project), "service": world.service}
        self.line = f"COMPOSE_FILE=docker-compose.yml:{self.base}.compose.yml"

    def __call__(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """Return the module's answer, in which no password is."""
        answer = self.world.sandbox.module("walg_container", {**self.options, **options}, check=check)
        assert self.world.password not in json.dumps(answer)
        return answer

    def refused(self, **options: Any) -> str:
        """Return the sentence with which it fails."""
        answer = self(**options)
        assert answer.get("failed"), answer
        return str(answer["msg"])

    def typed(self, command: str) -> None:
        """Do what a message shows, as a person pastes it."""
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def machine(make_world: Callable[..., ContainerWorld]) -> Machine:
    world = make_world()
    world.up()
    return Machine(world)


@pytest.fixture
def run(machine: Machine, image: Image) -> Iterator[Callable[..., str]]:
    """Runs a container of the image without a server; returns its name."""
    made: list[str] = []

    def start(*arguments: str) -> str:
        made.append(f"{machine.world.project.name}-{len(made)}")
        docker("run", "--detach", "--name", made[-1], *arguments, "--entrypoint", "sleep", image.tag, "infinity")
        return made[-1]

    yield start
    for name in made:
        docker("rm", "--force", "--volumes", name, check=False)


def test_from_the_line_to_the_kit_and_away(machine: Machine) -> None:
    world, compose = machine.world, machine.compose
    before = inspected(world.container)
    message = machine.refused(compose=compose, restart="allowed")
    assert message.endswith(f": {machine.line}")
    world.write_env(machine.line)
    message = machine.refused(compose=compose)
    command = message.rpartition("do it yourself: ")[2]
    assert inspected(world.container)["Id"] == before["Id"]
    for check in (True, False):
        answer = machine(compose=compose, restart="allowed", check=check)
        assert (answer["changed"], answer["needs_recreate"]) == (False, True)
    answer = machine(compose=compose, restart="allowed", recreate=True)
    assert (answer["changed"], answer["in_force"], answer["container"]["image"]) == (True, True, world.image.tag)
    after = inspected(world.container)
    assert (after["Id"] != before["Id"], after["Image"], after["Config"]["StopTimeout"]) == (True, before["Image"], 120)
    assert world.sql("SELECT 1") == "1"
    machine.typed(command)  # which changes nothing any more
    again = machine(compose=compose, restart="allowed", recreate=True)
    assert (again["changed"], inspected(world.container)["Id"]) == (False, after["Id"])

    advice = machine(compose=compose, state="absent")["advice"]
    world.write_env()
    advice = machine(compose=compose, state="absent")["advice"]
    assert machine.base.exists()
    machine.typed(advice.rpartition("run this again: ")[2])
    assert machine(state="absent")["changed"] is True
    assert not machine.base.exists()
    assert world.sql("SELECT 1") == "1"


def test_a_stopped_service_is_recreated_and_stays_stopped(machine: Machine) -> None:
    world, compose = machine.world, machine.compose
    machine.refused(compose=compose)
    world.write_env(machine.line)
    docker("stop", world.container)
    assert "is exited. Start it" in machine.refused(compose=compose, restart="allowed", recreate=True)
    answer = machine(compose=compose, restart="allowed", recreate=True, purpose="restore")
    assert (answer["in_force"], world.status()) == (True, "created")
    world.up()


def test_a_symbolic_link_and_files_given_with_f(machine: Machine) -> None:
    """docker/compose 12026 and 9399."""
    world = machine.world
    link = world.root / "link"
    link.symlink_to(world.project)
    through = {**machine.compose, "project_dir": str(link)}
    assert machine(compose=through)["in_force"] is True
    world.write_env()
    argv = ["docker", "compose", "--project-name", world.project.name, "up", "--detach"]
    subprocess.run(argv, cwd=link, env={**os.environ, "PWD": str(link)}, capture_output=True, check=True)
    world.wait()
    assert machine.refused(compose=machine.compose, restart="allowed").endswith(machine.line)
    more = world.root / "more.yml"
    more.write_text(json.dumps({"services": {world.service: {"labels": {"more": "yes"}}}}))
    names = [str(world.project / "docker-compose.yml"), str(more)]
    world.compose(*(word for name in names for word in ("-f", name)), "up", "--detach")
    world.wait()
    message = machine.refused(compose=machine.compose, restart="allowed")
    machine.typed(message.rpartition(f"{machine.base}.compose.yml: ")[2])
    world.wait()
    answer = machine(compose=machine.compose)
    assert (answer["in_force"], inspected(world.container)["Config"]["Labels"]["more"]) == (True, "yes")
    machine.world.write_env(machine.line)
    world.up()


def test_an_owner_of_the_project_who_may_not_use_the_engine(machine: Machine) -> None:
    world = machine.world
    owned = [world.project, world.project / ".env"]
    world.write_env()
    world.compose("up", "--detach")
    world.wait()
    try:
        for path in owned:
            os.chown(path, NOBODY, NOBODY)
        message = machine.refused(compose=machine.compose, restart="allowed", recreate=True)
    finally:
        for path in owned:
            os.chown(path, 0, 0)
    assert "may not use the engine: add that user to the group docker, or give the directory to root." in message
    world.write_env(machine.line)
    world.project.chmod(0o777)
    try:
        message = machine.refused(compose=machine.compose, restart="allowed", recreate=True)
    finally:
        world.project.chmod(0o755)
    assert f"Compose acts by its files: {world.project} can be written by everybody." in message
    assert "Or recreate the container yourself: cd " in message
    world.up()


def test_two_containers_of_a_service(machine: Machine) -> None:
    world = machine.world
    world.compose("create", "--no-recreate", "--scale", f"{world.service}=2")
    message = machine.refused(compose=machine.compose)
    world.compose("create", "--no-recreate", "--scale", f"{world.service}=1")
    assert "has 2 containers: " in message
    assert "(created)" in message


def test_names_that_nothing_has(machine: Machine) -> None:
    name = machine.world.project.name
    message = machine.refused(container="no-such")
    assert "There is no container 'no-such' on this machine; there are: " in message
    assert f"{name}-db-1" in message
    assert "services that have one there: db." in machine.refused(compose={**machine.compose, "service": "web"})
    identifier = inspected(machine.world.container)["Id"]
    assert "There is no container" in machine.refused(container=identifier[:4])
    assert machine(container=identifier[:12])["container"]["id"] == identifier


DATA = "/var/lib/postgresql/data"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tmpfs", DATA], "is in memory (tmpfs at /var/lib/postgresql/data)"),
        (["--mount", f"type=volume,dst={DATA},volume-opt=type=tmpfs,volume-opt=device=tmpfs"], "is in memory"),
        (["--env", "PGDATA=/srv/data"], "The data directory /srv/data of the container"),
        (["--read-only"], "The root file system of the container"),
        (["--volume", "{kit_dir}/other/kit:{kit_dir}/other/kit"], "has the kit of the instance 'other'"),
        (["--volume", "{kit}:{kit}:ro"], "read-only, but keeps its state there"),
        (["--tmpfs", "{kit}"], "has tmpfs at "),
        ([], "create it as before with these flags in addition: --volume {kit}:{kit} --volume /etc/machine-id:"),
    ],
)
def test_a_container_that_can_not_be_served(
    machine: Machine, run: Callable[..., str], arguments: Sequence[str], message: str
) -> None:
    kit_dir = machine.world.kit_dir
    places = {"kit_dir": kit_dir, "kit": kit_dir / "second" / "kit"}
    name = run(*(word.format(**places) for word in arguments))
    assert message.format(**places) in machine.refused(container=name, instance="second")


def test_a_container_that_can_be_served_by_the_flags_that_are_shown(machine: Machine, run: Callable[..., str]) -> None:
    options: dict[str, Any] = {"instance": "second", "stop_grace": 60}
    flags = machine.refused(container=run(), **options).rpartition("in addition: ")[2].split()
    name = run(*(word if word.startswith("--") or word.isdigit() else word.rstrip(".") for word in flags))
    answer = machine(container=name, **options)
    assert (answer["in_force"], answer["compose_file"]) == (True, None)
    docker("pause", name)
    assert f"is paused. Let it run again: docker unpause {name}" in machine.refused(container=name, **options)
    docker("unpause", name)
    assert "is that of the instance 'second' already" in machine.refused(container=name, instance="third")
    docker("rm", "--force", name)
    assert machine(state="absent", instance="second")["changed"] is True
