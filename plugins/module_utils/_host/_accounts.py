# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users and groups of the system that this process works on.

Inside a container they are read from its files. The C library is the machine's there, and to answer it would load whatever modules the
container has under the names that nsswitch.conf gives: foreign code in a process of the machine's root.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from dataclasses import dataclass, replace

from . import _inside

_PASSWD, _GROUP = "/etc/passwd", "/etc/group"
_MOST = 16 * 1024 * 1024  # bytes of such a file
_HIGHEST = 2**32 - 1


@dataclass(frozen=True)
class Account:
    """A user as the system knows it."""

    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True)
class _Group:
    """A group, and the names of those who are in it besides their own."""

    name: str
    gid: int
    members: tuple[str, ...]


def users() -> list[Account]:
    """Return all users."""
    if not _inside.current():
        return [_account(entry) for entry in pwd.getpwall()]
    rows = (fields for fields in _rows(_PASSWD) if len(fields) >= 6)
    return [Account(row[0], int(row[2]), int(row[3]), row[5]) for row in rows if _number(row[2]) and _number(row[3])]


def user_named(name: str) -> Account | None:
    """Return a user by name, None if there is none."""
    if _inside.current():
        found = next((one for one in users() if one.name == name), None)
        return _as_run(found.uid, found) if found else None
    with contextlib.suppress(KeyError):
        return _account(pwd.getpwnam(name))
    return None


def user_numbered(uid: int) -> Account | None:
    """Return a user by number, None if there is none."""
    if _inside.current():
        return _as_run(uid, next((one for one in users() if one.uid == uid), None))
    with contextlib.suppress(KeyError):
        return _account(pwd.getpwuid(uid))
    return None


def _as_run(uid: int, account: Account | None) -> Account | None:
    """Return a container's user as its processes run: in the group that the container was given, and a mere number in group 0."""
    inside = _inside.current()
    user, _colon, group = inside.user.partition(":") if inside else ("", "", "")
    if not user or user not in (str(uid), account.name if account else ""):
        return account
    gid = _group_number(group)
    if account is None:
        return Account(str(uid), uid, gid or 0, "/")
    return account if gid is None else replace(account, gid=gid)


def _group_number(group: str) -> int | None:
    """Return the number of a group in a container; None where it is not given, or unknown."""
    if _number(group):
        return int(group)
    return next((one.gid for one in _groups() if one.name == group), None)


def group_name(gid: int) -> str:
    """Return a group's name; its number where it has none."""
    if _inside.current():
        return next((one.name for one in _groups() if one.gid == gid), str(gid))
    with contextlib.suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)


def members_of(gid: int) -> tuple[str, ...]:
    """Return the names of those who are in a group besides the users whose own it is."""
    if _inside.current():
        return next((one.members for one in _groups() if one.gid == gid), ())
    with contextlib.suppress(KeyError):
        return tuple(grp.getgrgid(gid).gr_mem)
    return ()


def groups_of(name: str, gid: int) -> list[int]:
    """Return the numbers of all groups that a user is in, its own first."""
    if not _inside.current():
        return os.getgrouplist(name, gid)
    found = [gid, *(one.gid for one in _groups() if name in one.members)]
    return list(dict.fromkeys(found))


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def _groups() -> list[_Group]:
    rows = (fields for fields in _rows(_GROUP) if len(fields) >= 4 and _number(fields[2]))
    return [_Group(row[0], int(row[2]), tuple(name for name in row[3].split(",") if name)) for row in rows]


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(_HIGHEST)) and int(text) < _HIGHEST


def _rows(path: str) -> list[list[str]]:
    """Return the fields of each line; none of what is no regular file, whatever is in its place."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return []
        with open(f"/proc/self/fd/{handle}", "rb") as stream:
            text = stream.read(_MOST).decode("utf-8", "surrogateescape")
    except OSError:
        return []
    finally:
        os.close(handle)
    return [line.split(":") for line in text.split("\n") if line and not line.startswith(("#", "+", "-"))]
