# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks: one base backup, one restore of an instance at a time. wal-push must never wait for a lock: WAL would be lost."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

from .._errors import WalgError
from ._files import UNFINISHED, first_existing_parent
from ._users import call_as
from ._waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._users import User

LOCK = UNFINISHED + "lock"


class LockedError(WalgError):
    """Another run holds the lock."""


@contextlib.contextmanager
def locked(path: str, what: str, owner: User | None = None) -> Iterator[None]:
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


@contextlib.contextmanager
def directory_locked(directory: str, patience: float) -> Iterator[None]:
    """Keep other runs from installing into a directory meanwhile: several instances of a host may be several hosts of a play.

    The lock is a file that nobody but us can open, and so hold, in the directory (the nearest that exists); it is gone
    afterwards. Raises WalgError after ``patience``.
    """
    path = os.path.join(first_existing_parent(directory), LOCK)
    taken: list[int] = []

    def take() -> bool:
        taken[:] = _locked(path)
        return bool(taken)

    try:
        if not wait_until(take, patience, longest=0.1):
            raise WalgError(f"Another run installs into {directory}, and did not end within {patience:g} s. Try again.")
    except OSError as exc:
        if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            yield  # who can't write there can't install there, but may find that there is nothing to do
            return
        raise WalgError(f"Cannot lock {path}: {exc.strerror}") from exc
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(taken[0])


def _locked(path: str) -> list[int]:
    """Return the descriptor of the lock's file, if it could be locked."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise WalgError(f"{path} is not a lock of this collection. Remove it.", found=path)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.lstat(path), found):  # not removed by the run that had it
                kept, handle = handle, -1
                return [kept]
    except BlockingIOError:
        pass
    finally:
        if handle >= 0:
            os.close(handle)
    return []
