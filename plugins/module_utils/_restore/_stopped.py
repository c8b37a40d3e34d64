# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that a restore replaces stays as it was when it was stopped: nobody has started it since, and nobody can.

Every start of PostgreSQL changes global/pg_control. While the directories are moved, a process of ours holds postmaster.pid,
which PostgreSQL makes as exclusively as we do: whoever comes second stays away. When we are killed, that process takes it back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any, Iterator, Mapping, NoReturn

from .._errors import WalgError
from .._host import _proc
from .._host._users import User, call_as, dropper, end_child, hear
from .._postgres import _control, _servers

if TYPE_CHECKING:
    from collections.abc import Callable

_LOCK = "postmaster.pid"
_PATIENCE = 30.0  # seconds for the process that holds to give back what it took
_LOCK_SIZE = 8192  # characters that are read of it
_OUR_LINES = 3  # PostgreSQL's own has more


def snapshot(data_dir: str, owner: User) -> dict[str, Any]:
    """Return what a stopped cluster's control file says; empty if there is none."""
    return dict(call_as(owner, _snapshot, data_dir))


def _snapshot(data_dir: str) -> dict[str, Any]:
    try:
        content = _control.read(data_dir)
    except (OSError, WalgError):
        return {}
    control = _control.parse(content)
    found: dict[str, Any] = {"digest": hashlib.sha256(content).hexdigest()}
    if control is not None:
        lsn = f"{control.checkpoint >> 32:X}/{control.checkpoint & 0xFFFFFFFF:X}"
        found.update({"clean": control.clean, "checkpoint": lsn, "timeline": control.timeline})
    return found


def refuse_started(data_dir: str, owner: User, before: Mapping[str, Any]) -> None:
    """Raise StartedError if somebody has started the cluster since ``before``, whether it still runs or not."""
    servers = _servers.servers_on(data_dir)
    now = snapshot(data_dir, owner)
    if servers or now != before:
        raise StartedError(data_dir, servers, before, now)


class StartedError(WalgError):
    """Somebody started the cluster that had been stopped."""

    def __init__(
        self, data_dir: str, servers: list[int], before: Mapping[str, Any], now: Mapping[str, Any] | None = None
    ) -> None:
        who = ", ".join(f"{pid}{_parent(pid)}" for pid in servers)
        is_ = f"runs (pid {who}) and was left running" if servers else f"is stopped again, now at {_told(now or {})}"
        super().__init__(
            f"Somebody started the server on {data_dir} meanwhile: it was stopped at {_told(before)}, and {is_}. It was not moved: what "
            "was committed there since would be lost. Find out who starts it (a loop, cron, a service manager, a colleague) and "
            "end that; then run the same request again, which begins with what is there now.",
            pids=servers,
            before=dict(before),
            now=dict(now or {}),
        )


def _told(found: Mapping[str, Any]) -> str:
    if "checkpoint" not in found:
        return "an unknown checkpoint"
    state = "" if found["clean"] else ", not cleanly"
    return f"checkpoint {found['checkpoint']} on timeline {found['timeline']}{state}"


def _parent(pid: int) -> str:
    parent = _proc.family(pid)[0]
    words = " ".join(_proc.command_line(parent)).strip()[:60] if parent > 1 else ""
    return f", started by process {parent}: {words}" if words else ""


@contextlib.contextmanager
def kept_stopped(data_dir: str, owner: User) -> Iterator[None]:
    """Keep every server from starting on a directory for the length of a block, wherever the directory is moved meanwhile.

    Raises StartedError if a server was quicker. A directory on which none can start needs no hold; nor can one be had on a full disk.
    """
    if not call_as(owner, os.path.exists, os.path.join(data_dir, "PG_VERSION")):
        yield
        return
    report, told = os.pipe()
    wait, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(report)
        os.close(end)  # ours alone: when we are gone, the child reads an end of file
        _hold(data_dir, dropper(owner), told, wait)
    os.close(told)
    os.close(wait)
    try:
        answer = json.loads(hear(report, child, end=False).decode() or "{}")
        if answer.get("started"):
            raise StartedError(data_dir, _servers.servers_on(data_dir), snapshot(data_dir, owner))
        yield
    finally:
        os.close(end)
        end_child(child, _PATIENCE)


def _hold(data_dir: str, drop: Callable[[], None] | None, told: int, wait: int) -> NoReturn:
    """In the child: take the lock as the owner, say so, give it back when the parent is done or dead."""
    try:
        os.setsid()  # a Ctrl-C ends the parent only
        if drop is not None:
            drop()
        folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
        answer, former = _take(data_dir, folder)
        with os.fdopen(told, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(answer))
        os.read(wait, 1)
        if answer.get("held"):
            _give_back(folder, former)
    finally:
        os._exit(0)


def _take(data_dir: str, folder: int) -> tuple[dict[str, bool], str | None]:
    """Make postmaster.pid in the name of this process; a stale one is kept in mind. PostgreSQL believes a living process of its user."""
    former = _read_lock(folder)
    if former is not None and len(former.splitlines()) == _OUR_LINES:  # of a run that was killed, this process included
        former, stale = None, True
    else:
        stale = former is not None
    if _servers.servers_on(data_dir):
        return {"started": True}, None
    try:
        if stale:
            os.unlink(_LOCK, dir_fd=folder)
        _write_lock(folder, f"{os.getpid()}\n{data_dir}\n{int(time.time())}\n")
    except FileExistsError:
        return {"started": True}, None
    except OSError:
        return {}, None
    return {"held": True}, former


def _give_back(folder: int, former: str | None) -> None:
    """Leave the directory, wherever it is by now, as it was found."""
    lines = (_read_lock(folder) or "").splitlines()
    if lines[:1] != [str(os.getpid())]:
        return
    os.unlink(_LOCK, dir_fd=folder)
    if former is not None:
        _write_lock(folder, former)


def _read_lock(folder: int) -> str | None:
    try:
        handle = os.open(_LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        with open(handle, encoding="utf-8") as stream:
            return stream.read(_LOCK_SIZE)
    except (OSError, ValueError):
        return None


def _write_lock(folder: int, text: str) -> None:
    handle = os.open(_LOCK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    with open(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
