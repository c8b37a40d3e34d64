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
import hashlib
import importlib.machinery
import linecache
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from .._errors import WalgError
from . import _cgroups, _guard, _lookups

#: Entered in this order, the process table last, since only children born afterwards are in it. Not the one of the host name (uts):
#: messages and markers name the machine.
_NAMESPACES = ("ipc", "net", "mnt", "pid")
#: What work on files of several users and as them takes, by number: chown, dac_override, fowner, fsetid, kill, setgid, setuid. Docker
#: leaves all of these to a container's root, and more.
_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7})
_MOST_CAPABILITIES = 64
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION = 0x20080522
#: Python imports these when they are first used.
_ENCODINGS = ("ascii", "idna", "latin-1", "unicode_escape", "utf-8")


class Entrance:
    """The open namespaces of a process. Made by opened()."""

    def __init__(self, namespaces: list[int], groups: list[int], bounds: int) -> None:
        self.namespaces, self.groups, self.bounds = namespaces, groups, bounds

    def fork(self) -> int:
        """Fork; the child continues in there as the container's root, and gets 0. The parent gets the process to wait for.

        All modules that the child needs must be imported by now. Raises WalgError where it can't be entered, in the child.
        """
        _use_once()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        life, held = os.pipe()  # held by the process outside of the container: it ends when that one is gone
        outer = os.fork()
        if outer:
            os.close(life)
            os.close(held)
            return outer
        libc = ctypes.CDLL(None, use_errno=True)
        _guard.end_with_parent()
        for handle in self.namespaces:
            _do(libc.setns(handle, 0), "enter the container")
        os.chdir("/")
        inner = os.fork()  # only a child is in the process table there
        if inner:
            os.close(life)
            _guard.leave_to(inner)
        os.close(held)
        _cgroups.enter(self.groups)
        # What this process has in memory and open is no business of the container's root.
        _do(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "close this process to others")
        _give_up_capabilities(libc, self.bounds)
        _take_nothing_from_here()
        _guard.fork(life)
        return 0


def _use_once() -> None:
    """Use what reads files when it is first used, while these are the machine's."""
    for name in _ENCODINGS:
        codecs.lookup(name)
    hashlib.sha256(b"").hexdigest()
    platform.uname()
    ssl: Any = sys.modules.get("ssl")
    if ssl is not None:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _take_nothing_from_here() -> None:
    """Use nothing that the container has where this Python would look: no module, no library, no line of a source."""
    kept = (importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter)
    sys.meta_path[:] = [one for one in sys.meta_path if one in kept]
    sys.path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    vars(linecache)["updatecache"] = lambda *_args, **_more: []  # for tracebacks
    _lookups.use()
    # Temporary files go where the container has a place for them.
    os.environ.pop("TMPDIR", None)
    tempfile.tempdir = None


def end(child: int) -> None:
    """End what fork() returned, and with it the process inside, at once."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    _guard.end_of(child)


@contextlib.contextmanager
def opened(pid: int) -> Iterator[Entrance]:
    """Open the namespaces of the process ``pid``. Whether it is still the one that was meant, the caller asks then."""
    if os.geteuid() != 0:
        raise WalgError("Only root can work in a container from outside: set become: true.")
    with contextlib.ExitStack() as stack:
        try:
            # One directory, and so one process: its number may be another one's by now.
            there = _closing(stack, os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            process = f"/proc/self/fd/{there}"
            if os.stat(f"{process}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
                raise WalgError(
                    "The container has users of its own (a rootless engine, or userns-remap): that is not supported. Run it with the "
                    "engine of root, without userns-remap."
                )
            flags = os.O_RDONLY | os.O_CLOEXEC
            namespaces = [_closing(stack, os.open(f"{process}/ns/{name}", flags)) for name in _NAMESPACES]
            groups = [_closing(stack, handle) for handle in _cgroups.opened(process)]
            bounds = _bounds(process)
        except (FileNotFoundError, ProcessLookupError) as exc:
            raise WalgError(f"The container's main process {pid} is gone.") from exc
        yield Entrance(namespaces, groups, bounds)


def _closing(stack: contextlib.ExitStack, handle: int) -> int:
    stack.callback(os.close, handle)
    return handle


def _bounds(process: str) -> int:
    """Return what capabilities programs in the container may have, as bits."""
    with open(f"{process}/status", encoding="ascii", errors="replace") as stream:
        line = next((line for line in stream if line.startswith("CapBnd:")), "CapBnd: 0")
    return int(line.split()[1], 16)


def _give_up_capabilities(libc: ctypes.CDLL, bounds: int) -> None:
    """Keep what the work takes. Programs get nothing of it that the container's own have not: they and its files may be anybody's."""
    for number in range(_MOST_CAPABILITIES):
        wanted = number in _CAPABILITIES and bounds & 1 << number
        if not wanted and libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
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
