# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way a request goes: by Go's rules, since WAL-G's requests go by these."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._storage._google_network import (
    Network,
    UnreachableError,
    proxy_for,
)

STORAGE = "https://storage.googleapis.com/storage/v1/b/x"
BOTH = {"HTTPS_PROXY": "http://proxy:3128", "HTTP_PROXY": "plain:8080"}


@pytest.mark.parametrize(
    ("url", "excepted", "proxy"),
    [
        (STORAGE, "", "http://proxy:3128"),
        ("http://issuer.example/token", "", "http://plain:8080"),
        ("http://169.254.169.254/computeMetadata/v1/", "", ""),
        ("http://metadata.google.internal/computeMetadata/v1/", "", ""),
        ("http://localhost:8080/", "", ""),
        ("http://127.0.0.2/", "", ""),
        ("http://[::1]/", "", ""),
        (STORAGE, "*", ""),
        (STORAGE, "googleapis.com", ""),
        (STORAGE, ".googleapis.com", ""),
        (STORAGE, "*.googleapis.com", ""),
        (STORAGE, "storage.googleapis.com:443", ""),
        (STORAGE, "STORAGE.googleapis.com", ""),
        (STORAGE, "storage.googleapis.com:80", "http://proxy:3128"),
        (STORAGE, "other.example, apis.com", "http://proxy:3128"),
        ("https://example.com/", ".example.com", "http://proxy:3128"),
        ("http://10.1.2.3/", "10.0.0.0/8", ""),
        ("http://10.1.2.3/", "10.1.2.3", ""),
        ("http://10.1.2.3/", "10.2.0.0/16,not/a/network", "http://plain:8080"),
        (STORAGE, "10.0.0.0/8", "http://proxy:3128"),
    ],
)
def test_what_goes_through_the_proxy(url: str, excepted: str, proxy: str) -> None:
    assert proxy_for(url, {**BOTH, "NO_PROXY": excepted}) == proxy
    assert proxy_for(url, {}) == ""


class _Proxy(BaseHTTPRequestHandler):
    seen: list[tuple[str, str, str]]

    def do_GET(self) -> None:
        self.seen.append((self.command, self.path, self.headers.get("Proxy-Authorization", "")))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_CONNECT(self) -> None:
        self.seen.append((self.command, self.path, self.headers.get("Proxy-Authorization", "")))
        self.send_error(407)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    seen: list[tuple[str, str, str]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Proxy,), {"seen": seen}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://me:a%40b@127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    server.server_close()


def test_a_proxy_that_wants_a_password(proxy: tuple[str, list[tuple[str, str, str]]]) -> None:
    address, seen = proxy
    network = Network({"HTTP_PROXY": address, "HTTPS_PROXY": address})
    assert network("http://issuer.example/token?x=1").status == 200
    with pytest.raises(UnreachableError, match="407") as caught:
        network(STORAGE)
    assert "a@b" not in caught.value.reason
    assert caught.value.host == "storage.googleapis.com"
    basic = "Basic bWU6YUBi"
    assert seen == [
        ("GET", "http://issuer.example/token?x=1", basic),
        ("CONNECT", "storage.googleapis.com:443", basic),
    ]


@pytest.mark.parametrize(
    ("url", "environment", "words"),
    [
        ("ftp://x/", {}, "not an http or https address"),
        ("https:///x", {}, "not an http or https address"),
        (STORAGE, {"HTTPS_PROXY": "socks5://127.0.0.1:1"}, "of the kind socks5"),
        (STORAGE, {"SSL_CERT_FILE": "/no/such/file"}, "No such file"),
        ("http://127.0.0.1:1/", {}, "refused"),
    ],
)
def test_what_can_not_be_asked(url: str, environment: dict[str, str], words: str) -> None:
    with pytest.raises(UnreachableError, match=words):
        Network(environment)(url)
