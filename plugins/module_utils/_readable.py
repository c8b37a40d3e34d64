# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a cluster that its owner can't read: WAL-G gives up at the first one, maybe after hours of upload."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from ._errors import WalgError
from ._process import User, call_as

#: WAL-G leaves these out, wherever they lie.
_NAMES = """
    log pg_log pg_xlog pg_wal pgsql_tmp pg_dynshmem pg_notify pg_replslot pg_serial pg_stat_tmp pg_snapshots pg_subtrans
    postgresql.auto.conf.tmp postmaster.opts postmaster.pid recovery.conf
"""
_LEFT_OUT = frozenset(_NAMES.split())
_SECONDS = 5.0  # of looking: a million files take about three
_NAMED = 5


def refuse_closed(data_dir: str, owner: User) -> None:
    """Raise WalgError with the first files and directories of a cluster, tablespaces included, that its owner can't read."""
    closed = list(call_as(owner, _closed, os.path.realpath(data_dir)))
    if closed:
        raise WalgError(
            f"{owner.name!r} can't read {', '.join(closed)}: no base backup can be taken. Move {'it' if len(closed) == 1 else 'them'} "
            f"out of the data directory, or let {owner.name!r} read what belongs to the cluster.",
            found=closed,
        )


def _closed(data_dir: str) -> list[str]:
    """As the owner: return the first of them; the look ends after some seconds."""
    deadline, found = time.monotonic() + _SECONDS, []
    spaces = os.path.join(data_dir, "pg_tblspc")
    for path, folder in _walk(data_dir, spaces):
        if not os.access(path, os.R_OK | (os.X_OK if folder else 0)) and os.path.lexists(path):
            found.append(path)
        if len(found) == _NAMED or time.monotonic() > deadline:
            break
    return found


def _walk(top: str, spaces: str) -> Iterator[tuple[str, bool]]:
    """Yield paths below ``top`` and whether they are directories; of links, those of tablespaces are followed alone."""
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
            yield entry.path, folder
