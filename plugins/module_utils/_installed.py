# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which WAL-G binaries in a directory are ours: the record beside them, and who uses them. Private to this collection.

The record names each file that we installed with its digest, in the order of installation, and the configuration
directories whose instances may use them. A file that it does not name, or that has another digest, is not ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import _instance
from ._errors import WalgError
from ._files import read_text, sha256, write_atomic
from ._waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAME = ".mapswipe-walg.json"
#: Files of ours that are not finished: a download that runs, and one that is checked but not installed yet.
UNFINISHED = ".mapswipe-walg."


@dataclass
class Record:
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


@contextlib.contextmanager
def alone(directory: str, patience: float) -> Iterator[None]:
    """Keep other runs from installing into a directory meanwhile: several instances of a host may be several hosts of a play.

    The lock is on the directory itself (the nearest that exists), so nothing is left behind. Raises WalgError after ``patience``.
    """
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not wait_until(lambda: _locked(handle), patience, longest=0.1):
            raise WalgError(f"Another run installs into {directory}, and did not end within {patience:g} s. Try again.")
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def staged_path(path: str) -> str:
    """Return where a binary lies that is to stand at ``path``, checked but not in its place yet."""
    return os.path.join(os.path.dirname(path), UNFINISHED + os.path.basename(path))


def load(directory: str) -> Record:
    """Return the record of a directory; an empty one where there is none."""
    text = read_text(os.path.join(directory, NAME))
    if text is None:
        return Record(directory)
    try:
        content: dict[str, Any] = json.loads(text)
        binaries = {
            one["name"]: {key: str(one[key]) for key in ("sha256", "version", "asset")} for one in content["binaries"]
        }
        return Record(directory, binaries, [str(one) for one in content["config_dirs"]])
    except (ValueError, KeyError, TypeError) as exc:
        raise WalgError(
            f"{os.path.join(directory, NAME)} is damaged ({exc}). It says which WAL-G binaries this collection installed; "
            "without it they are kept for good: remove it if that is right."
        ) from exc


def ours(record: Record, path: str) -> bool:
    """Say whether a file is there and still the one that we installed."""
    return os.path.isfile(path) and not os.path.islink(path) and record.of(path).get("sha256") == sha256(path)


def recorded_use(config_dirs: Iterable[str], replaced: str) -> tuple[set[str], list[str]]:
    """Return the binaries that instances' records name, and the records that can't be read.

    ``replaced``: a record that is (or in check mode will be) written anew, and does not count.
    """
    used: set[str] = set()
    unreadable = []
    for directory in config_dirs:
        names = [name for name in _listed(directory) if name.endswith(".env")]
        for path in (os.path.join(directory, name) for name in names):
            if path == replaced:
                continue
            try:
                used.add(os.path.realpath(_instance.parse(read_text(path) or "", path).binary))
            except WalgError:
                unreadable.append(path)
        if directory and os.path.isdir(directory) and not os.access(directory, os.R_OK):
            unreadable.append(directory)
    return used, unreadable


def running(root: str = "/proc") -> set[str]:
    """Return the programs that run now, as far as we may see them."""
    found = set()
    for name in _listed(root):
        if name.isdigit():
            try:
                found.add(os.readlink(os.path.join(root, name, "exe")))
            except OSError:
                continue
    return found


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
