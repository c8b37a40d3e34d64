# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which WAL-G binaries in a directory are ours: the record beside them, and who uses them.

The record names each file that we installed with its digest, in the order of installation, and the configuration
directories whose instances may use them. A file that it does not name, or that has another digest, is not ours.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _locks, _trust
from .._host._files import UNFINISHED, read_text, sha256, write_atomic
from .._instance import _record

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

NAME = UNFINISHED + "json"


@dataclass
class Installed:
    """What we installed into ``directory``: file name -> sha256, version and asset ("" for a file that was given)."""

    directory: str
    binaries: dict[str, dict[str, str]] = field(default_factory=dict)
    config_dirs: list[str] = field(default_factory=list)

    def of(self, path: str) -> dict[str, str]:
        """Return what is known of a file, or nothing."""
        return self.binaries.get(os.path.basename(path), {})

    def others(self, path: str) -> list[str]:
        """Return the paths of the other binaries."""
        paths = [os.path.join(self.directory, name) for name in self.binaries]
        return [one for one in paths if one != path]

    def add(self, path: str, entry: dict[str, str]) -> None:
        """Note a file as the newest."""
        self.binaries.pop(os.path.basename(path), None)
        self.binaries[os.path.basename(path)] = entry

    def save(self) -> None:
        content = {"binaries": [{"name": name, **entry} for name, entry in self.binaries.items()]}
        text = json.dumps({**content, "config_dirs": self.config_dirs}, indent=2) + "\n"
        write_atomic(os.path.join(self.directory, NAME), text, 0o644)


def staged_path(path: str) -> str:
    """Return where a binary lies that is to stand at ``path``, checked but not in its place yet."""
    return os.path.join(os.path.dirname(path), UNFINISHED + os.path.basename(path))


def load(directory: str) -> Installed:
    """Return the record of a directory; an empty one where there is none."""
    path = os.path.join(directory, NAME)
    text = read_text(path)
    if text is None:
        return Installed(directory)
    _trust.refuse_loose(path, "The record of installed binaries")
    try:
        content: dict[str, Any] = json.loads(text)
        binaries = {
            one["name"]: {key: str(one[key]) for key in ("sha256", "version", "asset")} for one in content["binaries"]
        }
        return Installed(directory, binaries, [str(one) for one in content["config_dirs"]])
    except (ValueError, KeyError, TypeError) as exc:
        raise WalgError(
            f"{path} is damaged ({exc}). It says which WAL-G binaries this collection installed; "
            "without it they are kept for good: remove it if that is right."
        ) from exc


def ours(record: Installed, path: str) -> bool:
    """Say whether a file is there and still the one that we installed."""
    return os.path.isfile(path) and not os.path.islink(path) and record.of(path).get("sha256") == sha256(path)


def recorded_use(config_dirs: Iterable[str], replaced: str) -> tuple[set[str], set[str], list[str]]:
    """Return the binaries that instances' records name, the users who run them, and the records that can't be read.

    ``replaced``: a record that is (or in check mode will be) written again, and does not count.
    """
    used: set[str] = set()
    users: set[str] = set()
    unreadable = []
    for directory in config_dirs:
        names = [name for name in _listed(directory) if name.endswith(".env")]
        for path in (os.path.join(directory, name) for name in names):
            try:
                found = _record.parse(read_text(path) or "", path)
            except WalgError:
                if path != replaced:
                    unreadable.append(path)
                continue
            users.add(found.cluster.os_user)
            if path != replaced:
                used.add(os.path.realpath(found.binary))
        if directory and os.path.isdir(directory) and not os.access(directory, os.R_OK):
            unreadable.append(directory)
    return used, users, unreadable


def running(uids: Container[int], root: str = "/proc") -> set[str]:
    """Return the programs that these users run now, as far as we may see them; others could keep a binary for good."""
    found = set()
    for name in _listed(root):
        if name.isdigit():
            path = os.path.join(root, name)
            try:
                if os.stat(path).st_uid in uids:
                    found.add(os.readlink(os.path.join(path, "exe")))
            except OSError:
                continue
    return found


def unfinished(directory: str, before: float) -> list[str]:
    """Return what killed runs left behind in a directory before a moment: files, and workshops."""
    found = []
    for name in _listed(directory):
        if name.startswith(UNFINISHED) and name not in (NAME, _locks.LOCK):
            path = os.path.join(directory, name)
            there = os.lstat(path)
            if (stat.S_ISREG(there.st_mode) or stat.S_ISDIR(there.st_mode)) and there.st_mtime < before:
                found.append(path)
    return found


def remove(path: str) -> None:
    """Remove a binary, or what a killed run left behind."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
