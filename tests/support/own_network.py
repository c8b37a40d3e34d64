# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of its own for the time of a block, with nothing but loopback, addresses and names that a test gives it. Only root can.

It is the calling thread's, and that of all threads and programs that are started from it meanwhile.
"""

from __future__ import annotations

import ctypes
import os
import socket
import socketserver
import struct
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

_CLONE_NEWNET = 0x40000000
_ADDRESS = 1  # a question for an IPv4 address
_NO_SUCH_NAME = 3


class OwnNetwork:
    """Loopback with the addresses of ``names``, which the host's name servers, played here, tell."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def __enter__(self) -> Self:
        self._before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _call("unshare", _CLONE_NEWNET)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        lines = [line.split() for line in Path("/etc/resolv.conf").read_text().splitlines()]
        resolvers = [line[1] for line in lines if line[:1] == ["nameserver"] and "." in line[1]] or ["127.0.0.1"]
        for address in {*self.names.values(), *resolvers} - {"127.0.0.1"}:
            subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
        handler = type("Handler", (_Names,), {"names": self.names})
        self._servers = [socketserver.ThreadingUDPServer((one, 53), handler) for one in dict.fromkeys(resolvers)]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        _call("setns", self._before, _CLONE_NEWNET)
        os.close(self._before)


class _Names(socketserver.BaseRequestHandler):
    """Answers questions for names (RFC 1035); one that it does not know, there is not."""

    names: Mapping[str, str]

    def handle(self) -> None:
        data, channel = self.request
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        question = data[12 : at + 5]
        address = self.names.get(".".join(labels).lower())
        wanted = address is not None and struct.unpack(">H", question[-4:-2])[0] == _ADDRESS
        flags = 0x8180 | (0 if address else _NO_SUCH_NAME)
        reply = data[:2] + struct.pack(">HHHHH", flags, 1, int(wanted), 0, 0) + question
        if address is not None and wanted:
            reply += struct.pack(">HHHIH", 0xC00C, _ADDRESS, 1, 60, 4) + socket.inet_aton(address)
        channel.sendto(reply, self.client_address)


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
