# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in a container, seen from inside: the line to the process that stayed outside, and what only that one can do.

Messages are JSON, each with a descriptor at most: a file that the other side is to write or read.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from dataclasses import dataclass
from typing import Any

from .._errors import WalgError

_LENGTH = struct.Struct("=I")
_MOST = 512 * 1024 * 1024  # bytes of a message
_DESCRIPTOR = array.array("i").itemsize


@dataclass(frozen=True)
class Line:
    """One end of the line."""

    end: socket.socket

    def send(self, message: dict[str, Any], descriptor: int | None = None) -> None:
        """Send a message; ConnectionError (an OSError) if nobody listens any more."""
        body = json.dumps(message).encode()
        extra = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        self.end.sendmsg([_LENGTH.pack(len(body))], extra)
        self.end.sendall(body)

    def receive(self) -> tuple[dict[str, Any], int | None] | None:
        """Return the next message and its descriptor, which is the caller's; None at the end."""
        head, extra, _flags, _address = self.end.recvmsg(_LENGTH.size, socket.CMSG_SPACE(_DESCRIPTOR))
        received = array.array("i")
        for level, kind, data in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                received.frombytes(data[: len(data) - len(data) % _DESCRIPTOR])
        descriptor = received[0] if received else None
        body = self._read(head)
        if body is None:
            return None
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
        message: dict[str, Any] = json.loads(body)
        return message, descriptor

    def _read(self, head: bytes) -> bytes | None:
        while 0 < len(head) < _LENGTH.size:
            more = self.end.recv(_LENGTH.size - len(head))
            head += more
            if not more:
                return None
        if not head:
            return None
        (left,) = _LENGTH.unpack(head)
        if left > _MOST:
            raise WalgError(f"The process in the container sent {left} bytes; that is not taken.")
        blocks = []
        while left:
            block = self.end.recv(min(left, 1024 * 1024))
            if not block:
                return None
            blocks.append(block)
            left -= len(block)
        return b"".join(blocks)


@dataclass(frozen=True)
class Inside:
    """This process works in a container. ``machine``: what tells this server's place from others; ``served``: has a server (no helper).

    ``user``: whom the server's container runs as, UID[:GID] by names or numbers; "" for whom the image says.
    """

    line: Line
    machine: str
    served: bool
    user: str = ""

    def ask(self, what: str, descriptor: int | None = None, **fields: Any) -> Any:
        """Have the outside do something; return its answer. Raises the WalgError that it met."""
        try:
            self.line.send({"ask": what, **fields}, descriptor)
            received = self.line.receive()
        except OSError as exc:
            raise WalgError(f"The process outside of the container is gone: {exc}") from exc
        if received is None:
            raise WalgError("The process outside of the container is gone.")
        answer = received[0]
        if "error" in answer:
            raise WalgError(answer["error"], **answer["fields"])
        return answer["value"]


_current: list[Inside] = []


def enter(inside: Inside) -> None:
    """Note that this process works in a container from now on."""
    _current[:] = [inside]


def current() -> Inside | None:
    """Return what is known of the container that this process works in; None for one that works on its own machine."""
    return _current[0] if _current else None


def in_helper() -> Inside | None:
    """Return the same for one that works in a helper container, where the server can't be seen; None elsewhere."""
    inside = current()
    return inside if inside and not inside.served else None


def ask(what: str) -> None:
    """Have the outside do something to the container. Raises WalgError, also where there is no outside."""
    inside = current()
    if inside is None:
        raise WalgError(
            f"The server runs in a container, and only from outside of it can one {what} it: name it in walg_container."
        )
    inside.ask(what)
