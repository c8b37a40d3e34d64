# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: does the archive lead to what the server holds now. Asks the server, changes nothing."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host._counts import agree
from .._postgres import _wal

if TYPE_CHECKING:
    from .._postgres._server import Server, ServerFacts
    from .._walg._inventory import Inventory

_QUESTION = """
SELECT json_build_object(
  'mode', current_setting('archive_mode'),
  'command', current_setting('archive_command'),
  'library', coalesce(current_setting('archive_library', true), ''),
  'lsn', pg_current_wal_lsn()::text,
  'failed_wal', coalesce(last_failed_wal, ''),
  'failed_time', coalesce(last_failed_time::text, ''),
  'fails', coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false),
  'idle', extract(epoch FROM now() - coalesce(last_archived_time, pg_postmaster_start_time())))
FROM pg_stat_archiver
"""
#: Seconds without a segment archived, though one waits, after which the archiver is treated as stuck: it counts no failure.
_STUCK = 900.0


@dataclass(frozen=True)
class Present:
    """What the server says of its archiver. ``waiting``: files that it has yet to send; ``idle``: seconds since the last one."""

    mode: str
    command: str
    library: str
    lsn: int
    failed_wal: str
    failed_time: str
    fails: bool
    idle: float
    waiting: frozenset[str]

    def trouble(self) -> str:
        """Say what is wrong with the archiver, "" if nothing is."""
        if not self.waiting:
            return ""
        behind = f"{agree(len(self.waiting), 'file', 'waits', 'wait')} in pg_wal, the first is {min(self.waiting)}"
        if self.fails:
            return f"the last try to archive {self.failed_wal} failed at {self.failed_time}; {behind}"
        return f"nothing was archived for {self.idle:.0f} s; {behind}" if self.idle > _STUCK else ""


def ask(server: Server, facts: ServerFacts) -> Present:
    """Ask the server. Run as the cluster's owner."""
    told: dict[str, Any] = server.ask_json(_QUESTION)
    told["lsn"] = _wal.parse_lsn(told["lsn"])
    return Present(**told, waiting=frozenset(_waiting(facts.data_directory)))


def _waiting(data_dir: str) -> list[str]:
    names: list[str] = []
    with contextlib.suppress(FileNotFoundError):
        names = os.listdir(os.path.join(data_dir, "pg_wal", "archive_status"))
    return [name[: -len(".ready")] for name in names if name.endswith(".ready")]


def not_archiving(now: Present) -> str:
    """Say why the server sends nothing, or has somebody else send it, by what is in force; "" if it does."""
    return why_not(now.mode, now.command, now.library)


def why_not(mode: str, command: str, library: str) -> str:
    """Say the same by the settings of that name."""
    if mode == "off":
        return "archive_mode is off"
    if library:
        return f"archive_library is {library!r}"
    return "" if "wal-push" in command else f"archive_command is {command!r}"


def refuse_older(now: Present, facts: ServerFacts, archive: Inventory, storage: str) -> None:
    """Raise WalgError if the archive is ahead of the server: the server's present is another one than the archive's."""
    last = archive.last(facts.timeline)
    if last is None:
        return
    end = (_wal.segment_number(last, archive.segment_size) + 1) * archive.segment_size
    if end > now.lsn:
        raise WalgError(
            f"The archive {storage} is ahead of the server on {facts.data_directory}: it holds WAL up to {_wal.format_lsn(end)} on "
            f"timeline {facts.timeline}, the server has written up to {_wal.format_lsn(now.lsn)}. Its data directory is an older "
            "state, of a file system snapshot for instance, and what it writes can't follow that archive. Restore the latest state "
            "with mapswipe.walg.restore, or give this server a prefix of its own in walg_storage.",
            found=_wal.format_lsn(now.lsn),
            wanted=_wal.format_lsn(end),
        )


def lost(now: Present, facts: ServerFacts, archive: Inventory, start: int) -> list[str]:
    """Return the complete segments of the server after the archive's last one that will never be sent.

    ``start``: the LSN from which on they matter.
    """
    size = archive.segment_size
    last = archive.last(facts.timeline)
    first = _wal.segment_number(last, size) + 1 if last else start // size
    names = (_wal.segment_name(facts.timeline, number, size) for number in range(first, max(now.lsn - 1, 0) // size))
    return [name for name in names if name not in now.waiting]
