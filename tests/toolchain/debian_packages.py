# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages of Debian that are unpacked among our tools and never installed: apt's own lists and sources stay as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

from parts import run

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SOURCE = "deb [signed-by={keyring}] http://deb.debian.org/debian {suite} main\n"


def lacking() -> list[str]:
    """Return what this machine lacks for that."""
    missing = [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]
    return [*missing, *([] if _KEYRING.is_file() else [str(_KEYRING)])]


def unpacked(log: str, scratch: Path, suite: str, package: str) -> Path:
    """Download a package and unpack it; return the folder."""
    lists, packages, sources = scratch / "lists", scratch / "packages", scratch / "sources.list"
    (lists / "partial").mkdir(parents=True)
    packages.mkdir()
    sources.write_text(_SOURCE.format(keyring=_KEYRING, suite=suite), encoding="ascii")
    own = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": lists,
        "Dir::Cache": scratch / "cache",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "APT::Sandbox::User": "root",  # the folder is closed to others
        "APT::Update::Error-Mode": "any",
    }
    apt: list[str | Path] = [
        "apt-get",
        "-q",
        *(word for name, value in own.items() for word in ("-o", f"{name}={value}")),
    ]
    run(log, [*apt, "update"])
    run(log, [*apt, "download", package], cwd=packages)
    (found,) = packages.glob("*.deb")
    run(log, ["dpkg-deb", "-x", found, scratch / "root"])
    return scratch / "root"
