# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a cluster that its owner can't read, and sockets: WAL-G gives up at the first one, maybe after hours of upload."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator

from .._errors import WalgError
from ._users import User, call_as

#: WAL-G leaves these out, wherever they lie.
_NAMES = """
    log pg_log pg_xlog pg_wal pgsql_tmp pg_dynshmem pg_notify pg_replslot pg_serial pg_stat_tmp pg_snapshots pg_subtrans
    postgresql.auto.conf.tmp postmaster.opts postmaster.pid recovery.conf
"""
_LEFT_OUT = frozenset(_NAMES.split())
_LOST = "lost+found"
_SECONDS = 5.0  # of looking: a million files take about three
_NAMED = 5


def refuse_closed(data_dir: str, owner: User) -> None:
    """Raise WalgError with the first files and directories of a cluster, tablespaces included, that WAL-G can't read as its owner."""
    found = dict(call_as(owner, _found, os.path.realpath(data_dir)))
    closed, sockets = list(found["closed"]), list(found["sockets"])
    if closed:
        raise WalgError(
            f"{owner.name!r} can't read {', '.join(closed)}: no base backup can be taken. {_way_on(closed, owner)}",
            found=closed,
        )
    if sockets:
        raise WalgError(
            f"{', '.join(sockets)}: WAL-G ends a base backup at a socket, so none can be taken. Move that socket to another "
            "directory, or remove it if nothing uses it. PostgreSQL's own are where unix_socket_directories says (a restart is needed).",
            found=sockets,
        )


def _way_on(closed: list[str], owner: User) -> str:
    if all(os.path.basename(path) == _LOST for path in closed):
        return (
            "It is the file system's own. While it is empty, remove it as root with rmdir (mklost+found and fsck create it again); or put "
            "the files of the cluster into a directory below the mount point."
        )
    move = f"Move {'it' if len(closed) == 1 else 'them'} out of the data directory"
    return f"{move}, or let {owner.name!r} read what belongs to the cluster."


def _found(data_dir: str) -> dict[str, list[str]]:
    """As the owner: return the first of them; the look ends after some seconds."""
    deadline = time.monotonic() + _SECONDS
    closed: list[str] = []
    sockets: list[str] = []
    for entry, folder in _walk(data_dir, os.path.join(data_dir, "pg_tblspc")):
        if not os.access(entry.path, os.R_OK | (os.X_OK if folder else 0)) and os.path.lexists(entry.path):
            closed.append(entry.path)
        elif not folder and _is_socket(entry):
            sockets.append(entry.path)
        if len(closed) + len(sockets) >= _NAMED or time.monotonic() > deadline:
            break
    return {"closed": closed, "sockets": sockets}


def _is_socket(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.is_file(follow_symlinks=False) and stat.S_ISSOCK(os.lstat(entry.path).st_mode)
    except OSError:
        return False  # it is gone


def _walk(top: str, spaces: str) -> Iterator[tuple[os.DirEntry[str], bool]]:
    """Yield what is below ``top`` and whether it is a directory; of links, those of tablespaces are followed alone."""
    stack = [top]
    while stack:
        directory = stack.pop()
        try:
            entries = list(os.scandir(directory))
        except OSError:
            continue  # named already, or gone
        for entry in entries:
            if entry.name in _LEFT_OUT:
                continue
            folder = entry.is_dir(follow_symlinks=directory == spaces)
            if folder:
                stack.append(entry.path)
            elif entry.is_symlink():
                continue
            yield entry, folder
