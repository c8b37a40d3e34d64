# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP by the standard library, in the form that google-auth calls, with the proxy and the certificates that WAL-G is told.

Go's rules decide what goes through the proxy, so that the same way is tried that WAL-G takes. What was answered is kept.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import ipaddress
import ssl
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

_MOST = 1024 * 1024  # bytes of an answer
_ONE = 10.0  # seconds that one step on the wire may take
#: Google's metadata server: an address of the machine itself, so no library asks it through a proxy.
METADATA = ("169.254.169.254", "metadata.google.internal")
_PORTS = {"http": 80, "https": 443}


class UnreachableError(Exception):
    """No answer came. google-auth knows nothing of this class, so it does not try again and lets it through."""

    def __init__(self, host: str, reason: str, refused: bool = False) -> None:
        super().__init__(reason)
        self.host, self.reason, self.refused = host, reason, refused


@dataclass(frozen=True)
class Answer:
    """What a server answered, with the attributes that google-auth wants. ``skew``: seconds by which its clock is ahead of ours."""

    url: str
    status: int
    headers: Message
    data: bytes
    skew: float | None


@dataclass
class Network:
    """Sends requests. ``environment``: HTTPS_PROXY, HTTP_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR, as WAL-G has them."""

    environment: Mapping[str, str]
    answers: list[Answer] = field(default_factory=list)
    asked: str = ""  # the last URL

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_more: object,
    ) -> Answer:
        """Send one request. Raises UnreachableError."""
        self.asked = url
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in _PORTS or not host:
            raise UnreachableError(host, "that is not an http or https address")
        seconds = min(timeout or _ONE, _ONE)
        try:
            with contextlib.closing(self._connection(url, seconds)) as connection:
                target = url if self._by_plain_proxy(url) else _path(url)
                connection.request(method, target, body, {**dict(headers or {}), **self._proxy_headers(url)})
                reply = connection.getresponse()
                answer = Answer(url, reply.status, reply.headers, reply.read(_MOST), _skew(reply.headers.get("Date")))
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise UnreachableError(host, self._reason(exc, url), isinstance(exc, ConnectionRefusedError)) from exc
        self.answers.append(answer)
        return answer

    def _connection(self, url: str, seconds: float) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        proxy = proxy_for(url, self.environment)
        there = urlsplit(proxy) if proxy else None
        if there is not None and there.scheme != "http":
            raise ValueError(f"a proxy of the kind {there.scheme} can't be used here")
        near = (there.hostname or "", there.port or _PORTS["http"]) if there else (host, port)
        if parts.scheme == "http":
            return http.client.HTTPConnection(*near, timeout=seconds)
        secure = http.client.HTTPSConnection(*near, timeout=seconds, context=self._context())
        if there is not None:
            secure.set_tunnel(host, port, _credentials(there.username, there.password))
        return secure

    def _context(self) -> ssl.SSLContext:
        """Return what is trusted: what WAL-G is told, instead of the host's own."""
        file, directory = self.environment.get("SSL_CERT_FILE"), self.environment.get("SSL_CERT_DIR")
        return ssl.create_default_context(cafile=file or None, capath=directory or None)

    def _by_plain_proxy(self, url: str) -> bool:
        return url.startswith("http:") and bool(proxy_for(url, self.environment))

    def _proxy_headers(self, url: str) -> dict[str, str]:
        if not self._by_plain_proxy(url):
            return {}
        proxy = urlsplit(proxy_for(url, self.environment))
        return _credentials(proxy.username, proxy.password)

    def _reason(self, exc: Exception, url: str) -> str:
        """Return why there was no answer, in a few words; the proxy is named without its password."""
        proxy = urlsplit(proxy_for(url, self.environment))
        by = f" through the proxy {proxy.hostname}" if proxy.hostname else ""
        if isinstance(exc, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted here ({exc.verify_message}){by}; SSL_CERT_FILE names the CA to trust"
            )
        text = str(getattr(exc, "strerror", None) or exc) or type(exc).__name__
        return "".join(char if char.isprintable() else "?" for char in text)[:200] + by


def proxy_for(url: str, environment: Mapping[str, str]) -> str:
    """Return the proxy for a URL by Go's rules, or "": none for this machine itself, the metadata server and what NO_PROXY names."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    proxy = environment.get("HTTPS_PROXY" if parts.scheme == "https" else "HTTP_PROXY", "")
    if not proxy or host in ("localhost", *METADATA) or (_address(host) or _NOWHERE).is_loopback:
        return ""
    port = parts.port or _PORTS.get(parts.scheme, 0)
    listed = environment.get("NO_PROXY", "").lower().split(",")
    if any(_excepts(one.strip(), host, port) for one in listed if one.strip()):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


_NOWHERE = ipaddress.ip_address("0.0.0.0")


def _excepts(entry: str, host: str, port: int) -> bool:
    """Say whether one entry of NO_PROXY means this host: *, an address, a network, a domain (a leading dot: only below it)."""
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, separator, wanted = entry.rpartition(":")
    if separator and wanted.isdigit() and ":" not in name:
        if int(wanted) != port:
            return False
        entry = name
    if address is not None:
        return _address(entry) == address
    entry = entry[1:] if entry.startswith("*.") else entry
    return host.endswith(entry if entry.startswith(".") else f".{entry}") or host == entry


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _path(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _credentials(username: str | None, password: str | None) -> dict[str, str]:
    if not username:
        return {}
    text = f"{unquote(username)}:{unquote(password or '')}".encode()
    return {"Proxy-Authorization": "Basic " + base64.b64encode(text).decode()}


def _skew(date: str | None) -> float | None:
    """Return by how many seconds the server's clock is ahead of ours; None if it does not tell."""
    try:
        return parsedate_to_datetime(date or "").timestamp() - time.time()
    except (TypeError, ValueError, IndexError):
        return None
