# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cycle on Podman, without Compose, where the machine has Podman and it can run a container: the flags, archived, lost, restored."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.container_world import STORAGE, ContainerWorld, Image
from support.restoring import until


def podman(*arguments: str | Path, check: bool = True) -> str:
    """Return what Podman says. ``check``: it has to succeed."""
    argv = ["podman", *(str(one) for one in arguments)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0 or not check, f"{argv}: {done.stdout}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def tag(image: Image) -> Iterator[str]:
    """The image, handed over by Docker."""
    if shutil.which("podman") is None:
        pytest.skip("this machine has no podman")
    name = f"localhost/{image.tag}"
    with subprocess.Popen(["docker", "save", image.tag], stdout=subprocess.PIPE) as saved:
        subprocess.run(["podman", "load", "--quiet"], stdin=saved.stdout, capture_output=True, check=True)
    try:
        tried = podman("run", "--rm", "--entrypoint=true", name, check=False)
        if tried:
            pytest.skip(f"podman can't run a container here: {tried.splitlines()[-1]}")
        yield name
    finally:
        podman("image", "rm", "--force", name, check=False)


class Plain:
    """A server by `podman run`, and somebody who does what the plays show."""

    def __init__(self, world: ContainerWorld, tag: str) -> None:
        self.world, self.tag, self.name = world, tag, f"maps-{world.suffix}"
        self.options = [f"--volume={self.name}:{world.image.mount}", f"--volume={world.root / 'storage'}:{STORAGE}"]

    def run(self, *flags: str) -> None:
        """Create the container, again if it is there."""
        podman("rm", "--force", "--ignore", self.name)
        secret = f"--env=POSTGRES_PASSWORD={self.world.password}"
        podman("run", "--detach", f"--name={self.name}", secret, *self.options, *flags, self.tag)
        self.wait()

    def sql(self, text: str, *, check: bool = True) -> str:
        words = ["psql", "-XAtq", "-h", "/var/run/postgresql", "-c", text]
        return podman("exec", "--user=postgres", self.name, *words, check=check)

    def wait(self) -> None:
        """Wait for the server itself: the one of initdb is not process 1."""
        until(lambda: podman("exec", self.name, "cat", "/proc/1/comm", check=False) == "postgres")
        until(lambda: self.sql("SELECT pg_is_in_recovery()", check=False) == "f")

    def variables(self, **more: Any) -> dict[str, Any]:
        given = self.world.variables(walg_container=self.name, walg_container_engine="podman", **more)
        return {name: value for name, value in given.items() if name != "walg_compose"}

    def close(self) -> None:
        podman("rm", "--force", "--ignore", f"{self.name}-walg", self.name)
        podman("volume", "rm", "--force", self.name, check=False)


@pytest.fixture(scope="module")
def plain(make_world: Callable[..., ContainerWorld], tag: str) -> Iterator[Plain]:
    made = Plain(make_world(), tag)
    try:
        made.run()
        yield made
    finally:
        made.close()


def test_the_cycle(plain: Plain) -> None:
    sandbox = plain.world.sandbox
    plain.sql("CREATE TABLE ledger AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 300) g")
    message = sandbox.play("mapswipe.walg.site", plain.variables(walg_backup_restart="allowed")).failure()
    flags = shlex.split(message.rpartition("in addition: ")[2].splitlines()[0].rstrip("."))
    assert "--stop-timeout" in flags
    plain.run(*flags)
    play = sandbox.play("mapswipe.walg.site", plain.variables(walg_backup_restart="allowed"))
    assert play.rc == 0, play.stdout
    play = sandbox.play("mapswipe.walg.site", plain.variables())
    assert (play.rc, play.changed()) == (0, []), play.stdout
    plain.sql("INSERT INTO ledger SELECT g, md5(g::text) FROM generate_series(301, 400) g")
    segment = plain.sql("SELECT pg_walfile_name(pg_logical_emit_message(false, 'test', 'ship'))")
    plain.sql("SELECT pg_switch_wal()")
    until(lambda: plain.sql("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver") >= segment)
    rows = plain.sql("TABLE ledger")
    podman("kill", plain.name)
    lost = Path(podman("volume", "inspect", "--format={{.Mountpoint}}", plain.name))
    for path in lost.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    arguments = ["-e", "walg_hosts=walg"]
    play = sandbox.play("mapswipe.walg.restore", plain.variables(walg_restore_request="lost"), *arguments)
    assert play.rc == 0, play.stdout
    plain.wait()
    assert plain.sql("TABLE ledger") == rows
    assert podman("ps", "--all", "--quiet", "--filter", f"name={plain.name}-walg") == ""
