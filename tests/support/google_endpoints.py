# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's endpoints on loopback, with answers that can be switched to those that Google gives when something is wrong.

Tokens, STS, IAM credentials and Cloud Storage's question about permissions by TLS, behind a CONNECT proxy, under Google's own names;
the metadata server and another issuer by plain HTTP. Credentials of every type have keys made for the run.
"""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa

from .gcs import HOST, Connect, certificate, private_pem

HOSTS = ("oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com")
ACCOUNT = "backup@x4m-test.iam.gserviceaccount.com"
KEY_ID = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "ya29.an-access-token-of-the-tests"
SUBJECT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJkYjEifQ.of-another-issuer"
AUDIENCE = "//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/hosts/providers/ours"
_IMPERSONATE = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"


@dataclass(frozen=True)
class Reply:
    """What an endpoint answers; ``hang``: nothing, for so many seconds."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0.0


def oauth_error(code: str, text: str, status: int = 400) -> Reply:
    """An error of the token endpoint or of STS."""
    return Reply(status, {"error": code, "error_description": text})


def api_error(status: int, message: str, reason: str = "", name: str = "") -> Reply:
    """An error of an API: ``reason`` as Cloud Storage gives it, ``name`` and reason as newer services do."""
    error: dict[str, Any] = {"code": status, "message": message}
    if name:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error.update(status=name, details=[{"@type": kind, "reason": reason, "domain": "googleapis.com"}])
    elif reason:
        error["errors"] = [{"message": message, "domain": "global", "reason": reason}]
    return Reply(status, {"error": error})


def permitted(*held: str) -> Reply:
    """What Cloud Storage says of the permissions that were asked about."""
    names = [f"storage.objects.{one}" for one in held]
    return Reply(200, {"kind": "storage#testIamPermissionsResponse", **({"permissions": names} if names else {})})


def machine(*scopes: str, email: str = ACCOUNT) -> Reply:
    """What the metadata server says of the machine's service account."""
    listed = [f"https://www.googleapis.com/auth/{one}" for one in scopes]
    body = {"aliases": ["default"], "email": email, "scopes": listed}
    return Reply(200, body, _FLAVOR)


_TOKEN = {"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"}
_FLAVOR = {"Metadata-Flavor": "Google"}
WELL = {
    "metadata": Reply(200, "computeMetadata/\n", _FLAVOR),  # by which Go's library knows that it is there
    "token": Reply(200, _TOKEN),
    "exchange": Reply(200, {**_TOKEN, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}),
    "impersonation": Reply(200, {"accessToken": TOKEN, "expireTime": "2100-01-01T00:00:00Z"}),
    "permissions": permitted("create", "get", "list", "delete"),
    "machine": machine("cloud-platform"),
    "machine_token": Reply(200, _TOKEN, _FLAVOR),
    "subject": Reply(200, {"id_token": SUBJECT}),
}


class Google:
    """The endpoints, for the time of a block. ``answers`` by step can be changed; ``ahead``: seconds by which Google's clock is ahead."""

    def __init__(self, directory: Path, plain: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.directory, self.at = directory, plain
        self.answers = dict(WELL)
        self.ahead = 0.0
        self.seen: list[tuple[str, dict[str, Any]]] = []  # step, what was sent

    def __enter__(self) -> Self:
        self.ca, certificate_file, key_file = certificate(self.directory, HOST, *HOSTS)
        handler = type("Handler", (_Handler,), {"google": self})
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate_file, key_file)
        self._plain, secure = (_Server(at, handler) for at in (self.at, ("127.0.0.1", 0)))
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        network = type("Network", (Connect,), {"port": secure.server_address[1], "down": False})
        self._proxy = socketserver.ThreadingTCPServer(("127.0.0.1", 0), network)
        self._proxy.daemon_threads = True
        self._servers = [self._plain, secure, self._proxy]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    @property
    def plain(self) -> str:
        """Where the metadata server and the other issuer are."""
        return f"http://{self.at[0]}:{self._plain.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """The settings by which the others are reached."""
        return {"HTTPS_PROXY": f"http://127.0.0.1:{self._proxy.server_address[1]}", "SSL_CERT_FILE": str(self.ca)}

    def steps(self) -> list[str]:
        """Return what was asked, in order."""
        return [step for step, _sent in self.seen]

    def credentials(self, kind: str, **changes: Any) -> dict[str, Any]:
        """Return credentials of one type, as Google's tools write them. A change to None takes a field away."""
        made = {**self._made(kind), **changes}
        return {name: value for name, value in made.items() if value is not None}

    def _made(self, kind: str) -> dict[str, Any]:
        client = {"client_id": "1.apps.googleusercontent.com", "client_secret": "GOCSPX-secret-of-a-client"}
        user = {
            "type": "authorized_user",
            **client,
            "refresh_token": "1//a-refresh-token",
            "account": "me@x4m-test.example",
        }
        federated = {
            "type": "external_account",
            "audience": AUDIENCE,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "service_account_impersonation_url": _IMPERSONATE,
            "credential_source": self._source(),
        }
        made: dict[str, dict[str, Any]] = {
            "service_account": {
                "type": "service_account",
                "project_id": "x4m-test",
                "private_key_id": KEY_ID,
                "private_key": _pem(),
                "client_email": ACCOUNT,
                "client_id": "1",
                "token_uri": "https://oauth2.googleapis.com/token",
            },
            "authorized_user": user,
            "external_account": federated,
            "impersonated_service_account": {
                "type": "impersonated_service_account",
                "service_account_impersonation_url": _IMPERSONATE,
                "source_credentials": user,
                "delegates": [],
            },
            "external_account_authorized_user": {
                "type": "external_account_authorized_user",
                "audience": "//iam.googleapis.com/locations/global/workforcePools/people/providers/ours",
                **client,
                "refresh_token": "a-refresh-token-of-a-pool",
                "token_url": "https://sts.googleapis.com/v1/oauthtoken",
            },
        }
        return made[kind]

    def _source(self) -> dict[str, Any]:
        return {
            "url": f"{self.plain}/subject",
            "headers": {"Metadata": "True"},
            "format": {"type": "json", "subject_token_field_name": "id_token"},
        }


@cache
def _pem() -> str:
    return private_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def step_of(path: str) -> str:
    """Return which step a request is."""
    parts = urlsplit(path).path
    if parts.startswith("/computeMetadata/"):
        return "machine_token" if parts.endswith("/token") else "machine"
    known = {
        "": "metadata",
        "/": "metadata",
        "/token": "token",
        "/v1/token": "exchange",
        "/v1/oauthtoken": "exchange",
        "/subject": "subject",
    }
    if parts.endswith(":generateAccessToken"):
        return "impersonation"
    return known.get(parts, "permissions" if parts.endswith("/iam/testPermissions") else "")


class _Handler(BaseHTTPRequestHandler):
    google: Google
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        step = step_of(self.path)
        sent = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        fields: dict[str, Any] = dict(parse_qs(sent or urlsplit(self.path).query))
        self.google.seen.append((step, {**fields, "headers": dict(self.headers)}))
        reply = self.google.answers.get(step, Reply(404, "Not Found"))
        if reply.hang:
            time.sleep(reply.hang)
            return
        text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
        self.send_response_only(reply.status)
        self.send_header("Date", formatdate(time.time() + self.google.ahead, usegmt=True))
        self.send_header("Content-Type", "text/plain" if isinstance(reply.body, str) else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


for _method in ("GET", "POST"):
    setattr(_Handler, f"do_{_method}", _Handler._handle)
