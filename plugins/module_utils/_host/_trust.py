# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which paths root may use: those that root owns all the way up.

The rule, for root only (anybody else has no more than their own rights to lose):

- every directory on the way belongs to root, and nobody else can write it;
- a group that can write it is rejected if it has a member other than root (Debian's empty group staff is no danger), and so
  is an access control list that lets another user or such a group write;
- a directory with the sticky bit, such as /tmp, is passed if the next one is there already and root's, since nobody else
  can rename that; nothing new is made in it;
- a symbolic link counts, and so does all that it leads through;
- in a container a directory is passed if the next one is a mount point: nobody in there can rename or unmount that.

The way is walked by descriptors, each directory opened from the one above, so what was judged is what is used.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from typing import TYPE_CHECKING

from .._errors import WalgError
from . import _accounts, _inside

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_LINKS = 40  # as in the kernel
_ACL = "system.posix_acl_access"
_ACL_USER, _ACL_GROUP_OBJ, _ACL_GROUP = 0x02, 0x04, 0x08  # acl(5)


class LooseError(WalgError):
    """Somebody other than root can change what is there."""


def refuse_unplain(path: str, what: str) -> None:
    """Raise WalgError unless a path begins at the root, and means the same to whoever reads it."""
    if not path.startswith("/"):
        raise WalgError(f"{what} is {path!r}, a relative path. Give the whole path, from / on.", found=path)
    if any(ord(char) < 32 or ord(char) == 127 for char in path):
        raise WalgError(f"{what} is {path!r}. Give a path without control characters.", found=path)
    if ".." in path.split("/"):
        raise WalgError(f"{what} is {path}. Give the path without `..`.", found=path)


def refuse_loose(path: str, what: str, owner: int = 0) -> None:
    """Raise WalgError unless a path is plain and, for root, root's all the way up. What doesn't exist is judged by its parent.

    ``owner``: a user that may own and change it, too.
    """
    refuse_unplain(path, what)
    if os.geteuid() != 0:
        return
    with _named(path, what), _walked(path, owner):
        pass


def refuse_exchangeable(path: str, what: str, uid: int) -> None:
    """Raise WalgError if anybody but root and the user ``uid`` can put something else in the place of a plain path, whatever that is."""
    refuse_unplain(path, what)
    with _named(path, what, advice=False), contextlib.closing(_Way(uid)) as way:
        way.go(path, to_the_end=False)


@contextlib.contextmanager
def _named(path: str, what: str, advice: bool = True) -> Iterator[None]:
    """Put what a path is for before what is said about it. Without ``advice``: who can change it alone."""
    try:
        yield
    except LooseError as exc:
        told = exc.msg if advice else f"{exc.fields['found']} {exc.fields['why']}."
        exc.msg = f"{what}: {told}"
        exc.args = (exc.msg,)
        raise
    except OSError as exc:
        raise WalgError(f"{what}: can't read {path}: {exc.strerror}.") from exc


def is_loose(path: str) -> bool:
    """Say whether somebody other than root can change what root would find at ``path``."""
    try:
        refuse_loose(path, "")
    except WalgError:
        return True
    return False


def open_directory(path: str, make: bool = False) -> int:
    """Return a descriptor of a directory that root may use, for work by names in it. ``make``: with its missing parents, 0755.

    Raises LooseError, or OSError as mkdir and open do.
    """
    refuse_unplain(path, "The directory")
    with _walked(path) as (handle, missing):
        if not missing:
            return _opened(".", handle)
        if not make:
            return _opened(missing[0], handle)  # tells why it can't be had
        here = os.dup(handle)
    for name in missing:
        try:
            with contextlib.suppress(FileExistsError):  # another run on this host may be as far
                os.mkdir(name, 0o700, dir_fd=here)
            below = _opened(name, here)
        finally:
            os.close(here)
        here = below
        if os.geteuid() == 0 and os.fstat(here).st_uid != 0:
            os.close(here)
            raise LooseError(f"{path} was created by another user in the meantime.")
        os.fchmod(here, 0o755)
    return here


def _opened(name: str, above: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)


@contextlib.contextmanager
def _walked(path: str, owner: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Yield a descriptor of the last existing component of ``path`` and the names that are missing below it."""
    way = _Way(owner)
    try:
        missing = way.go(path)
        way.refuse_sticky()
        yield way.handle, missing
    finally:
        way.close()


class _Way:
    """Where a walk from / has come to. ``handle`` only locates (O_PATH): nothing is opened by looking at it.

    The owner may change what is on the way, as root may.
    """

    def __init__(self, owner: int = 0) -> None:
        self.trusted = {0, owner}
        self.names: list[str] = []
        self.sticky = False
        self.doubt: LooseError | None = (
            None  # about the directory that the walk has come to, until the next one is seen
        )
        self.handle = os.open("/", os.O_PATH | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.handle)

    def go(self, path: str, to_the_end: bool = True) -> list[str]:
        left, links = _parts(path), 0
        self._judge(self.handle, "/")
        while left:
            name = left.pop(0)
            try:
                found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.handle)
            except FileNotFoundError:
                self._refuse_doubtful()
                return [name, *left]
            kind = os.fstat(found).st_mode
            if not stat.S_ISLNK(kind):
                self._enter(name, found, bool(left) or to_the_end)
                continue
            try:
                self._refuse_doubtful()
                target = os.readlink("", dir_fd=found)
                self._judge(found, self._path(name))
            finally:
                os.close(found)
            links += 1
            if links > _MOST_LINKS:
                raise WalgError(f"{path} leads through more than {_MOST_LINKS} symbolic links.")
            if target.startswith("/"):
                self._enter("/", os.open("/", os.O_PATH | os.O_CLOEXEC))
            left = [*_parts(target), *left]
        self._refuse_doubtful()
        return []

    def _refuse_doubtful(self) -> None:
        if self.doubt:
            raise self.doubt

    def _enter(self, name: str, found: int, judge: bool = True) -> None:
        """Judge the next component and stand on it."""
        if name == "/":
            self.names, path = [], "/"
        elif name == "..":
            self.names, path = self.names[:-1], "/" + "/".join(self.names[:-1])
        else:
            path = self._path(name)
            self.names.append(name)
        before, self.handle = self.handle, found
        mounted = name not in ("/", "..") and _mount(before) != _mount(found)
        os.close(before)
        if not mounted:
            self._refuse_doubtful()
        self.doubt = None
        if judge:
            self._judge(found, path)

    def _path(self, name: str) -> str:
        return "/" + "/".join([*self.names, name])

    def _judge(self, handle: int, path: str) -> None:
        if os.geteuid() != 0:
            return
        there = os.fstat(handle)
        if self.sticky and not stat.S_ISDIR(there.st_mode):
            raise LooseError(
                f"{path} is in a directory where everybody can create files. Choose another directory.",
                found=path,
                why="is in a directory where everybody can create files",
            )
        why = _why(handle, there, self.trusted)
        self.sticky = bool(why) and stat.S_ISDIR(there.st_mode) and bool(there.st_mode & stat.S_ISVTX)
        if why and (there.st_uid not in self.trusted or not self.sticky):
            self.doubt = LooseError(f"{path} {why}. {self._advice(path)}", found=path, why=why)
            if _inside.current() is None:
                raise self.doubt

    def _advice(self, path: str) -> str:
        names = " and ".join(_user(uid) for uid in sorted(self.trusted))
        to_whom = (
            "give"
            if len(self.trusted) > 1
            else f"choose a place below directories that only {names} can write, or give"
        )
        return (
            f"Root does not use what others can exchange: {to_whom} {path} to root (chown root, chmod go-w), or run the play as "
            "that user."
        )

    def refuse_sticky(self) -> None:
        if self.sticky:
            path = "/" + "/".join(self.names)
            raise LooseError(
                f"Everybody can make files in {path}. Root keeps nothing there: choose a place below directories that only root "
                "can write.",
                found=path,
            )


def _parts(path: str) -> list[str]:
    return [one for one in path.split("/") if one not in ("", ".")]


def _mount(handle: int) -> str:
    """Return the kernel's number of the mount that a descriptor is in."""
    with open(f"/proc/self/fdinfo/{handle}", encoding="ascii", errors="replace") as stream:
        return next((line for line in stream if line.startswith("mnt_id:")), "")


def _why(handle: int, there: os.stat_result, trusted: set[int]) -> str:
    """Return who else can change it, "" if nobody."""
    if there.st_uid not in trusted:
        return f"belongs to the user {_user(there.st_uid)!r}"
    if stat.S_ISLNK(there.st_mode):
        return ""
    if there.st_mode & stat.S_IWOTH:
        return "can be written by everybody"
    if not there.st_mode & stat.S_IWGRP:
        return ""
    # With a list, these bits are its mask; without one, they are the group's.
    entries = _acl(handle) or [(_ACL_GROUP_OBJ, there.st_gid)]
    for kind, number in entries:
        if kind == _ACL_USER and number not in trusted:
            return f"can be written by the user {_user(number)!r} (by its access control list)"
        group = there.st_gid if kind == _ACL_GROUP_OBJ else number
        member = _member(group, trusted) if kind in (_ACL_GROUP_OBJ, _ACL_GROUP) else ""
        if member:
            return f"can be written by the group {_accounts.group_name(group)!r}, and so by the user {member!r}"
    return ""


def _acl(handle: int) -> list[tuple[int, int]]:
    """Return who may write by a POSIX access control list, as kind and number."""
    try:
        data = os.getxattr(f"/proc/self/fd/{handle}", _ACL)
    except OSError:
        return []
    return [(kind, number) for kind, rights, number in struct.iter_unpack("<HHI", data[4:]) if rights & 0o2]


def _member(gid: int, trusted: set[int]) -> str:
    """Return another member of a group than those who are trusted, "" if it has none."""
    names = {_user(uid) for uid in trusted}
    others = (name for name in _accounts.members_of(gid) if name not in names)
    own = (one.name for one in _accounts.users() if one.gid == gid and one.uid not in trusted)
    return next(others, "") or next(own, "")


def _user(uid: int) -> str:
    found = _accounts.user_numbered(uid)
    return found.name if found else str(uid)
