# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks: one base backup, one restore of an instance at a time. None covers wal-push: that loses WAL. Private."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import TYPE_CHECKING

from ._errors import WalgError
from ._process import call_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._process import User


class LockedError(WalgError):
    """Another run holds the lock."""


@contextlib.contextmanager
def held(path: str, what: str, owner: User | None = None) -> Iterator[None]:
    """Hold an advisory lock for the block; the kernel gives it back when the process dies. Raises LockedError.

    ``owner``: whose file it is, where root locks in a directory of the cluster's owner.
    """
    call_as(owner, _create, path)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise WalgError(f"Cannot open the lock {path}: {exc.strerror}") from exc
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise WalgError(f"The lock {path} is not a regular file. Remove it.", found=path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"{what} is already running (it holds the lock {path}; progress.json in the instance's state directory tells more)."
            ) from None
        yield
    finally:
        os.close(handle)


def _create(path: str) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600))
