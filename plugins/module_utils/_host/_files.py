# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File work that survives a power cut: atomic writes, digests, directories, renames."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from .._errors import WalgError
from . import _mounts, _trust

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._users import User

#: What a file of ours is called until it is finished.
UNFINISHED = ".mapswipe-walg."
#: Bytes of a text that is read whole. Configuration, records and listings have far less.
MOST_TEXT = 16 * 1024 * 1024
#: Seconds for copying one file.
COPY_TIMEOUT = 600.0
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


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
            raise WalgError(f"Can't read {self.path}: {exc.strerror}") from exc
        if stat.S_ISLNK(found.st_mode):
            raise WalgError(
                f"{self.path} is a symbolic link; remove it or choose another directory, because only real files are written here."
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
            with _directory(os.path.dirname(self.path), make=True) as above:
                self._make(os.path.basename(self.path), above)
        except OSError as exc:
            raise WalgError(f"Cannot make the directory {self.path}: {exc.strerror}") from exc

    def _make(self, name: str, above: int) -> None:
        """By descriptors: what is given away is the directory itself, never what a link in its place leads to."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=above)
        handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            os.fchown(handle, self.uid, self.gid)
            os.fchmod(handle, self.mode)
        finally:
            os.close(handle)


def owned(path: str, content: str | None, mode: int, user: User) -> FilePlan:
    """Return a plan for a file (or a directory: content None) of ``user``."""
    return FilePlan(path, content, mode, user.uid, user.gid)


@contextlib.contextmanager
def _directory(path: str, make: bool = False) -> Iterator[int]:
    handle = _trust.open_directory(path, make)
    try:
        yield handle
    finally:
        os.close(handle)


def parent(path: str, user: User) -> FilePlan:
    """Return a plan for a directory that is made if it is missing, and left alone if it is there: it may be shared."""
    return FilePlan(path, None, 0o755, user.uid, user.gid, keep=True)


def read_conf(path: str) -> str | None:
    """Return the text of a configuration file of somebody else's, or None. Bytes that are no UTF-8 come back when it is written."""
    return read_text(path, "surrogateescape")


def open_regular(path: str) -> int:
    """Return a descriptor to read a regular file by. Raises OSError, or WalgError for anything else.

    What a FIFO, a device or a socket in its place is can be seen without opening it (O_PATH), so none of them can hold us up.
    """
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except ValueError as exc:
        raise WalgError(f"{path!r} is no path: there is a NUL in it.") from exc
    try:
        kind = os.fstat(handle).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(kind):
            raise WalgError(
                f"{path} is {_KINDS.get(stat.S_IFMT(kind), 'something else')}, not a regular file. Remove it."
            )
        # Not to wait: another user may hold a lease on a file of his own.
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(handle)


def regular_opener(path: str, _flags: int) -> int:
    """Open a regular file to read it, for open(); anything else is an OSError: whoever may put it there can't hold us up."""
    try:
        return open_regular(path)
    except WalgError as exc:
        raise OSError(errno.EINVAL, exc.msg, path) from exc


def read_tail(path: str, most: int) -> str:
    """Return the last ``most`` bytes of a regular file as text. Raises OSError, or WalgError for anything else."""
    with open(open_regular(path), "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - most))
        return stream.read(most).decode("utf-8", "replace")


def read_text(path: str, errors: str = "strict", most: int = MOST_TEXT) -> str | None:
    """Return the text of a regular file, or None if there is none. Raises WalgError for one of more than ``most`` bytes."""
    try:
        with open(open_regular(path), "rb") as stream:
            data = stream.read(most + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise WalgError(f"Cannot read {path}: {exc.strerror}") from exc
    if len(data) > most:
        raise WalgError(f"{path} has more than {most} bytes; that is not the file it should be.", found=path)
    try:
        return data.decode("utf-8", errors)
    except UnicodeDecodeError as exc:
        raise WalgError(f"{path} is not UTF-8 text: {exc}") from exc


def read_state(path: str) -> dict[str, Any]:
    """Return the JSON object in a file of state; empty where there is none that can be read."""
    try:
        found = json.loads(read_text(path) or "{}")
    except (ValueError, OSError, WalgError):
        return {}
    return found if isinstance(found, dict) else {}


def fsync_directory(path: str) -> None:
    """Make the entries of a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: str, content: str, mode: int = 0o600, uid: int = -1, gid: int = -1) -> None:
    """Write a file by a temporary sibling: owner and mode first, then fsync, then rename, then fsync of the directory.

    All of it by one descriptor of the directory; for root, of one that only root can write.
    """
    directory, name = os.path.split(path)
    with contextlib.ExitStack() as stack:
        try:
            above = stack.enter_context(_directory(directory))
            temporary, handle = temporary_in(above)
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
                stack.enter_context(_held(temporary, above))
            # Not before it is closed: a program that somebody may write can't be started, and PostgreSQL calls the wrappers any time.
            os.rename(temporary, name, src_dir_fd=above, dst_dir_fd=above)
            os.fsync(above)
        except OSError as exc:
            raise WalgError(f"Cannot write {path}: {exc.strerror}") from exc
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=above)


def temporary_in(directory: int) -> tuple[str, int]:
    """Make a private file in an open directory; return its name and a descriptor to write by."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    name = UNFINISHED + secrets.token_hex(6)
    handle = os.open(name, flags, 0o600, dir_fd=directory)
    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # as long as somebody writes it
    return name, handle


@contextlib.contextmanager
def _held(name: str, directory: int) -> Iterator[None]:
    """Keep sweep() away from an unfinished file without having it open for writing."""
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def sweep(directory: str) -> None:
    """Remove the unfinished files that killed runs have left in a directory: there may be a secret in them."""
    with contextlib.suppress(FileNotFoundError), _directory(directory) as above:
        for name in os.listdir(above):
            if re.fullmatch(re.escape(UNFINISHED) + "[0-9a-f]{12}", name):
                with contextlib.suppress(OSError):
                    _remove_unlocked(name, above)


def _remove_unlocked(name: str, above: int) -> None:
    handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=above)
    finally:
        os.close(handle)


def put_in_place(source: str, path: str, mode: int) -> None:
    """Rename a file of ours that is on the same file system over ``path``, durably; directories that are missing are made."""
    directory, name = os.path.split(path)
    with _directory(directory, make=True) as above:
        handle = open_regular(source)
        try:
            os.fchmod(handle, mode)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.rename(source, name, dst_dir_fd=above)
        os.fsync(above)


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
    """Return the SHA-256 of a regular file in hex."""
    return transfer(path, None)


def transfer(source: str, target: IO[bytes] | None, most: int | None = None, seconds: float = COPY_TIMEOUT) -> str:
    """Copy a regular file, opened once, and return the SHA-256 of what was copied. It may grow meanwhile, but not for ever."""
    digest, size, deadline = hashlib.sha256(), 0, time.monotonic() + seconds
    with open(open_regular(source), "rb", buffering=0) as stream:
        if most is not None:
            shown = os.fstat(stream.fileno()).st_size
            if shown > most:
                raise WalgError(
                    f"{source} has {shown} bytes, more than {most}: it is not the file it should be.", found=source
                )
        for block in iter(lambda: stream.read(1024 * 1024) or b"", b""):
            size += len(block)
            if (most is not None and size > most) or time.monotonic() > deadline:
                raise WalgError(
                    f"{source} does not end after {size} bytes: it is not the file it should be.", found=source
                )
            digest.update(block)
            if target:
                target.write(block)
    return digest.hexdigest()


def free_bytes(path: str) -> int:
    """Return the bytes that an unprivileged user may still write on the file system of ``path``."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def first_existing_parent(path: str) -> str:
    """Return the nearest ancestor of ``path`` that exists (itself included)."""
    _trust.refuse_unplain(path, "The path")
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def remove_tree(path: str) -> None:
    """Remove a directory tree if it exists; not what is mounted in it."""
    if os.path.lexists(path):
        _mounts.refuse(path)
        shutil.rmtree(path)


def remove_files(directory: str, names: tuple[str, ...]) -> None:
    """Remove files by name where they exist."""
    for name in names:
        path = os.path.join(directory, name)
        if os.path.lexists(path):
            os.unlink(path)
