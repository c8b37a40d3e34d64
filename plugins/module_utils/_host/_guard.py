# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process between the one outside of a container and the one that works in it, so that nothing is left to the container's main process.

That may be PostgreSQL, which takes a child that it does not know and that was killed for a crash of its own, and restarts all sessions.
Programs whose starter is gone become children of the guard, and when the process outside is gone, the guard ends all of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from typing import TYPE_CHECKING, NoReturn

from .._errors import WalgError
from . import _proc

if TYPE_CHECKING:
    from ._users import PreExec

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_KILLED = 128 + signal.SIGKILL
_LOOK = 1.0  # seconds between two looks at who was left running
_PATIENCE = 10.0  # seconds for what was killed to be gone
_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def leave_to(child: int) -> NoReturn:
    """Wait for a child, and end as it ends; nothing else of this process is needed, and signals end it as they end any."""
    try:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os._exit(end_of(child))
    finally:
        os._exit(_KILLED)


def end_of(child: int) -> int:
    """Wait for the end of a process; return its exit code as a shell counts it."""
    return _code(os.waitpid(child, 0)[1])


def _code(status: int) -> int:
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def end_with_parent() -> None:
    """Have this process killed when its parent ends, and keep it closed to others: both are undone by a change of the user."""
    libc = ctypes.CDLL(None, use_errno=True)
    for what, value in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_DUMPABLE, 0)):
        if libc.prctl(what, value, 0, 0, 0) != 0:
            raise WalgError(f"Cannot tie a child to its parent: {os.strerror(ctypes.get_errno())}")


def tied(before: PreExec | None) -> PreExec:
    """Return what a child does to be killed when this process ends; ``before``: what it does first, such as becoming another user."""
    libc, parent = ctypes.CDLL(None), os.getpid()

    def tie() -> None:
        if before is not None:
            before()
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it has just ended
            os._exit(_KILLED)

    return tie


def fork(life: int) -> None:
    """Fork; only the child returns. This process waits for it, and ends all that it has started when ``life`` comes to its end."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise WalgError(f"Cannot take care of what is left behind: {os.strerror(ctypes.get_errno())}")
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
    woken, waker = os.pipe()
    worker = os.fork()
    if worker:
        try:
            _guard(worker, life, woken, waker)
        finally:
            os._exit(_KILLED)
    for number, handler in before.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)
    for handle in (life, woken, waker):
        os.close(handle)
    end_with_parent()


def _guard(worker: int, life: int, woken: int, waker: int) -> NoReturn:
    os.set_blocking(waker, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(life)
    poll.register(woken)
    servers: set[int] = set()
    while True:
        ready = {handle for handle, _event in poll.poll(_LOOK * 1000)}
        ended = _reaped(worker)
        if life in ready or (ended or 0) > 128:
            _end_all(worker, servers)
        if ended is not None:
            os._exit(ended)
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
        left = {pid for pid, (parent, _session) in _families().items() if parent == os.getpid() and pid != worker}
        if _proc.stat(worker)[:1] not in ([], ["Z"]):
            servers = left  # whose starter has left them running


def _reaped(worker: int) -> int | None:
    """Collect who has ended; return the worker's exit code once it has."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == worker:
                return _code(status)
            if not pid:
                break
    return None


def _end_all(worker: int, servers: set[int]) -> NoReturn:
    """End the worker and the programs that it has started, with their own; not servers, which it has left running."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGSTOP)
    families = _families()
    own = {worker, os.getpid()}
    led = {pid for pid, (parent, _session) in families.items() if parent in own} - servers - {worker}
    ended = {pid for pid, (_parent, session) in families.items() if pid in led or session in led} | {worker}
    for pid in ended:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE
    while ended & set(_families()) and time.monotonic() < deadline:
        _reaped(-1)
        time.sleep(0.01)
    os._exit(_KILLED)


def _families() -> dict[int, tuple[int, int]]:
    """Return the parent and the session of all processes that are seen here."""
    return {pid: _proc.family(pid) for pid in _proc.pids()}
