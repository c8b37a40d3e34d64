# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tablespaces of a base backup, and those that servers of this host use."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from .._errors import WalgError
from .._host._users import User, call_as
from .._instance._record import Instance
from .._postgres import _servers


def tablespaces_of_servers(identifier: str, owner: User) -> set[tuple[str, str]]:
    """Return the tablespaces, OID and location, of the owner's servers on this host that have this system identifier.

    A copy restored beside its source replays the source's CREATE TABLESPACE, in the source's directories. Those of another user
    are closed to it.
    """
    found: set[tuple[str, str]] = set()
    for one in _servers.served({owner.uid}):
        if one.system_identifier == identifier:
            found.update(one.tablespaces().items())
    return found


def refuse_later_tablespaces(
    instance: Instance, name: str, spaces: Mapping[str, str], known: Iterable[tuple[str, str]]
) -> None:
    """Raise WalgError where replay would make a tablespace again in a directory that is in use.

    ``spaces``: those of the base backup; ``known``: those that are known to have been made later. PostgreSQL replays
    a CREATE TABLESPACE at the original place, wherever it recovers, and clears that place first.
    """
    for oid, path in sorted(known):
        if oid not in spaces and os.path.isdir(path) and call_as(instance.owner, os.listdir, path):
            raise WalgError(
                f"The base backup {name} is from before the tablespace {oid} was made. Recovery from it could make it again at {path}, "
                "which is not empty, and destroy what is there. Choose a newer base backup (walg_restore_backup), move that directory "
                "away, or restore on another host.",
                found=path,
            )
