# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian's cron for the tests of containers, whose schedule is the machine's. Unpacked among our tools, so that it never runs by itself."""

from __future__ import annotations

import tempfile
from pathlib import Path

import debian_packages
from locations import VERSIONS, ToolError, tools_dir
from parts import Part

_RECIPE = VERSIONS["cron"]


def ensure() -> Path:
    """Have the program, and return its path. Raises ToolError."""
    program = tools_dir() / "cron" / "cron"

    def install() -> None:
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent, prefix="fetch.") as scratch:
            (debian_packages.of_suite("cron", Path(scratch), **_RECIPE) / "usr" / "sbin" / "cron").replace(program)

    missing = debian_packages.lacking()
    if missing:
        raise ToolError(f"cron can't be fetched: {', '.join(missing)} is missing")
    part = Part("cron", [_RECIPE["suite"], _RECIPE["package"]], [program], install)
    if not part.current():
        part.make()
    return program
