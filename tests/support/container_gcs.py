# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of the engine's in which a container is storage.googleapis.com, as molecule's hosts have it (gcs_host.py)."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from support.container_world import docker
from support.gcs_host import BUCKET, HOSTS
from support.restoring import until
from support.sandbox import CHECKOUT

#: What hosts.py hands on: the image of a host, which has Python.
IMAGE = "WALG_IMAGE"
KEY = "serviceAccountKey.json"


class GoogleNetwork:
    """The network and its storage, named by a suffix. ``files``: where its certificates and keys lie."""

    def __init__(self, tools: dict[str, Any]) -> None:
        suffix = secrets.token_hex(3)
        self.name, self.server = f"net-walg-{suffix}", f"gcs-walg-{suffix}"
        self.folder = Path("/opt") / f"mapswipe-walg-tests-{suffix}"  # tells the next run what a killed one left
        self.folder.mkdir(mode=0o700)
        made = self.files = Path(tools["tools_dir"]) / "hosts"
        docker("network", "create", self.name)
        aliases = [f"--network-alias={host}" for host in HOSTS]
        mounts = {
            made: "/srv/run",
            tools["gcs_server"]: "/srv/fake-gcs-server",
            CHECKOUT / "tests" / "support": "/srv/tests/support",
        }
        volumes = [f"--volume={source}:{target}:ro" for source, target in mounts.items()]
        options = ["--detach", f"--name={self.server}", f"--network={self.name}", "--env=PYTHONPATH=/srv/tests"]
        command = ["python3", "-m", "support.gcs_host", "/srv/run"]
        docker("run", *options, *aliases, *volumes, os.environ[IMAGE], *command)
        until(
            lambda: docker("exec", self.server, "sh", "-c", f"test -d {self.bucket} && echo yes", check=False) == "yes"
        )

    @property
    def bucket(self) -> str:
        """Return the bucket's folder in the server's container."""
        return f"/srv/objects/{BUCKET}"

    def key(self) -> str:
        """Return the content of the key file of an account that may write."""
        return (self.files / KEY).read_text(encoding="ascii")

    def stored(self, folder: str) -> list[str]:
        """Return the names of the objects below a folder of the bucket."""
        said = docker("exec", self.server, "sh", "-c", f"cd {self.bucket} && find {folder} -type f", check=False)
        return sorted(line for line in said.splitlines() if line.startswith(f"{folder}/"))

    def close(self) -> None:
        docker("rm", "--force", "--volumes", self.server, check=False)
        docker("network", "rm", self.name, check=False)
        self.folder.rmdir()
