# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server of WAL-G's releases on loopback, over HTTPS with a CA of its own: TAG/ASSET and TAG/ASSET.sha256, and what can go wrong.

Which assets a version has comes from tests/unit/data/releases.json, not from the code under test.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .gcs import certificate

if TYPE_CHECKING:
    from .sandbox import Sandbox

TABLE = json.loads((Path(__file__).resolve().parents[1] / "unit/data/releases.json").read_text())
#: What a faulty server does with one request, in place of the right answer.
Fault = Callable[["_Handler"], None]


def number(version: str) -> str:
    """Return the numbers of what a binary calls itself: 1.1.3 of v1.1.3-rc."""
    return version.lstrip("v").split("-")[0]


def assets(version: str) -> tuple[str, list[str]]:
    """Return the tag of a version, and the names of its builds for x86-64."""
    release = TABLE[number(version)]
    return release["tag"], [name for name in release["assets"] if name.endswith("-amd64")]


def renumbered(sandbox: Sandbox) -> tuple[Path, str]:
    """Return another WAL-G and its version: the one under test with another number stamped into it, so the same code."""
    version = sandbox.walg_version()
    digits = number(version)
    other = version.replace(digits, f"{digits[:-1]}{int(digits[-1]) - 1}")
    path = sandbox.root / "other-wal-g"
    path.write_bytes(sandbox.walg.read_bytes().replace(version.encode(), other.encode()))
    path.chmod(0o755)
    return path, other


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Authorization", "")))
        for suffix, fault in self.server.faults:
            if self.path.endswith(suffix):
                fault(self)
                return
        path = self.server.directory / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404, "Not Found")
            return
        self.head(path.stat().st_size)
        with path.open("rb") as stream:
            shutil.copyfileobj(stream, self.wfile, 1024 * 1024)

    def head(self, length: int, code: int = 200, **headers: str) -> None:
        """Send the head of an answer."""
        self.send_response(code)
        for key, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    directory: Path
    requests: list[tuple[str, str]]
    faults: list[tuple[str, Fault]]

    def handle_error(self, *_arguments: Any) -> None:
        """A client that hangs up is no news."""


class Releases:
    """The server, for the time of a block. ``faults``: pairs of the end of a path and what is done there."""

    def __init__(
        self, directory: Path, secure: bool = True, certificates: tuple[Path, Path, Path] | None = None
    ) -> None:
        self.directory, self.secure = directory, secure
        directory.mkdir(exist_ok=True)
        self.certificates = certificates or (certificate(directory, "localhost") if secure else None)

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.directory, self._server.requests, self._server.faults = self.directory / "files", [], []
        if self.certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificates[1:])
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://localhost:{self.port}"

    @property
    def ca(self) -> str:
        return str(self.certificates[0]) if self.certificates else ""

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Path and Authorization of what was asked."""
        return self._server.requests

    @property
    def faults(self) -> list[tuple[str, Fault]]:
        return self._server.faults

    def publish(self, binary: Path, version: str, digests: bool = True) -> None:
        """Put a binary under all names that a version's builds for x86-64 have."""
        tag, names = assets(version)
        place = self.directory / "files" / tag
        place.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(binary.read_bytes()).hexdigest()
        for name in names:
            (place / name).unlink(missing_ok=True)
            shutil.copy(binary, place / name)
            if digests:
                (place / f"{name}.sha256").write_text(f"{digest}  {name}\n")


def cut_off(handler: _Handler) -> None:
    """End the connection in the middle."""
    handler.head(1000000)
    handler.wfile.write(b"\x7fELF" + b"x" * 5000)


def hang(handler: _Handler) -> None:
    """Send the head, and never the body."""
    handler.head(1000000)
    time.sleep(60)


def trickle(handler: _Handler) -> None:
    """Send a byte now and then: no single read ever waits long."""
    handler.head(1000000)
    for _turn in range(600):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.1)


def endless(handler: _Handler) -> None:
    """Promise more than any WAL-G has."""
    handler.head(10**12)


def answer(body: bytes) -> Fault:
    """Answer with this."""

    def fault(handler: _Handler) -> None:
        handler.head(len(body))
        handler.wfile.write(body)

    return fault


def status(code: int) -> Fault:
    """Answer with this code."""
    return lambda handler: handler.send_error(code)


def redirect(base: str, code: int = 302) -> Fault:
    """Send the client to the same path elsewhere."""
    return lambda handler: handler.head(0, code, Location=base + handler.path)


def redirect_to(target: str) -> Fault:
    """Send the client to this address."""
    return lambda handler: handler.head(0, 302, Location=target)


def wants(authorization: str) -> Fault:
    """Refuse who does not say this, and answer the others as ever."""

    def fault(handler: _Handler) -> None:
        if handler.headers.get("Authorization") != authorization:
            handler.send_error(401)
            return
        path = handler.server.directory / handler.path.lstrip("/")
        answer(path.read_bytes())(handler)

    return fault
