# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in a container from outside: in its file system, network and process table, with this Python, so that its image needs none.

A child process enters the container's namespaces and works there. It has what it needs in memory: nothing can be imported in there.
Programs that it starts are the image's, so it gives up every capability that a container's own root does not have either.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import NoReturn

from .._errors import WalgError

#: Entered in this order, the process table last, since only children born afterwards are in it. Not the one of the host name (uts):
#: messages and markers name the machine.
_NAMESPACES = ("ipc", "net", "mnt", "pid")
#: What Docker leaves to a container's root, by number: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap,
#: net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap.
_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31})
_MOST_CAPABILITIES = 64
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION = 0x20080522
#: Python imports these when they are first used.
_ENCODINGS = ("ascii", "idna", "latin-1", "unicode_escape", "utf-8")


class Entrance:
    """The open namespaces of a process. Made by opened()."""

    def __init__(self, handles: list[int]) -> None:
        self._handles = handles

    def fork(self) -> int:
        """Fork; the child continues in there as the container's root, and gets 0. The parent gets the process to wait for, see end_of().

        All modules that the child needs must be imported by now. Raises WalgError where it can't be entered, in the child.
        """
        for name in _ENCODINGS:
            codecs.lookup(name)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        outer = os.fork()
        if outer:
            return outer
        libc = ctypes.CDLL(None, use_errno=True)
        _end_with_parent(libc)
        for handle in self._handles:
            _do(libc.setns(handle, 0), "enter the container")
        os.chdir("/")
        inner = os.fork()  # only a child is in the process table there
        if inner:
            _leave_to(inner)
        _end_with_parent(libc)
        # What this process has in memory and open is no business of the container's root.
        _do(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "close this process to others")
        _give_up_capabilities(libc)
        _forget_directories()
        return 0


def _leave_to(child: int) -> NoReturn:
    """Wait for a child, and end as it ends; nothing else of this process is needed."""
    os._exit(end_of(child))


def end_of(child: int) -> int:
    """Wait for the end of a process; return its exit code as a shell counts it."""
    while True:
        try:
            status = os.waitpid(child, 0)[1]
        except InterruptedError:
            continue
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def end(child: int) -> None:
    """End what fork() returned, and with it the process inside, at once."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    end_of(child)


def _forget_directories() -> None:
    """Temporary files go where the container has a place for them."""
    os.environ.pop("TMPDIR", None)
    tempfile.tempdir = None


@contextlib.contextmanager
def opened(pid: int) -> Iterator[Entrance]:
    """Open the namespaces of the process ``pid``. Whether it is still the one that was meant, the caller asks then."""
    if os.geteuid() != 0:
        raise WalgError("Only root can work in a container from outside: set become: true.")
    handles: list[int] = []
    try:
        try:
            if os.stat(f"/proc/{pid}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
                raise WalgError(
                    "The container has users of its own (a rootless engine, or userns-remap): that is not supported. Run it with the "
                    "engine of root, without userns-remap."
                )
            handles += [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in _NAMESPACES]
        except FileNotFoundError as exc:
            raise WalgError(f"The container's main process {pid} is gone.") from exc
        yield Entrance(handles)
    finally:
        for handle in handles:
            os.close(handle)


def end_with_parent() -> None:
    """Have this process killed when its parent ends. Holds until it becomes another user."""
    _end_with_parent(ctypes.CDLL(None, use_errno=True))


def _end_with_parent(libc: ctypes.CDLL) -> None:
    _do(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "tie a child to its parent")


def _give_up_capabilities(libc: ctypes.CDLL) -> None:
    """Keep what a container's root has: its programs and files may be anybody's."""
    for number in range(_MOST_CAPABILITIES):
        if number not in _CAPABILITIES and libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            if number == 0:
                _do(-1, "give up capabilities")
            break  # the kernel knows no more
    low = sum(1 << number for number in _CAPABILITIES)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    data = (ctypes.c_uint32 * 6)(low, low, 0, 0, 0, 0)
    _do(libc.capset(header, data), "give up capabilities")
    _do(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "give up privileges")


def _do(answer: int, what: str) -> None:
    if answer != 0:
        raise WalgError(f"Cannot {what}: {os.strerror(ctypes.get_errno())}")
