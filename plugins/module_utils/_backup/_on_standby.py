# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on base backups that a standby takes. Their WAL comes from the primary, whose archive it is.

WAL-G names a base backup by the segment in which it begins; on a standby that is the last restartpoint's. Two within one would have one
name, and the second would overwrite the first. So there must be a restartpoint in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._archive import _wal_path
from .._host import _times
from .._postgres import _wal
from .._walg import _backups

if TYPE_CHECKING:
    from datetime import datetime

    from .._postgres._server import Server, ServerFacts
    from .._walg._backups import Backup
    from .._walg._inventory import Inventory

_AHEAD = 3600.0  # seconds that the clocks of two hosts may differ
_REDO = "SELECT redo_lsn::text FROM pg_control_checkpoint()"


def reason(
    newest: Backup | None, archive: Inventory | None, facts: ServerFacts, max_age: float | None, now: datetime
) -> tuple[bool, str]:
    """Say whether a base backup is needed, and why; ``newest``: the one on this timeline that counts."""
    if newest is None or archive is None:
        where = f"system identifier {facts.system_identifier}, timeline {facts.timeline}"
        return True, f"no restorable base backup exists for {where}"
    gap = _wal_path.gaps([_wal_path.Leg(newest.timeline, newest.start_lsn, None)], archive)
    if gap:
        return (
            True,
            f"the archive has a gap after {newest.name}: {gap[0]} is missing, so it does not lead to the present",
        )
    age = (now - _times.moment(newest.finish_time)).total_seconds()
    aged = too_old(newest, age, max_age)
    return bool(aged), aged or f"{newest.name} is {age:.0f} s old"


def too_old(newest: Backup, age: float, max_age: float | None) -> str:
    """Say why a base backup is too old, "" if it is not. One that ended in the future ended under a wrong clock: its age is not known."""
    if max_age is None:
        return ""
    if age < -_AHEAD:
        return f"{newest.name} ended {-age:.0f} s from now: a clock is wrong, so how old it is is not known"
    if age >= max_age or max_age == 0:
        return f"{newest.name} is {age:.0f} s old; at most {max_age:.0f} s are allowed"
    return ""


def taken(server: Server, facts: ServerFacts, listed: list[Backup]) -> str:
    """Return the base backup that one taken now would overwrite, "" if there is none. Asks for a restartpoint where there is one."""
    names = _backups.by_segment(listed)
    for again in (False, True):
        segment = _wal.segment_of(facts.timeline, _wal.parse_lsn(server.ask(_REDO)), facts.segment_size)
        if segment not in names:
            return ""
        if not again:
            server.ask("CHECKPOINT", timeout=server.timeout * 20)
    return names[segment].name
