# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images in the shape of Docker's official one of PostgreSQL: no Python, no cron, no CA certificates, an entry that runs initdb.

Each is made by the engine from the image of a host (see images.py) in seconds, and from nothing else: no image registry is asked.
Its tag carries the digest of what it is made from.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import images
from locations import HERE, VERSIONS, tools_dir
from parts import pg_part, run

_FILES = ("Dockerfile", "docker-entrypoint.sh")
_MOVED = 18  # from this major version on, the data directory lies in a folder of its own
_RECIPES = VERSIONS["official"]


@dataclass(frozen=True)
class Official:
    """An image, the major version of its PostgreSQL, its data directory and where its volume is."""

    tag: str
    major: int
    data_dir: str
    mount: str


def majors() -> list[int]:
    """Return the major versions that there are recipes for."""
    return [int(one) for one in _RECIPES]


def ensure(major: int) -> Official:
    """Make the image of a major version if the engine lacks it. Raises ToolError.

    Where the host that it is made from can't be had, it has the PostgreSQL of the one that stands in for that.
    """
    recipe = _RECIPES[str(major)]
    host = images.ensure(recipe["host"])
    own_server = "npm_postgres" in recipe
    image = _official(host, major if own_server else images.major(host))
    folder = tools_dir() / "images"
    with (folder / "official.lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if subprocess.run(["docker", "image", "inspect", image.tag], capture_output=True, check=False).returncode:
            with tempfile.TemporaryDirectory(dir=folder, prefix="build.official.") as scratch:
                _build(Path(scratch), host, image, own_server)
    return image


def _official(host: str, major: int) -> Official:
    """Return what the image made from a host's is."""
    mount = "/var/lib/postgresql" if major >= _MOVED else "/var/lib/postgresql/data"
    data_dir = f"{mount}/{major}/docker" if major >= _MOVED else mount
    digest = hashlib.sha256(f"{host} {major}".encode())
    for path in (*(HERE / "official" / name for name in _FILES), Path(__file__)):
        digest.update(path.read_bytes())
    return Official(f"mapswipe-walg-official:{major}-{digest.hexdigest()[:12]}", major, data_dir, mount)


def _build(context: Path, host: str, image: Official, own_server: bool) -> None:
    """Have the engine make the image from a folder with the files that go into it."""
    for name in _FILES:
        shutil.copy(HERE / "official" / name, context)
    (context / "server").mkdir()
    if own_server:
        part = pg_part(image.major)
        if not part.current():
            part.make()
        images.copy_server(image.major, context / "server")
    arguments = {"HOST": host, "MAJOR": image.major, "PGDATA": image.data_dir, "MOUNT": image.mount}
    words = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    run("images", ["docker", "build", "--force-rm", "--tag", image.tag, *words, context], env={"DOCKER_BUILDKIT": "0"})
