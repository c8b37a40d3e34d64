# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a running server is reached: the first of its sockets that its owner can use, else its address. Its pid file names one alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _proc
from .._host._files import regular_opener
from .._host._users import call_as

if TYPE_CHECKING:
    from .._host._users import User
    from ._cluster import Cluster
    from ._data_dir import DataDir

_ADDRESS_LINE = 5  # of postmaster.pid
_EVERYWHERE = ("*", "0.0.0.0", "::")


def reached(looked: DataDir, owner: User) -> str:
    """Return what PGHOST must be: a directory, else a host. An abstract socket (``@name``) only where there is nothing else."""
    name = f".s.PGSQL.{looked.port or '5432'}"
    for directory in [looked.socket_dir, *_directories(looked.pid, name)]:
        if os.path.isabs(directory) and call_as(owner, os.access, os.path.join(directory, name), os.W_OK):
            return directory
    address = str(call_as(owner, _address, looked.path))
    return ("localhost" if address in _EVERYWHERE else address) or looked.socket_dir


def refuse_abstract(cluster: Cluster) -> None:
    """Raise WalgError for an abstract socket, which psql could use and WAL-G can't."""
    if cluster.socket_dir.startswith("@"):
        raise WalgError(
            f"The server on {cluster.data_dir} listens on the abstract socket {cluster.socket_dir} alone, which WAL-G can't use. Add "
            f"a directory to unix_socket_directories, for example '{cluster.socket_dir}, /tmp', or set listen_addresses = 'localhost'; "
            "either needs a restart of the server.",
            found=cluster.socket_dir,
        )


def _directories(pid: int, name: str) -> list[str]:
    """Return the directories of a process's sockets of that name; none if they are not ours to look at."""
    try:
        links = {
            _proc.link(pid, f"fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")
        }  # one may be closed meanwhile
        with open(f"/proc/{pid}/net/unix", encoding="utf-8", errors="surrogateescape") as stream:
            rows = [line.split(None, 7) for line in stream]
    except OSError:
        return []
    paths = [row[7].strip() for row in rows if len(row) == 8 and f"socket:[{row[6]}]" in links]
    return sorted({os.path.dirname(path) for path in paths if os.path.basename(path) == name})


def _address(data_dir: str) -> str:
    try:
        with open(os.path.join(data_dir, "postmaster.pid"), encoding="utf-8", opener=regular_opener) as stream:
            lines = stream.read().splitlines()
    except (OSError, ValueError):
        return ""
    return lines[_ADDRESS_LINE].strip() if len(lines) > _ADDRESS_LINE else ""
