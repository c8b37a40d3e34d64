# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages of Debian that are unpacked among our tools and never installed.

apt checks its own signatures, and keeps its lists in a folder of ours.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from locations import ToolError
from parts import run

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_DEBOOTSTRAP = Path("/usr/sbin/debootstrap")
_MIRROR = re.compile(r'^DEF_MIRROR="(\S+)"$', re.MULTILINE)


def lacking() -> list[str]:
    """Return the programs that this machine lacks for that."""
    return [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]


class Apt:
    """apt in a folder of ours. ``suite``: with its packages alone, from debootstrap's mirror; else with those that the machine knows."""

    def __init__(self, log: str, scratch: Path, suite: str = "") -> None:
        self.log, self.scratch = log, scratch
        own: dict[str, str | Path] = {"Dir::State::Lists": scratch / "lists", "Dir::Cache": scratch / "cache"}
        (scratch / "lists" / "partial").mkdir(parents=True)
        if suite:
            source = scratch / "sources.list"
            source.write_text(f"deb [signed-by={_keyring()}] {_mirror()} {suite} main\n", encoding="ascii")
            own.update({"Dir::Etc::SourceList": source, "Dir::Etc::SourceParts": "-"})
        # The folder is closed to apt's own user.
        own.update({"Acquire::Languages": "none", "Acquire::Retries": "3", "APT::Sandbox::User": "root"})
        self.words = ["apt-get", "-q", *(word for name, value in own.items() for word in ("-o", f"{name}={value}"))]

    def update(self) -> None:
        """Fetch the lists. Raises ToolError."""
        run(self.log, [*self.words, "-o", "APT::Update::Error-Mode=any", "update"])

    def simulated(self, packages: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Return what apt would install for these packages."""
        argv = [*self.words, "install", "--simulate", "--reinstall", "--no-install-recommends", *packages]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def unpacked(self, packages: Sequence[str]) -> Path:
        """Download packages and unpack them; return the folder. Raises ToolError."""
        folder, root = self.scratch / "packages", self.scratch / "root"
        folder.mkdir()
        run(self.log, [*self.words, "download", *packages], cwd=folder)
        for package in sorted(folder.glob("*.deb")):
            run(self.log, ["dpkg-deb", "-x", package, root])
        return root


def of_suite(log: str, scratch: Path, suite: str, package: str) -> Path:
    """Unpack one package of a suite; return the folder. Raises ToolError."""
    apt = Apt(log, scratch, suite)
    apt.update()
    return apt.unpacked([package])


def _keyring() -> Path:
    if not _KEYRING.is_file():
        raise ToolError(f"{_KEYRING} is missing")
    return _KEYRING


def _mirror() -> str:
    """Return the mirror that debootstrap takes by itself, so that hosts and what is laid beside them come from one place."""
    found = _MIRROR.search(_DEBOOTSTRAP.read_text(encoding="utf-8")) if _DEBOOTSTRAP.is_file() else None
    if found is None:
        raise ToolError(f"{_DEBOOTSTRAP} is missing, or names no mirror of its own")
    return found.group(1)
