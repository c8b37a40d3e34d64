# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories of a cluster are made, renamed and removed, durably.

Root does that for the cluster's owner only in directories that nobody but root can change (_trust), by their descriptors, and only
to real directories of that owner: no link is followed, and nothing of root's or of another user's is renamed or given away.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from .._errors import WalgError
from . import _trust
from ._files import fsync_directory, rename_directory

if TYPE_CHECKING:
    from collections.abc import Iterator


def for_another(uid: int) -> bool:
    """Say whether we are root and work on what belongs to somebody else."""
    return os.geteuid() == 0 and uid != 0


@contextlib.contextmanager
def _above(path: str) -> Iterator[tuple[int, str]]:
    """Yield a descriptor of the directory that holds ``path``, which only root can change, and the name in it."""
    directory, name = os.path.split(path)
    handle = _trust.open_directory(directory)
    try:
        yield handle, name
    finally:
        os.close(handle)


def make(path: str, uid: int, gid: int) -> None:
    """Make a directory of that owner, 0700; its missing parents as well, where it is the owner who does it.

    As root, one that is there already, empty and root's, is treated as what a killed run had just made.
    """
    if for_another(uid):
        with _above(path) as (above, name):
            _make_in(above, name, path, uid, gid)
        return
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for one in reversed(missing):
        os.mkdir(one, 0o700)
        fsync_directory(os.path.dirname(one))


def _make_in(above: int, name: str, path: str, uid: int, gid: int) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
    handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        found = os.fstat(handle).st_uid
        if found != uid and (found != 0 or os.listdir(handle)):
            raise WalgError(f"{path} should be created, but something else is there. Move it away, then run again.")
        os.fchown(handle, uid, gid)
    finally:
        os.close(handle)
    os.fsync(above)


def is_made(path: str, uid: int) -> bool:
    """Say whether a directory is there and is the owner's."""
    return os.path.isdir(path) and (not for_another(uid) or os.lstat(path).st_uid == uid)


def rename(source: str, target: str, uid: int) -> None:
    """Rename what is the owner's; an existing target is rejected."""
    if not for_another(uid):
        rename_directory(source, target)
        return
    with _above(source) as (old, before), _above(target) as (new, after):
        _refuse_foreign(old, before, source, uid)
        if _exists(new, after):
            raise WalgError(f"Cannot rename {source} to {target}: the target exists.")
        try:
            os.rename(before, after, src_dir_fd=old, dst_dir_fd=new)
        except OSError as exc:
            raise WalgError(f"Cannot rename {source} to {target}: {exc.strerror}") from exc
        os.fsync(new)
        os.fsync(old)


def _refuse_foreign(above: int, name: str, path: str, uid: int) -> None:
    found = os.stat(name, dir_fd=above, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
        what = f"belongs to user {found.st_uid}, not {uid}" if stat.S_ISDIR(found.st_mode) else "is no directory"
        raise WalgError(f"{path} {what}: root renames only directories of the cluster's owner. Nothing was renamed.")


def _exists(above: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def remove_empty(path: str, uid: int) -> None:
    """Remove a directory if it is empty, or there is none."""
    with contextlib.suppress(OSError):
        if not for_another(uid):
            os.rmdir(path)
            return
        with _above(path) as (above, name):
            os.rmdir(name, dir_fd=above)


def can_write(path: str) -> bool:
    """Say whether we can make and rename entries of a directory. Called as the owner."""
    return os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)
