# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: where this host last saw the marker that says whose archive it is. A storage that has lost it is not the same one.

A share that is not mounted looks like an empty archive, and WAL-G would make its directories on the disk below. The push
wrapper reads the first line of the note: the marker's path, empty where the storage is no file system.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host._files import read_text, write_atomic
from .._host._users import call_as

if TYPE_CHECKING:
    from .._host._users import User

#: In the state directory.
NOTE = "owner-seen"
_ARCHIVE = ("basebackups_005", "wal_005")  # WAL-G's folders
_SIBLING = ".owner"


def note(state_dir: str, path: str, storage: str, system_identifier: str) -> None:
    """Note that the marker is at ``path`` ("" in a storage that is no file system). Run as the cluster's owner."""
    text = f"{path}\n{storage}\n{system_identifier}\n"
    if read_text(os.path.join(state_dir, NOTE)) != text:
        write_atomic(os.path.join(state_dir, NOTE), text, 0o644)


def seen(state_dir: str, storage: str, system_identifier: str) -> bool:
    """Say whether this storage has had a marker of this cluster, as this host knows."""
    return _read(state_dir)[1:] == [storage, system_identifier]


def refuse_unmounted(user: User, state_dir: str, storage: str) -> None:
    """Raise WalgError if a file storage has lost its marker and all else with it. ``user``: who can see the share."""
    path = str(call_as(user, _lost, state_dir, storage))
    if path:
        raise WalgError(
            f"The archive {storage} is not there: its marker {path} was seen from here and is gone, and so are all base backups and WAL. "
            f"Is the share mounted? Nothing is written to the directory below. {way_on(state_dir)}",
            found=path,
        )


def way_on(state_dir: str) -> str:
    """Say what to do if the storage is empty on purpose."""
    return f"If the archive was removed on purpose, remove {os.path.join(state_dir, NOTE)} and run mapswipe.walg.site again."


def _read(state_dir: str) -> list[str]:
    with contextlib.suppress(WalgError):
        return (read_text(os.path.join(state_dir, NOTE)) or "").splitlines()
    return []


def _lost(state_dir: str, storage: str) -> str:
    """As the owner: return the marker's path if nothing is there any more, else ""."""
    known = _read(state_dir)
    if len(known) != 3 or not known[0] or known[1] != storage or os.path.isfile(known[0]):
        return ""
    directory = os.path.dirname(known[0])
    prefix = directory[: -len(_SIBLING)] if directory.endswith(_SIBLING) else directory
    return "" if any(_holds_something(os.path.join(prefix, name)) for name in _ARCHIVE) else known[0]


def _holds_something(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False
