# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage that forbids, fails, hangs, hangs up or shows a wrong certificate: a TLS proxy before a real GCS server.

Without rules it passes everything on. Standard library only, Python 3.9: gcs_host.py runs it in a container as it is.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import ssl
import struct
import threading
import urllib.parse
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

#: What changes objects; a key that may only read is refused these.
WRITES = ("POST", "PUT", "PATCH", "DELETE")
HANG = "hang"  # accept the request and never answer
RESET = "reset"  # hang up in the middle
_ASKS = re.compile(r"/b/[^/]+/iam/testPermissions\?")
_METHODS = {"create": "POST", "delete": "DELETE"}
_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive")


@dataclass(frozen=True)
class Rule:
    """Requests that meet all conditions get ``answer``: an HTTP status, HANG or RESET. An empty condition is met by all.

    ``after``: so many of them are passed on before.
    """

    answer: int | str
    methods: tuple[str, ...] = ()
    path: str = ""  # regular expression, searched in path and query
    account: str = ""  # the service account that the token was issued to
    after: int = 0

    def meets(self, method: str, path: str, account: str) -> bool:
        """Say whether a request is meant."""
        return (
            (not self.methods or method in self.methods)
            and bool(re.search(self.path, path))
            and (not self.account or account == self.account)
        )


def read_only(account: str) -> Rule:
    """Return the rule under which a service account's key may list and read, but not change."""
    return Rule(403, methods=WRITES, account=account)


def token_for(form: bytes) -> bytes:
    """Answer a token request: the token names the service account that signed it (the claim ``iss``)."""
    fields = urllib.parse.parse_qs(form.decode())
    claims = fields["assertion"][0].split(".")[1]
    account = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["iss"]
    return json.dumps({"access_token": f"for:{account}", "token_type": "Bearer", "expires_in": 3600}).encode()


class FaultProxy(ThreadingHTTPServer):
    """Listens on ``address`` by TLS and passes on to a GCS server at 127.0.0.1:``upstream`` (TLS, any certificate)."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], upstream: int, certificate: Path, key: Path) -> None:
        self.upstream = upstream
        self.rules: list[Rule] = []
        self.seen: list[tuple[str, str, int | str]] = []  # method, path, what was answered
        self.met: dict[Rule, int] = {}  # how many requests met a rule
        self.present(certificate, key)
        self.released = threading.Event()
        super().__init__(address, _Handler)

    def present(self, certificate: Path, key: Path) -> None:
        """Show this certificate from the next connection on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.context = context

    def start(self) -> FaultProxy:
        """Serve in a thread of its own."""
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        """Let go of those who hang, and end."""
        self.released.set()
        self.shutdown()
        self.server_close()

    def answer_to(self, method: str, path: str, account: str) -> int | str | None:
        """Return what the first rule answers that is due; None where the request is passed on."""
        due: int | str | None = None
        for rule in self.rules:
            if rule.meets(method, path, account):
                self.met[rule] = self.met.get(rule, 0) + 1
                if due is None and self.met[rule] > rule.after:
                    due = rule.answer
        return due

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's thread."""
        try:
            request = self.context.wrap_socket(request, server_side=True)
        except OSError:
            return
        with request:
            super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for head and body: two of them wait for each other's acknowledgement
    disable_nagle_algorithm = True
    server: FaultProxy

    def setup(self) -> None:
        super().setup()
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        self.upstream = http.client.HTTPSConnection("127.0.0.1", self.server.upstream, context=unverified)

    def finish(self) -> None:
        self.upstream.close()
        super().finish()

    def _handle(self) -> None:
        account = self.headers.get("Authorization", "").replace("Bearer for:", "")
        answer = self.server.answer_to(self.command, self.path, account)
        body = self._body()
        if answer is None and _ASKS.search(self.path):
            self._permissions(account)
        elif answer == HANG:
            self.server.seen.append((self.command, self.path, HANG))
            self.server.released.wait()
            self.close_connection = True
        elif answer == RESET:
            self.server.seen.append((self.command, self.path, RESET))
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        elif answer is not None:
            text = f"{account} may not: the tests' own fault" if answer == 403 else "the tests' own fault"
            content = json.dumps({"error": {"code": answer, "message": text}}).encode()
            self._reply(int(answer), [("Content-Type", "application/json")], content)
        else:
            self._pass_on(body)

    def _permissions(self, account: str) -> None:
        """Answer as Cloud Storage does: what the rules let this account do, in a bucket that there is."""
        bucket, query = self.path.split("/iam/testPermissions?")
        self.upstream.request("GET", bucket)
        reply = self.upstream.getresponse()
        reply.read()
        if reply.status == 404:
            error = {"code": 404, "message": "The specified bucket does not exist.", "errors": [{"reason": "notFound"}]}
            self._reply(404, [("Content-Type", "application/json")], json.dumps({"error": error}).encode())
            return
        asked = urllib.parse.parse_qs(query)["permissions"]
        denied = [one for one in self.server.rules if one.answer == 403]
        held = [
            one
            for one in asked
            if not any(
                rule.meets(_METHODS.get(one.rpartition(".")[2], "GET"), f"{bucket}/o", account) for rule in denied
            )
        ]
        content = {"kind": "storage#testIamPermissionsResponse", "permissions": held}
        self._reply(200, [("Content-Type", "application/json")], json.dumps(content).encode())

    def _pass_on(self, body: bytes) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        self.upstream.request(self.command, self.path, body, headers)
        reply = self.upstream.getresponse()
        self._reply(reply.status, reply.getheaders(), reply.read())

    def _reply(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.server.seen.append((self.command, self.path, status))
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length":
                length = value if self.command == "HEAD" else length
            elif name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b""):
            continue
        return b"".join(parts)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


for _method in ("GET", "HEAD", *WRITES):
    setattr(_Handler, f"do_{_method}", _Handler._handle)
