# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The download client: a small text or a big file over HTTPS, bounded in time and size.

Who opens a URL (proxy, CA, credentials) is handed in: in modules it is Ansible's own code, which this library can't import.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import socket
import ssl
import urllib.error
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

from .._errors import WalgError
from .._host._waiting import OutOfTimeError, limit
from ._workshop import MOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOST_TEXT = 4096
_BLOCK = 256 * 1024
#: Seconds that one answer on the wire may take; the time limit of the whole is the caller's.
_READ_TIMEOUT = 30.0
_ADVICE = {
    401: "Give the credentials in walg_binary_mirror_username and walg_binary_mirror_password.",
    403: "The server denies it; are the credentials (walg_binary_mirror_username, walg_binary_mirror_password) right?",
    404: "There is no such file: check walg_version and walg_binary_mirror.",
    407: "The proxy wants credentials.",
}
_MOST_HOPS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_URL_SIGNS = "%/:=&?~#+!$,;'@()*[]"
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_OFFLINE = "If this host can't reach it, use a file (walg_binary_src) or a mirror (walg_binary_mirror)."


def opener(
    open_url: Callable[..., Any], failure: type[Exception], ca_path: str, username: str, password: str
) -> Callable[[str, float, bool], Any]:
    """Return what asks one server for one URL, following no redirect.

    ``open_url``: Ansible's own client, with its proxies and certificates; ``failure``: what it raises beside those of urllib.
    """

    def ask(url: str, timeout: float, credentials: bool) -> Any:
        if ca_path and not os.path.isfile(ca_path):
            raise WalgError(f"There is no file {ca_path} on this host (walg_binary_mirror_ca).")
        try:
            return open_url(
                url,
                timeout=timeout,
                url_username=(username or None) if credentials else None,
                url_password=password if credentials else "",
                force_basic_auth=True,
                follow_redirects="none",
                ca_path=ca_path or None,
                http_agent="mapswipe.walg",
                use_netrc=False,
                decompress=False,
            )
        except failure as exc:
            raise urllib.error.URLError(str(exc)) from exc

    return ask


@dataclass(frozen=True)
class Web:
    """``open_url`` asks one server: URL, the seconds that one read may take, whether to send the credentials.

    It answers like urllib, and follows no redirect: those are followed here, each hop looked at. ``timeout``: of a whole file.
    """

    open_url: Callable[[str, float, bool], Any]
    timeout: float

    def text(self, url: str) -> str:
        """Return a small text file."""
        with self._answer(url) as answer:
            data = answer.read(_MOST_TEXT + 1)
        if len(data) > _MOST_TEXT:
            raise WalgError(f"{url} is too big for a digest: more than {_MOST_TEXT} bytes.", url=url)
        return str(data.decode("utf-8", "replace"))

    def save(self, url: str, stream: IO[bytes], most: int = MOST) -> str:
        """Write a file to ``stream`` and return its SHA-256. Raises WalgError when it is cut off or too big."""
        digest, size = hashlib.sha256(), 0
        with self._answer(url) as answer:
            length = _length(answer)
            if length > most:
                raise WalgError(f"{url} has {length} bytes; a WAL-G has less than {most}.", url=url)
            _room(stream, length, url)
            for block in iter(lambda: answer.read(_BLOCK), b""):
                size += len(block)
                if size > most:
                    raise WalgError(f"{url} does not end after {most} bytes; a WAL-G has less.", url=url)
                digest.update(block)
                stream.write(block)
        if size < length:
            raise WalgError(f"{url} was cut off after {size} of {length} bytes. Run the play again.", url=url)
        return digest.hexdigest()

    def _open(self, url: str) -> Any:
        """Open a URL, over as many hops as it takes. Credentials go to the server that was named, and to no other."""
        here = url
        for _hop in range(_MOST_HOPS):
            try:
                return self.open_url(here, min(_READ_TIMEOUT, self.timeout), _origin(here) == _origin(url))
            except urllib.error.HTTPError as exc:
                target = exc.headers.get("Location") if exc.code in _REDIRECTS and exc.headers else None
                if not target:
                    raise
                exc.close()
                here = _hop_to(url, here, target)
        raise WalgError(f"{url} leads on and on: more than {_MOST_HOPS} redirects.", url=url)

    @contextlib.contextmanager
    def _answer(self, url: str) -> Iterator[Any]:
        """Yield the open answer; what goes wrong with it becomes a WalgError."""
        try:
            with limit(self.timeout), contextlib.closing(self._open(url)) as answer:
                yield answer
        except OutOfTimeError:
            text = f"{url} was not here after {self.timeout:g} s (walg_binary_timeout). {_OFFLINE}"
            raise WalgError(text, url=url, timed_out=True) from None
        except urllib.error.HTTPError as exc:
            exc.close()
            said = _plain(str(exc.reason))
            text = f"{url} answered {exc.code} {said}. {_ADVICE.get(exc.code, 'Try later, or another mirror.')}"
            raise WalgError(text, url=url, status=exc.code) from exc
        except (OSError, http.client.HTTPException) as exc:
            raise WalgError(f"{url} could not be fetched: {_told(exc)}", url=url) from exc
        except ValueError as exc:  # a host's name or a port that there can't be
            raise WalgError(f"{url} could not be fetched: it, or where it leads, is not an address.", url=url) from exc


def _origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)


def _hop_to(url: str, here: str, target: str) -> str:
    """Return where a redirect leads. Raises WalgError unless that is HTTPS.

    A signed address may be long and private: only its host is named.
    """
    there = urljoin(here, quote(target, safe=_URL_SIGNS))
    parts = urlsplit(there)
    where = f"{_plain(parts.scheme)}://{_plain(parts.hostname or '')}"
    if parts.scheme != "https" or not parts.hostname:
        raise WalgError(f"{url} leads to {where}, without encryption; that is not followed.", url=url)
    if parts.username is not None or parts.password is not None:
        raise WalgError(f"{url} leads to {where} with a user name in the address; that is not followed.", url=url)
    return there


def _plain(text: str) -> str:
    """Return what a server said without control characters, and not all of a long one."""
    return "".join(char if char.isprintable() else "?" for char in text[:200])


def _length(answer: Any) -> int:
    shown = answer.headers.get("Content-Length") or "0"
    return int(shown) if _NUMBER.fullmatch(shown) else 0


def _room(stream: IO[bytes], length: int, url: str) -> None:
    """Raise WalgError if the disk can't take it."""
    found = os.fstatvfs(stream.fileno())
    free = found.f_bavail * found.f_frsize
    if free < length:
        raise WalgError(
            f"{url} has {length} bytes, and the disk where WAL-G belongs has {free} left.", found=free, wanted=length
        )


def _told(exc: BaseException) -> str:
    reason = getattr(exc, "reason", exc)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message}). Name the CA's file in walg_binary_mirror_ca."
    if isinstance(reason, socket.timeout):
        return f"the server did not answer in time. {_OFFLINE}"
    if isinstance(exc, urllib.error.URLError):
        return f"{_plain(str(reason))}. {_OFFLINE}"
    return f"the connection broke off ({_plain(str(exc)) or type(exc).__name__}). Run the play again."
