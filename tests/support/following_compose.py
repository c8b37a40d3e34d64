# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who uses a project of examples/compose with the page about containers, on the machine that is the controller, too."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from support.container_world import STORAGE, ContainerWorld, docker
from support.following import Follower
from support.pages import CHECKOUT, Page

SITE = "mapswipe.walg.site"
RESTORE = "-e walg_restore_request=$REQUEST\n"


class Reader(Follower):
    """Somebody with the page. ``example``: the name of the project, which is laid out with the world's password."""

    def __init__(self, world: ContainerWorld, example: str) -> None:
        self.world, self.example = world, CHECKOUT / "examples" / "compose" / example
        plain = f"{world.project.name}_plain"  # by this name the world removes it
        options = [f"--env=POSTGRES_PASSWORD={world.password}", f"--volume={plain}:{world.image.mount}"]
        values = {
            "INVENTORY": str(world.sandbox.control / "inventory.yml"),
            "PROJECT": str(world.project),
            "SERVICE": world.service,
            "KIT": str(world.kit_dir),
            "NAME": plain,
            "IMAGE": world.image.tag,
            "OPTIONS": shlex.join([*options, f"--volume={world.root / 'plain'}:{STORAGE}"]),
        }
        super().__init__(Page(CHECKOUT / "docs" / "containers.md"), world.sandbox, values)
        env = (self.example / ".env.example").read_text(encoding="utf-8")
        (world.project / ".env").write_text(env.replace("change-me", world.password), encoding="utf-8")

    @property
    def env_file(self) -> str:
        """What the project's .env says now."""
        return (self.world.project / ".env").read_text(encoding="utf-8")

    def compose_file(self) -> dict[str, Any]:
        """Return the example's compose file."""
        found: dict[str, Any] = yaml.safe_load((self.example / "docker-compose.yml").read_text(encoding="utf-8"))
        return found

    def write(self, compose_file: dict[str, Any]) -> None:
        """Have this as the project's compose file."""
        (self.world.project / "docker-compose.yml").write_text(yaml.safe_dump(compose_file), encoding="utf-8")

    def write_inventory(self, shown: dict[str, Any], without: Sequence[str] = (), **more: Any) -> None:
        """Write an inventory with the places here, but for some variables."""
        found, world = copy.deepcopy(shown), self.world
        here = {**world.variables(), "walg_kit_dir": str(world.kit_dir)}
        here["walg_compose"] = {"project_dir": str(world.project), "service": world.service}
        given = {**found["walg"]["vars"], **here, **more}
        given |= {"ansible_become": False, "ansible_connection": "local"}
        given["ansible_python_interpreter"] = "{{ ansible_playbook_python }}"
        found["walg"]["vars"] = {name: value for name, value in given.items() if name not in without}
        Path(self.values["INVENTORY"]).write_text(yaml.safe_dump(found), encoding="utf-8")

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PATH": f"{super().environment()['PATH']}:/usr/local/sbin"}

    def rejected(self, words: str, **values: str) -> str:
        """Run a block that the page says fails; return what it said."""
        done = self.sandbox.run(self.argv(words, **values), env=self.environment())
        assert done.returncode != 0, done.stdout
        return done.stdout

    def add_the_line(self) -> None:
        """The first run changes no container and shows the line for .env, which is that of page and example. Add it."""
        before = self.world.started()
        said = self.rejected(SITE)
        assert self.world.started() == before
        self.follow("COMPOSE_FILE=docker")
        line = self.env_file.splitlines()[-1]
        assert line in said
        usual = line.replace(str(self.world.kit_dir), "/opt/mapswipe-walg")
        assert f"#{usual}\n" in (self.example / ".env.example").read_text(encoding="utf-8")

    def lose(self) -> list[str]:
        """Take in a new row and ship it; then container and volume are gone. Return the rows."""
        world = self.world
        world.sql("INSERT INTO ledger SELECT max(id) + 1, 'new' FROM ledger")
        world.ship()
        rows = world.rows("ledger")
        world.compose("rm", "--stop", "--force", world.service)
        docker("volume", "rm", f"{world.project.name}_data")
        return rows
