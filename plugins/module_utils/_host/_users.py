# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operating system users, and work that is done with the rights of one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from .._errors import WalgError
from . import _accounts

_HIGHEST_UID = 2**32 - 1  # (uid_t) -1 is nobody's
_LOOK = 0.25  # seconds between two looks at a child that works for us
_STOPPED = 20.0  # seconds that it may be stopped, all in all
_LIFELESS = 300.0  # seconds without a sign of life, as of one that waits for a file server
MOST_ANSWER = 256 * 1024 * 1024  # bytes


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    PreExec = Callable[[], None]


@dataclass(frozen=True)
class User:
    """The operating system user that a child becomes: name, uid, gid, home directory."""

    name: str
    uid: int
    gid: int
    home: str

    @classmethod
    def by_name(cls, name: str) -> User:
        """Look up a user by name. Raises WalgError if there is none."""
        entry = _accounts.user_named(name)
        if entry is None:
            if re.fullmatch("[0-9]{1,10}", name) and int(name) < _HIGHEST_UID:
                return cls.by_uid(int(name))
            raise WalgError(f"No operating system user named {name!r} on this host (walg_pg_os_user).")
        return cls(entry.name, entry.uid, entry.gid, entry.home)

    @classmethod
    def by_uid(cls, uid: int) -> User:
        """Look up a user by number; a number without an entry (a container's) is a user anyway."""
        entry = _accounts.user_numbered(uid)
        if entry is None:
            return cls(str(uid), uid, uid, "/")
        return cls(entry.name, entry.uid, entry.gid, entry.home)

    @classmethod
    def current(cls) -> User:
        """Return the user we run as."""
        return cls.by_uid(os.geteuid())


def dropper(user: User | None) -> PreExec | None:
    """Return what a child does to become ``user``; None when it is that user already."""
    if user is None or user.uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        me = User.current().name
        raise WalgError(
            f"This must run as the user {user.name!r}, but runs as {me!r}, which is not root: "
            f"run the play as {user.name!r} or as root (become)."
        )
    who = user
    groups = _groups(who)

    def drop() -> None:
        os.setgroups(groups)
        os.setgid(who.gid)
        os.setuid(who.uid)

    return drop


def _groups(who: User) -> list[int]:
    """Return a user's groups; a number without an entry has its own group alone, whoever is called like that number."""
    known = _accounts.user_named(who.name)
    return _accounts.groups_of(who.name, who.gid) if known and known.uid == who.uid else [who.gid]


def call_as(user: User | None, function: Callable[..., Any], *args: Any) -> Any:
    """Call ``function(*args)`` with that user's rights, in a child, and return its (JSON-able) answer.

    For file work in directories that the database user can write: done as root it could be led astray by
    a symbolic link planted there. A WalgError or OSError in the child is raised here as WalgError. A child that its user stops,
    or that shows no sign of life, is killed.
    """
    drop = dropper(user)
    if drop is None:
        try:
            return json.loads(json.dumps(function(*args)))  # the same answer as from a child
        except OSError as exc:
            raise WalgError(str(exc)) from exc
    return call_apart(drop, function, args)


def call_apart(drop: PreExec | None, function: Callable[..., Any], args: Sequence[Any]) -> Any:
    """Call a function in a child and return its answer."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _answer(writer, drop, function, args)
    os.close(writer)
    answer: dict[str, Any] = json.loads(hear(reader, pid).decode() or "{}")
    if not answer:
        raise WalgError("The child process that worked as another user ended without an answer: was it killed?")
    if "error" in answer:
        raise WalgError(answer["error"], **answer["fields"])
    return answer["value"]


def hear(reader: int, pid: int, end: bool = True) -> bytes:
    """Return all that a child writes into a pipe; WalgError if it is held up. The pipe is closed, and the child is ended (``end``).

    Its user can stop it, or have it wait for ever for a file of his; that must not hold us up.
    """
    told, poll = bytearray(), select.poll()
    poll.register(reader)
    watched = _Watched(pid)
    try:
        while True:
            if not poll.poll(_LOOK * 1000):
                watched.look()
                continue
            block = os.read(reader, 64 * 1024)
            if not block:
                return bytes(told)
            told += block
            if len(told) > MOST_ANSWER:
                raise WalgError(f"A child process answered more than {MOST_ANSWER} bytes.")
    finally:
        os.close(reader)
        if end:
            end_child(pid)


def end_child(pid: int, wait: float = 0.0) -> None:
    """Wait for a child's end, and bring it about if it does not come in time."""
    deadline = time.monotonic() + wait
    with contextlib.suppress(ChildProcessError):
        while not os.waitpid(pid, os.WNOHANG)[0]:
            if time.monotonic() >= deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return
            time.sleep(0.01)


class _Watched:
    """A child that works for us as another user, looked at now and then."""

    def __init__(self, pid: int) -> None:
        self.pid, self.last = pid, ""
        self.stopped = self.lifeless = 0.0

    def look(self) -> None:
        """Raise WalgError if the child is held up. Times are counted in looks: we may have been stopped ourselves."""
        state, signs = _signs_of_life(self.pid)
        self.stopped += _LOOK if state in ("T", "t") else 0.0
        self.lifeless = self.lifeless + _LOOK if signs == self.last else 0.0
        self.last = signs
        if self.stopped > _STOPPED:
            raise WalgError(
                f"The child process {self.pid}, which worked as another user, was stopped (SIGSTOP) for {_STOPPED:.0f} s and is ended "
                "now. Find out who stops that user's processes, then run again.",
                pid=self.pid,
            )
        if self.lifeless > _LIFELESS:
            raise WalgError(
                f"The child process {self.pid}, which worked as another user, did nothing for {_LIFELESS:.0f} s and is ended now. See "
                "whether a file system hangs that this user's files are on, then run again.",
                pid=self.pid,
            )


def _signs_of_life(pid: int) -> tuple[str, str]:
    """Return a process's state, and numbers that change while it does anything: processor time, and how often it waited."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            fields = stream.read().rsplit(")", 1)[1].split()
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as stream:
            switches = [line.split()[1] for line in stream if "ctxt_switches" in line]
    except (OSError, IndexError):
        return "", ""
    return fields[0], " ".join([*fields[11:13], *switches])


def _answer(writer: int, drop: PreExec | None, function: Callable[..., Any], args: Sequence[Any]) -> NoReturn:
    """In the child: become the user, do the work, write the answer, leave without unwinding the parent's stack."""
    try:
        _tell(writer, drop, function, args)
    finally:
        os._exit(0)


def _tell(writer: int, drop: PreExec | None, function: Callable[..., Any], args: Sequence[Any]) -> None:
    answer: dict[str, Any] = {}
    try:
        if drop is not None:
            drop()
        answer = {"value": function(*args)}
    except WalgError as exc:
        answer = {"error": exc.msg, "fields": exc.fields}
    except OSError as exc:
        answer = {"error": str(exc), "fields": {}}
    finally:
        error = sys.exc_info()[1]
        if not answer:  # a defect of ours: the parent has to hear of it
            text = f"unexpected {type(error).__name__}: {error}"
            answer = {"error": text, "fields": {"exception": traceback.format_exc()}}
        with os.fdopen(writer, "wb") as stream:
            stream.write(json.dumps(answer).encode())
