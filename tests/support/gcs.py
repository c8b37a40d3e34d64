# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google Cloud Storage on loopback: a real server of its API, behind the proxy through which alone WAL-G can reach it.

WAL-G up to 3.0.8 always talks to storage.googleapis.com. So a CONNECT proxy sends every connection to the server here,
whose certificate, by a CA made for the run, names that host. Tokens are asked for at an endpoint of ours, with a service
account's key: the settings in a play are the production ones, but for the proxy and the CA.
"""

from __future__ import annotations

import json
import select
import socket
import socketserver
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from .fault_proxy import FaultProxy, token_for

BUCKET = "x4m-test-bucket"  # of the tests' storage

HOST = "storage.googleapis.com"


def private_pem(key: rsa.RSAPrivateKey) -> str:
    """Return a key in the form that Google's key files have."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def certificate(directory: Path, host: str = HOST, *more: str, days: int = 2) -> tuple[Path, Path, Path]:
    """Make a CA and a certificate for a host, the storage's, and ``more``, for some days; return the paths of CA, certificate and key."""
    ca_key, key = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _turn in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mapswipe.walg test CA")])
    now = datetime.now(UTC)

    def build(subject: x509.Name, public: rsa.RSAPublicKey, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        builder = builder.not_valid_after(now + timedelta(days=days)).add_extension(extension, critical=True)
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    paths = directory / "ca.crt", directory / "server.crt", directory / "server.key"
    paths[0].write_bytes(build(ca_name, ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=None)))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    paths[1].write_bytes(
        build(subject, key.public_key(), x509.SubjectAlternativeName([x509.DNSName(one) for one in (host, *more)]))
    )
    paths[2].write_text(private_pem(key))
    return paths


class Token(BaseHTTPRequestHandler):
    """Answers every request for a token with one."""

    asked = 0

    def do_POST(self) -> None:
        body = token_for(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        type(self).asked += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


class Connect(socketserver.StreamRequestHandler):
    """Sends a CONNECT for any host to the storage at ``port``, unless the network is ``down``."""

    port = 0
    down = False

    def handle(self) -> None:
        while self.rfile.readline() not in (b"\r\n", b""):
            continue
        if self.down:
            return
        with socket.create_connection(("127.0.0.1", self.port)) as upstream:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            ends = {self.connection: upstream, upstream: self.connection}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    try:
                        data = end.recv(65536)
                    except ConnectionResetError:
                        return
                    if not data:
                        return
                    ends[end].sendall(data)


class Gcs:
    """The storage with its proxy and token endpoint, for the time of a block; ``faults`` is what can go wrong with it."""

    def __init__(self, program: str, directory: Path, bucket: str) -> None:
        self.directory, self.program, self.bucket = directory, program, bucket

    def __enter__(self) -> Self:
        self.ca, certificate_file, key_file = certificate(self.directory)
        (self.directory / "objects" / self.bucket).mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        argv = [self.program, "-scheme", "https", "-host", "127.0.0.1", "-port", str(port), "-backend", "filesystem"]
        argv += ["-cert-location", str(certificate_file), "-private-key-location", str(key_file)]
        argv += ["-filesystem-root", str(self.directory / "objects")]
        with open(self.directory / "gcs.log", "wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        _wait_for(port)
        self.faults = FaultProxy(("127.0.0.1", 0), port, certificate_file, key_file).start()
        self.tokens = type("Tokens", (Token,), {"asked": 0})
        self.network = type("Network", (Connect,), {"port": self.faults.server_address[1], "down": False})
        self._token = ThreadingHTTPServer(("127.0.0.1", 0), self.tokens)
        self._proxy = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self.network)
        self._proxy.daemon_threads = True
        for server in (self._token, self._proxy):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._token, self._proxy):
            server.shutdown()
            server.server_close()
        self.faults.stop()
        self._process.terminate()
        self._process.wait()

    def variables(self, storage: str) -> dict[str, Any]:
        """Return what a play is told of this storage."""
        address = self._proxy.server_address
        return {
            "walg_storage": storage,
            "walg_google_credentials": self.key_file_content(),
            "walg_settings": {
                "HTTPS_PROXY": f"http://127.0.0.1:{address[1]}",
                "SSL_CERT_FILE": str(self.ca),
                "GCS_MAX_RETRIES": 3,
                "GCS_CONTEXT_TIMEOUT": 20,
            },
        }

    def settings(self) -> dict[str, str]:
        """Return the settings of WAL-G for this storage, as a settings file holds them."""
        return {name: str(value) for name, value in self.variables("")["walg_settings"].items()}

    def key_file_content(self) -> str:
        """Return a service account's key file, as Google would issue it."""
        if not hasattr(self, "_key"):
            self._key = private_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "test",
                "private_key_id": "1",
                "private_key": self._key,
                "client_email": "walg@test.invalid",
                "client_id": "1",
                "token_uri": f"http://127.0.0.1:{self._token.server_address[1]}/token",
            }
        )

    def objects(self, prefix: str) -> list[str]:
        """Return the names of the objects below a prefix of the bucket."""
        root = self.directory / "objects" / self.bucket
        return [str(path.relative_to(root)) for path in self.paths(prefix)]

    def paths(self, prefix: str) -> list[Path]:
        """Return the files in which the server keeps these objects."""
        return sorted(path for path in (self.directory / "objects" / self.bucket / prefix).rglob("*") if path.is_file())


def _wait_for(port: int) -> None:
    for _turn in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")
