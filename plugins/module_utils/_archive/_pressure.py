# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: when the archive is dead and pg_wal fills, WAL may be given up, so that the server does not stop for want of room.

Only where walg_wal_pressure is drop. The job allows it for some minutes at a time by a file, and wal-push, which finds that file, notes
each segment that it lets go. What is lost is told by every check, noted in the storage as soon as it takes a write again, and ended by a
new full base backup. History files are never given up.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _times
from .._host._files import read_text, write_atomic
from .._postgres import _wal
from . import _notes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from .._instance._job_spec import JobSpec
    from .._instance._record import Instance
    from .._walg._client import Walg

#: Seconds for which it is allowed; a job that no longer runs allows nothing.
_ALLOWED = 1200
_REASON = "given up because the archive did not take it and pg_wal was filling (walg_wal_pressure is drop)"


def dropped(instance: Instance) -> list[str]:
    """Return the segments that were given up since the last full base backup, in order."""
    lines = (read_text(instance.files.given_up) or "").splitlines()
    return sorted({line.strip() for line in lines if _wal.SEGMENT_NAME.match(line.strip())})


def relieve(walg: Walg, instance: Instance, spec: JobSpec, health: Mapping[str, Any], now: datetime) -> None:
    """Allow WAL to be given up, or no longer. Run as the cluster's owner, by each check."""
    lost, allowed = dropped(instance), os.path.exists(instance.files.give_up)
    if (lost or allowed) and _noted(walg, lost, now):  # so the storage takes a write again
        _forbid(instance)
        return
    if spec.wal_pressure != "drop" or health.get("server") != "primary":
        _forbid(instance)
    elif allowed or _pressing(spec, health):
        write_atomic(instance.files.give_up, f"{int(now.timestamp()) + _ALLOWED}\n", 0o644)


def _forbid(instance: Instance) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(instance.files.give_up)


def _pressing(spec: JobSpec, health: Mapping[str, Any]) -> bool:
    """Say whether the archiver fails and what waits is beyond the limit; without one, more than there is room for once more."""
    room, waiting = health.get("wal"), health["waiting"]["files"] * health["segment_size"]
    stuck = health.get("failing") or (health.get("promise") and (health.get("behind") or 0) > health["promise"])
    if not stuck or not room:
        return False
    return bool(waiting > (spec.pressure_limit or room["free"]))


def _noted(walg: Walg, lost: Sequence[str], now: datetime) -> bool:
    """Note in the storage what was given up. Returns whether it took that."""
    try:
        notes = _notes.read(walg)
        known = {gap.first for gap in notes.gaps}
        new = [gap for gap in gaps(lost, _times.text(now)) if gap.first not in known]
        _notes.write(walg, _notes.Notes(notes.backups, (*notes.gaps, *new)))
    except WalgError:
        return False
    return True


def gaps(names: Iterable[str], time: str) -> list[_notes.Gap]:
    """Return segments as gaps: those that follow each other are one. Segments of any size have names that follow each other so."""
    found: list[_notes.Gap] = []
    for name in sorted(names):
        timeline = _wal.timeline_of(name)
        if found and found[-1].timeline == timeline and _follows(found[-1].last, name):
            found[-1] = _notes.Gap(timeline, found[-1].first, name, _REASON, time)
        else:
            found.append(_notes.Gap(timeline, name, name, _REASON, time))
    return found


def _follows(before: str, name: str) -> bool:
    high, low = int(before[8:16], 16), int(before[16:], 16)
    return (int(name[8:16], 16), int(name[16:], 16)) in ((high, low + 1), (high + 1, 0))


def forget(instance: Instance, start: str) -> None:
    """Forget what was given up before a base backup that counts; ``start``: its first segment."""
    lost = dropped(instance)
    if lost and all(name[8:] < start[8:] for name in lost) and not os.path.exists(instance.files.give_up):
        os.unlink(instance.files.given_up)
