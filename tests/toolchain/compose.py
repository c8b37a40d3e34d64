# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker Compose v2 for the tests: used if ``docker compose`` answers, else taken from a package of Debian and put where docker looks.

Older Debians have version 1 only. The package's plugin rests on libc alone, so it is unpacked among our tools, never installed by apt,
whose own lists and sources stay as they are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import debian_packages
import engine
from locations import VERSIONS, ToolError, tools_dir
from parts import Part

#: Where docker looks for every user; what is put there by hand, as opposed to by a package.
PLACE = Path("/usr/local/lib/docker/cli-plugins/docker-compose")
_RECIPE = VERSIONS["compose"]


def answers() -> str:
    """Return the version of Docker Compose that every user of the machine has, empty if there is none."""
    env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent"}
    argv = ["docker", "compose", "version", "--short"]
    answer = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else ""


def ensure() -> str:
    """Have ``docker compose`` answer; return its version. Raises ToolError with what is missing."""
    with engine.mutex():
        if not answers():
            _install()
    return answers()


def _install() -> None:
    lacking = debian_packages.lacking()
    if os.geteuid() != 0 or lacking:
        missing = f"; here {', '.join(lacking)} is missing" if lacking else ""
        raise ToolError(f"`docker compose` doesn't answer; as root on Debian this command puts it in place{missing}")
    part = _part()
    if not part.current():
        part.make()
    PLACE.parent.mkdir(parents=True, exist_ok=True)
    fresh = PLACE.with_name(f".{PLACE.name}.new")
    shutil.copyfile(part.outputs[0], fresh)
    fresh.chmod(0o755)
    fresh.replace(PLACE)
    if not answers():
        raise ToolError(f"`docker compose` doesn't answer, though its plugin is in {PLACE}")


def _part() -> Part:
    plugin = tools_dir() / "compose" / "docker-compose"

    def install() -> None:
        plugin.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=plugin.parent, prefix="fetch.") as scratch:
            unpacked = debian_packages.of_suite("compose", Path(scratch), **_RECIPE)
            (found,) = unpacked.glob("usr/**/cli-plugins/docker-compose")
            found.replace(plugin)

    return Part("compose", [_RECIPE["suite"], _RECIPE["package"]], [plugin], install)
