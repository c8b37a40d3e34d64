# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that a program reads by a path, and that no killed run leaves behind: files without a name.

WAL-G takes its settings from a file whose name ends in .json. That name is a link to a descriptor which the program inherits; the
file itself has been unlinked before anything was written to it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from typing import TYPE_CHECKING

from ._proc import stat

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "mapswipe-walg-settings-"


class Scratch:
    """A private directory, and unnamed files whose descriptors must be handed to the program that reads them."""

    def __init__(self, directory: str, stack: contextlib.ExitStack) -> None:
        self.directory = directory
        self.descriptors: list[int] = []
        self._stack = stack

    def unnamed(self, text: str) -> str:
        """Return a path by which a program that inherits the descriptors can read this text."""
        handle = self._stack.enter_context(_unnamed(text))
        self.descriptors.append(handle)
        return f"/proc/self/fd/{handle}"

    def linked(self, name: str, text: str) -> str:
        """Return the same as a path that ends in ``name``."""
        path = os.path.join(self.directory, name)
        os.symlink(self.unnamed(text), path)
        return path


@contextlib.contextmanager
def _unnamed(text: str) -> Iterator[int]:
    with tempfile.TemporaryFile() as stream:
        stream.write(text.encode("utf-8", "surrogateescape"))
        stream.flush()
        yield stream.fileno()


@contextlib.contextmanager
def opened() -> Iterator[Scratch]:
    """Open one, gone at the end; to be used as the user who runs the program. What killed runs have left is removed."""
    _sweep()
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-"))
        yield Scratch(directory, stack)


def _sweep() -> None:
    place = tempfile.gettempdir()
    for name in os.listdir(place):
        pid = name[len(_PREFIX) :].partition("-")[0]
        if not name.startswith(_PREFIX) or not re.fullmatch("[0-9]{1,9}", pid) or stat(int(pid))[:1] not in ([], ["Z"]):
            continue
        path = os.path.join(place, name)
        with contextlib.suppress(OSError):
            if os.lstat(path).st_uid == os.geteuid():
                shutil.rmtree(path)
