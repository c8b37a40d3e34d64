# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a cluster is: of the user that owns the data directory itself. PostgreSQL runs as no other user, and never as root.

A data directory may be a symbolic link, as /var/lib/postgresql/15/main often is to a volume: the directory that it leads to
counts, and the link must be root's or that owner's, as every directory on the way.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _inside, _trust
from .._host._proc import user_of
from .._host._users import User
from . import _data_dir

if TYPE_CHECKING:
    from ._cluster import Cluster

#: Users that packages of PostgreSQL make for it.
PACKAGED = ("postgres", "enterprisedb")


def owner_of(data_dir: str) -> User | None:
    """Return the user that owns a data directory; None where there is none, or one that root has made and nobody has filled yet."""
    try:
        uid = os.stat(data_dir).st_uid
        if uid == 0 and os.path.isdir(data_dir) and not _data_dir.content(data_dir):
            return None
    except OSError:
        return None
    return User.by_uid(uid)


def refuse_root(name: str) -> None:
    """Raise WalgError if a user that is to own a cluster is root."""
    if User.by_name(name).uid == 0:
        raise WalgError(
            f"walg_pg_os_user is {name!r}, and PostgreSQL does not run as root: name the user that owns the data directory."
        )


def refuse_other(cluster: Cluster) -> None:
    """Raise WalgError unless a cluster is its user's: what root does for it, it does as that user."""
    refuse_root(cluster.os_user)
    found = owner_of(cluster.data_dir)
    if found is None:
        return
    if found.uid == 0:
        raise WalgError(
            f"{cluster.data_dir} belongs to root, and PostgreSQL does not run as root: give the data directory to its user "
            f"(chown {cluster.os_user}), or correct walg_pg_data_dir.",
            found=found.name,
            wanted=cluster.os_user,
        )
    if found.uid != cluster.owner().uid:
        raise WalgError(
            f"{cluster.data_dir} belongs to {found.name!r}, not to {cluster.os_user!r}. Leave walg_pg_os_user out, or set it to "
            f"{found.name}.",
            found=found.name,
            wanted=cluster.os_user,
        )
    if _untouched(cluster.data_dir):
        _trust.refuse_exchangeable(cluster.data_dir, "walg_pg_data_dir", found.uid)
    else:
        _trust.refuse_loose(cluster.data_dir, "walg_pg_data_dir", found.uid)


def _untouched(data_dir: str) -> bool:
    """Say whether it is that of a new container, which images leave open to everybody until its server starts first (_first_start)."""
    return _inside.current() is not None and not _data_dir.content(data_dir)


def believed() -> set[int]:
    """Return the users whose running clusters are found where the play names none: anybody may run a server, in root's eyes too.

    For root, those of PostgreSQL's packages, and that of a container's main process; for others, themselves.
    """
    if os.geteuid() != 0:
        return {os.geteuid()}
    found = {user_of(1)}
    for name in PACKAGED:
        with contextlib.suppress(WalgError):
            found.add(User.by_name(name).uid)
    return found - {0, -1}
