# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: a running archive moves to another storage, and no segment is treated as sent that is not there.

WAL-G sends segments ahead and notes them below pg_wal; when PostgreSQL comes to such a segment, WAL-G says "done" and
sends nothing, whatever storage it is told by then. So pushes are held back while the settings change and the notes go.
PostgreSQL keeps what was not pushed. A run that dies in between leaves the mark: pushes go on failing with a message
that says so, and the next run finishes the change.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _locks, _proc
from .._host._files import write_atomic
from .._host._users import call_as
from .._host._waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._instance._record import Instance

#: In the state directory; while it is there, the wrapper wal-push sends nothing.
_GRACE = 15.0  # seconds beyond the push time-out: TERM, KILL, and a wrapper that has not yet started WAL-G


def unfinished(instance: Instance) -> bool:
    """Say whether an earlier run died in the middle of a change."""
    return os.path.lexists(instance.files.storage_change)


@contextlib.contextmanager
def moving(instance: Instance) -> Iterator[None]:
    """Hold pushes and base backups back for the block, then forget what was sent ahead, then let them go on.

    When the block fails, the mark stays; the caller lifts it if nothing was changed.
    """
    owner = instance.owner
    what = f"A base backup of the instance {instance.name!r}, which must end before its archive changes,"
    with _locks.locked(instance.files.backup_lock, what, owner):
        call_as(owner, write_atomic, instance.files.storage_change, f"to {instance.storage}\n", 0o644)
        try:
            await_pushes(instance)
        except WalgError:
            lift(instance)
            raise
        yield
        await_pushes(instance)  # of a command that is not ours, and heeds no mark
        call_as(owner, forget_sent, instance.cluster.data_dir)
        lift(instance)


def lift(instance: Instance) -> None:
    """Let pushes go on."""
    call_as(instance.owner, _unlink, instance.files.storage_change)


def forget_sent(data_dir: str) -> int:
    """Remove WAL-G's notes on segments that it sent ahead, and nothing else; return how many. Run as the owner."""
    notes = os.path.join(data_dir, "pg_wal", "walg_data", "walg_archive_status")
    try:
        names = os.listdir(notes)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    for name in names:
        _unlink(os.path.join(notes, name))
    return len(names)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def await_pushes(instance: Instance) -> None:
    """Wait until no wal-push of this cluster runs. Raises WalgError where one does not end."""
    running = _pushes(instance)
    limit = instance.push_timeout + _GRACE
    if not wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in running), limit, every=0.05):
        raise WalgError(
            f"A wal-push of the instance {instance.name!r} did not end within {limit:.0f} s, so its archive was not changed. "
            "See what the server's archiver waits for, and run again.",
            found=running,
        )


def _pushes(instance: Instance) -> list[int]:
    """Return the processes that push for this cluster: ours by the path of the record or the settings, others by where they run.

    All run as the cluster's owner, as the server does that starts them.
    """
    found = []
    data_dir, owner = os.path.realpath(instance.cluster.data_dir), instance.owner
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid() and _proc.user_of(int(entry)) == owner.uid:
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as stream:
                    line = os.fsdecode(stream.read())
                there = os.readlink(f"/proc/{entry}/cwd")
            except OSError:
                continue
            ours = instance.record_file in line or instance.settings_file in line
            if "wal-push" in line and (ours or there == data_dir):
                found.append(int(entry))
    return found
