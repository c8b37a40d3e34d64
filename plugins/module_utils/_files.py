# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File work that survives a power cut: atomic writes, digests, directories, renames. Private to this collection."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._errors import WalgError

if TYPE_CHECKING:
    from ._process import User


@dataclass(frozen=True)
class FilePlan:
    """What a managed file should be. ``content`` None: a directory. ``keep``: if it exists, it is not ours to change."""

    path: str
    content: str | None
    mode: int
    uid: int
    gid: int
    keep: bool = False

    def differs(self) -> bool:
        """Say whether the disk differs from the plan in kind, content, mode or owner."""
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return True
        except OSError as exc:
            raise WalgError(f"Cannot look at {self.path}: {exc.strerror}") from exc
        if stat.S_ISLNK(found.st_mode):
            raise WalgError(
                f"{self.path} is a symbolic link; remove it or choose another directory: we write real files."
            )
        if stat.S_ISDIR(found.st_mode) != (self.content is None):
            raise WalgError(f"{self.path} exists, but is {'' if self.content is None else 'not '}a file.")
        if self.keep:
            return False
        if (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) != (self.mode, self.uid, self.gid):
            return True
        return self.content is not None and read_text(self.path) != self.content

    def apply(self) -> None:
        """Make it so; the file is never seen half-written or with a wider mode."""
        if self.content is not None:
            write_atomic(self.path, self.content, self.mode, self.uid, self.gid)
            return
        try:
            make_directories(self.path)
            os.chown(self.path, self.uid, self.gid)
            os.chmod(self.path, self.mode)
        except OSError as exc:
            raise WalgError(f"Cannot make the directory {self.path}: {exc.strerror}") from exc


def owned(path: str, content: str | None, mode: int, user: User) -> FilePlan:
    """Return a plan for a file (or a directory: content None) of ``user``."""
    return FilePlan(path, content, mode, user.uid, user.gid)


def make_directories(path: str) -> None:
    """Make a directory and its missing parents, 0755 whatever the umask says."""
    if not os.path.isdir(path):
        make_directories(os.path.dirname(path))
        with contextlib.suppress(FileExistsError):  # another run on this host may be as far
            os.mkdir(path)
            os.chmod(path, 0o755)


def parent(path: str, user: User) -> FilePlan:
    """Return a plan for a directory that is made if it is missing, and left alone if it is there: it may be shared."""
    return FilePlan(path, None, 0o755, user.uid, user.gid, keep=True)


def read_conf(path: str) -> str | None:
    """Return the text of a configuration file of somebody else's, or None. Bytes that are no UTF-8 come back when it is written."""
    return read_text(path, "surrogateescape")


def read_text(path: str, errors: str = "strict") -> str | None:
    """Return the text of a file, or None if there is none."""
    try:
        with open(path, encoding="utf-8", errors=errors, newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise WalgError(f"Cannot read {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise WalgError(f"{path} is not UTF-8 text: {exc}") from exc


def fsync_directory(path: str) -> None:
    """Make the entries of a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: str, content: str, mode: int = 0o600, uid: int = -1, gid: int = -1) -> None:
    """Write a file by a temporary sibling: owner and mode first, then fsync, then rename, then fsync of the directory."""
    directory = os.path.dirname(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=".mapswipe-walg.", dir=directory)
    except OSError as exc:
        raise WalgError(f"Cannot write into {directory}: {exc.strerror}") from exc
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            if (uid, gid) != (-1, -1) and (uid, gid) != (os.geteuid(), os.getegid()):
                os.fchown(stream.fileno(), uid, gid)
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
        fsync_directory(directory)
    except OSError as exc:
        raise WalgError(f"Cannot write {path}: {exc.strerror}") from exc
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)


def copy_beside(source: str, path: str, mode: int) -> str:
    """Copy ``source`` to a durable temporary sibling of ``path`` and return its name; the caller renames or removes it."""
    directory = os.path.dirname(path)
    handle, temporary = tempfile.mkstemp(prefix=".mapswipe-walg.", dir=directory)
    try:
        with os.fdopen(handle, "wb") as target, open(source, "rb") as origin:
            shutil.copyfileobj(origin, target, 1024 * 1024)
            os.fchmod(target.fileno(), mode)
            target.flush()
            os.fsync(target.fileno())
    except OSError:
        os.unlink(temporary)
        raise
    return temporary


def replace(temporary: str, path: str) -> None:
    """Rename a durable file over ``path`` and make the rename durable."""
    os.rename(temporary, path)
    fsync_directory(os.path.dirname(path))


def rename_directory(source: str, target: str) -> None:
    """Rename durably; refuses an existing target, which rename(2) would replace if it were an empty directory."""
    if os.path.lexists(target):
        raise WalgError(f"Cannot rename {source} to {target}: the target exists.")
    try:
        os.rename(source, target)
    except OSError as exc:
        raise WalgError(f"Cannot rename {source} to {target}: {exc.strerror}") from exc
    for directory in (os.path.dirname(target), os.path.dirname(source)):
        fsync_directory(directory)


def sha256(path: str) -> str:
    """Return the SHA-256 of a file in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1024 * 1024), b""):
            digest.update(block)
    return digest.hexdigest()


def free_bytes(path: str) -> int:
    """Return the bytes that an unprivileged user may still write on the file system of ``path``."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def only_roots(path: str) -> bool:
    """Say whether nobody but root can change what a directory's path leads to, or what is in it."""
    while True:
        found = os.lstat(path)
        others = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
        if found.st_uid != 0 or others or not stat.S_ISDIR(found.st_mode):
            return False
        if path == "/":
            return True
        path = os.path.dirname(path)


def first_existing_parent(path: str) -> str:
    """Return the nearest ancestor of ``path`` that exists (itself included)."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path
