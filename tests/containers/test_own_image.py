# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/compose/own-image: an image with WAL-G in it archives by itself to Google Cloud Storage; then the collection takes it over."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable, Iterator

import images
import pytest
import yaml
from locations import VERSIONS, tools_dir
from support.container_world import ContainerWorld, docker
from support.following_compose import RESTORE, SITE, Reader
from support.gcs_host import BUCKET, HOSTS
from support.pages import CHECKOUT

ARCHIVE = f"/srv/objects/{BUCKET}/maps"
#: It is with the certificate of the storage here in place of a package from elsewhere that the image is built.
_INSTALLS = "RUN apt-get"


def storage(world: ContainerWorld) -> str:
    """Start a container that is Google's storage for the project's network; return its name."""
    name = f"{world.project.name}_gcs"
    mounts = {
        tools_dir() / "hosts": "/srv/run",
        tools_dir() / "gcs" / "fake-gcs-server": "/srv/fake-gcs-server",
        CHECKOUT / "tests" / "support": "/srv/tests/support",
    }
    flags = [f"--volume={source}:{target}:ro" for source, target in mounts.items()]
    flags += [f"--network-alias={host}" for host in HOSTS] + [f"--network={world.project.name}_default"]
    image = images.ensure(VERSIONS["official"][str(world.image.major)]["host"])
    argv = ["--name", name, *flags, "--env=PYTHONPATH=/srv/tests", image]
    docker("run", "--detach", *argv, "python3", "-m", "support.gcs_host", "/srv/run")
    return name


def build(reader: Reader, tag: str) -> None:
    """Build the example's image from the one here."""
    context = reader.world.root / "image"
    context.mkdir()
    shutil.copy(reader.world.walg, context / "wal-g")
    shutil.copy(tools_dir() / "hosts" / "ca.crt", context)
    text = (reader.example / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if not line.startswith(_INSTALLS)]
    assert lines[-2:] == ["FROM postgres:16", "COPY wal-g /usr/local/bin/wal-g"]
    lines[-2:-1] = [f"FROM {reader.world.image.tag}", "COPY ca.crt /etc/ssl/certs/ca-certificates.crt"]
    (context / "Dockerfile").write_text("\n".join(lines), encoding="utf-8")
    os.environ["DOCKER_BUILDKIT"] = "0"
    docker("build", "--force-rm", "--tag", tag, context)


@pytest.fixture(scope="module")
def reader(make_world: Callable[..., ContainerWorld]) -> Iterator[Reader]:
    """Somebody with such an image, which archives by its own command line."""
    world = make_world()
    made, tag = Reader(world, "own-image"), f"maps-postgres-{world.suffix}"
    build(made, tag)
    env = made.env_file.replace("gs://example-backups", f"gs://{BUCKET}")
    (world.project / ".env").write_text(env, encoding="utf-8")
    key = world.project / "serviceAccountKey.json"
    shutil.copy(tools_dir() / "hosts" / key.name, key)
    os.chown(key, *world.setup.owner)
    key.chmod(0o400)
    project = made.compose_file()
    project["services"]["db"] |= {"image": tag}
    before = copy.deepcopy(project)
    before["services"]["db"]["command"] += ["-c", "archive_command=wal-g wal-push %p"]
    made.write(before)
    world.compose("create", "--no-build")
    gcs = storage(world)
    world.up()
    yield made
    docker("rm", "--force", gcs, check=False)
    world.compose("down", "--volumes", check=False)
    docker("image", "rm", "--force", tag, check=False)


def base_backups(reader: Reader) -> int:
    found = docker("exec", f"{reader.world.project.name}_gcs", "find", ARCHIVE, "-type", "f")
    return found.count("stop_sentinel")


def test_it_is_taken_over(reader: Reader) -> None:
    world = reader.world
    world.sql("CREATE TABLE ledger AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 500) g")
    done = world.run_inside("sh", "-c", "PGHOST=/var/run/postgresql wal-g backup-push $PGDATA")
    assert done.returncode == 0, done.stderr
    world.ship()
    assert base_backups(reader) == 1
    inventory = yaml.safe_load((reader.example / "inventory.yml").read_text(encoding="utf-8"))
    left = ["walg_storage", "walg_binary_src", "walg_binary_checksum", "walg_backup_archive_timeout"]
    reader.write_inventory(inventory, without=left)
    now = reader.compose_file()
    now["services"]["db"]["image"] = f"maps-postgres-{world.suffix}"
    reader.write(now)
    reader.add_the_line()
    world.compose("up", "-d")
    world.wait()
    reader.follow(SITE)
    assert "/kit/lib/wal-push" in world.sql("SHOW archive_command")
    world.ship()
    assert "changed=0 " in reader.follow(SITE)
    assert not list((world.kit_dir / "main" / "kit" / "bin").glob("wal-g*"))


def test_its_archive_brings_every_row_back(reader: Reader) -> None:
    world = reader.world
    assert base_backups(reader) == 1, "the one that was taken by hand is enough"
    rows = reader.lose()
    reader.follow("up --no-start")
    reader.follow(RESTORE)
    world.wait()
    assert world.rows("ledger") == rows
    assert base_backups(reader) == 2
    assert world.helpers() == []
