# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One base backup of a cluster at a time, on whichever of its hosts: an advisory lock of a session on the primary.

The server gives it back when the session ends, however that comes about. Between two looks the session is idle, so it holds up no vacuum.
wal-push never waits for it. A standby that can't open a session on its primary goes without: a base backup too many harms nothing.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _locks
from .._host._files import read_text
from .._host._waiting import wait_until
from .._postgres import _conninfo, _server
from .._postgres._server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .._host._process import Background, Runner
    from .._instance._record import Instance

#: The two halves of the lock's key: "walg" and "back" as numbers.
_KEY = "2002873191, 1650549611"
_SCRIPT = f"""SELECT 'lock ' || pg_try_advisory_lock({_KEY});
SELECT 1 \\g /dev/null
\\watch 20
"""
_PATIENCE = 20.0  # seconds for the session
#: What of an address of the primary a session takes as variables; the password among them, which is no word of a command line.
_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "channel_binding": "PGCHANNELBINDING",
}


@contextlib.contextmanager
def held(runner: Runner, instance: Instance, standby: bool) -> Iterator[None]:
    """Hold the lock for the block; run as the cluster's owner. Raises LockedError if another host takes a base backup."""
    server = Server(runner, instance.cluster)
    env = _primary(server) if standby else _here(server)
    if env is None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="mapswipe-walg-lock-") as directory:
        session = _session(runner, server, env, directory)
        try:
            if _answer(session, os.path.join(directory, "out")) == "lock false":
                raise _locks.LockedError(
                    f"Another host takes a base backup of this cluster: it holds the advisory lock ({_KEY}) on the primary."
                )
            yield
        finally:
            session.stop(wait=5.0)


def _here(server: Server) -> dict[str, str]:
    cluster = server.cluster
    return {
        **cluster.credentials,
        "PGHOST": cluster.socket_dir,
        "PGPORT": str(cluster.port),
        "PGUSER": cluster.user,
        "PGDATABASE": cluster.database,
    }


def _primary(server: Server) -> dict[str, str] | None:
    """Return what leads a session to a standby's primary; None where the standby does not say, as one fed by files alone."""
    told = server.ask("SELECT coalesce(current_setting('primary_conninfo', true), '')")
    if not told:
        return None
    try:
        known = dict(_conninfo.pairs(told, "primary_conninfo"))
    except WalgError:
        return None
    found = {_VARIABLES[word]: value for word, value in known.items() if word in _VARIABLES and value}
    return {**found, "PGDATABASE": server.cluster.database}


def _session(runner: Runner, server: Server, env: Mapping[str, str], directory: str) -> Background:
    script = os.path.join(directory, "lock.sql")
    with open(script, "w", encoding="ascii") as stream:
        stream.write(_SCRIPT)
    settings = {"PGAPPNAME": "mapswipe.walg base backup", "PGCONNECT_TIMEOUT": "10", "PGOPTIONS": _server.OPTIONS}
    argv = [server.psql(), "-XAtqw", "-v", "ON_ERROR_STOP=1", "-f", script]
    # Tied: a session that nobody ends would hold the lock for ever.
    return runner.start(argv, output=os.path.join(directory, "out"), env={**env, **settings}, tied=True)


def _answer(session: Background, path: str) -> str:
    """Return what the server answered: "lock true", "lock false", or "" if there is no session."""
    found: list[str] = []

    def answered() -> bool:
        found[:] = [line for line in (read_text(path) or "").splitlines() if line.startswith("lock ")]
        return bool(found) or session.poll() is not None

    wait_until(answered, _PATIENCE, every=0.02)
    return found[0] if found else ""
