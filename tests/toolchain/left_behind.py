# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a killed run of the tests left on the engine, removed by the next one that starts it: then nobody else runs.

A database of the tests has a restart policy, as a user's has. The engine would start it again whenever it is started itself,
and make empty directories where the files of a checkout were that is gone. A run's folder tells its suffix, by which all of it
is named: hosts of molecule end with it, containers, networks and volumes of Compose have it in the name of their project.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

#: Where runs have their folders, and how these are named. Hosts that are kept by hand have none.
_FOLDERS = ((Path("/opt"), "mapswipe-walg-tests-*"), (Path("/var/tmp"), "mapswipe-walg-hosts-*"))
_SUFFIX = re.compile(r"mapswipe-walg-(?:tests|hosts)-([0-9a-f]{6})(?:\.\w+)?")
#: What the engine has, in the order in which it goes: how it is listed, how it is removed.
_KINDS = {
    "container": (["--all", "--format={{.Names}}"], ["--force", "--volumes"]),
    "network": (["--format={{.Name}}"], []),
    "volume": (["--format={{.Name}}"], ["--force"]),
}


def remove() -> list[str]:
    """Remove it; return the suffixes of the runs."""
    found = {folder: match[1] for folder in _folders() if (match := _SUFFIX.fullmatch(folder.name))}
    suffixes = sorted(set(found.values()))
    if suffixes:
        remove_named(re.compile(rf"(?:.+-|maps-)(?:{'|'.join(suffixes)})(?:[-_].+)?"))
    for folder in found:
        shutil.rmtree(folder, ignore_errors=True)
    return suffixes


def remove_named(names: re.Pattern[str]) -> bool:
    """Remove what the engine has by such names, as a whole; say whether there was anything."""
    found = present(names)
    for kind, some in found.items():
        _docker(kind, "rm", *_KINDS[kind][1], *some)
    return bool(found)


def present(names: re.Pattern[str]) -> dict[str, list[str]]:
    """Return what the engine has by such names, by kind."""
    listed = {kind: _docker(kind, "ls", *listing).split() for kind, (listing, _removing) in _KINDS.items()}
    found = {kind: [name for name in every if names.fullmatch(name)] for kind, every in listed.items()}
    return {kind: some for kind, some in found.items() if some}


def _folders() -> list[Path]:
    """Return the folders of runs that this user made."""
    listed = [folder for place, pattern in _FOLDERS for folder in place.glob(pattern)]
    return [each for each in listed if each.lstat().st_uid == os.geteuid() and each.is_dir() and not each.is_symlink()]


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False).stdout
