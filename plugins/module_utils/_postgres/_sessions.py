# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on time-outs that a server, database or role sets for every session, and that would cut off WAL-G's.

The session of a base backup idles while WAL-G uploads; where it is ended, the upload fails at its very end. Measured with
WAL-G 1.1.3 (PostgreSQL 14) and 3.0.8 (17): from 3.0.8 on PGOPTIONS is read and overrides all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import WalgError
from . import _conf

if TYPE_CHECKING:
    from ._server import Server

_READS_OPTIONS = (3, 0, 8)
#: name -> (the first major version that has it, seconds that WAL-G needs at least). Its stop sets no statement_timeout of its own
#: accord, but its start waits for a checkpoint; in a transaction it waits for the archiver.
_LIMITS = {
    "statement_timeout": (10, 300.0),
    "idle_session_timeout": (14, float("inf")),
    "transaction_timeout": (17, 3600.0),
}


def names(major: int) -> list[str]:
    """Return the settings that matter in a version of PostgreSQL."""
    return [name for name, (since, _seconds) in _LIMITS.items() if major >= since]


def options(major: int) -> str:
    """Return PGOPTIONS that lift them all."""
    return " ".join(f"-c {name}=0" for name in names(major))


def refuse_cut_off(server: Server, version: tuple[int, int, int] | None, major: int) -> None:
    """Raise WalgError where one of them would end a session of this WAL-G's. What a build without a number reads is not known."""
    if version is not None and version >= _READS_OPTIONS:
        return
    cluster, shown = server.cluster, server.session_settings(names(major))
    short = {name: value for name, value in shown.items() if 0 < (_conf.seconds(value, "ms") or 0.0) < _LIMITS[name][1]}
    if not short:
        return
    role, database = _identifier(cluster.user), _identifier(cluster.database)
    listed = ", ".join(f"{name} = {value}" for name, value in short.items())
    lines = "\n".join(f"  ALTER ROLE {role} IN DATABASE {database} SET {name} = 0;" for name in short)
    raise WalgError(
        f"WAL-G's sessions have {listed}: PostgreSQL would end the one of a base backup, which waits while files are uploaded. "
        f"Lift it for this role and database, which leaves everybody else's as it is:\n{lines}\n"
        "WAL-G 3.0.8 and later need none of this (walg_version).",
        found=short,
    )


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
