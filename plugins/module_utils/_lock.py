# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock on an instance's base backup. It never covers wal-push: a lock there loses segments. Private to this collection."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from ._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Iterator


class LockedError(WalgError):
    """Another run holds the lock."""


@contextlib.contextmanager
def held(path: str, what: str) -> Iterator[None]:
    """Hold an advisory lock for the block; the kernel gives it back when the process dies. Raises LockedError."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode("utf-8", "replace").strip() or "unknown"
            raise LockedError(f"{what} is already running (pid {holder}, lock {path}).", holder=holder) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)
