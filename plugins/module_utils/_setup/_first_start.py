# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The empty data directory of a new container, as its image's entry makes it before the first start: of the server's user, closed.

Until then it is open to everybody in Docker's official image, or root's if the engine made it for a bind mount.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .._host import _trust
from .._host._users import call_as
from .._postgres import _data_dir, _whose

if TYPE_CHECKING:
    from .._host._users import User

_CLOSED = 0o700


def close(data_dir: str, user: User) -> None:
    """Give an empty data directory to the server's user, and close it to others. One that is not there or holds something is left alone."""
    if not os.path.isdir(data_dir) or _data_dir.content(data_dir):
        return
    owner = _whose.owner_of(data_dir)
    if owner is not None:
        call_as(owner, os.chmod, data_dir, _CLOSED)
        return
    handle = _trust.open_directory(data_dir)
    try:
        os.fchmod(handle, _CLOSED)
        os.fchown(handle, user.uid, user.gid)
    finally:
        os.close(handle)
