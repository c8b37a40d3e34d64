# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The download client: a small text or a big file over HTTPS, bounded in time and size. Private to this collection.

Who opens a URL (proxy, CA, credentials) is handed in: in modules it is Ansible's own code, which this library can't import.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import signal
import socket
import ssl
import urllib.error
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: WAL-G's builds have 45 to 70 MB.
MOST = 512 * 1024 * 1024
_MOST_TEXT = 4096
_BLOCK = 256 * 1024
#: Seconds that one answer on the wire may take; the time limit of the whole is the caller's.
_READ_TIMEOUT = 30.0
_ADVICE = {
    401: "Give the credentials in walg_binary_mirror_username and walg_binary_mirror_password.",
    403: "The server refuses it; are the credentials (walg_binary_mirror_username, walg_binary_mirror_password) right?",
    404: "There is no such file: check walg_version and walg_binary_mirror.",
    407: "The proxy wants credentials.",
}
_OFFLINE = "A host without a way there takes a file (walg_binary_src) or a server nearer by (walg_binary_mirror)."


class _OutOfTimeError(Exception):
    """The limit of the whole download; no OSError, so that nobody on the way takes it for one of the network's."""


@dataclass(frozen=True)
class Web:
    """``open_url`` takes a URL and the seconds that one read may take; it answers like urllib. ``timeout``: of a whole file."""

    open_url: Callable[[str, float], Any]
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
        return self.open_url(url, min(_READ_TIMEOUT, self.timeout))

    @contextlib.contextmanager
    def _answer(self, url: str) -> Iterator[Any]:
        """Yield the open answer; what goes wrong with it becomes a WalgError."""
        try:
            with _limit(self.timeout), contextlib.closing(self._open(url)) as answer:
                _refuse_downgrade(url, answer.geturl())
                yield answer
        except _OutOfTimeError:
            text = f"{url} was not here after {self.timeout:g} s (walg_binary_timeout). {_OFFLINE}"
            raise WalgError(text, url=url, timed_out=True) from None
        except urllib.error.HTTPError as exc:
            exc.close()
            text = f"{url} answered {exc.code} {exc.reason}. {_ADVICE.get(exc.code, 'Try later, or another mirror.')}"
            raise WalgError(text, url=url, status=exc.code) from exc
        except (OSError, http.client.HTTPException) as exc:
            raise WalgError(f"{url} could not be fetched: {_told(exc)}", url=url) from exc


@contextlib.contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise _OutOfTimeError after that, whatever the network waits for; time limits of sockets begin anew with each byte."""

    def ring(*_: object) -> None:
        raise _OutOfTimeError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again: the first may come where an exception is lost
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _refuse_downgrade(url: str, reached: str) -> None:
    """Raise WalgError where HTTPS was left on the way. A signed address may be long and private: only its host is named."""
    if urlsplit(url).scheme == "https" and urlsplit(reached).scheme != "https":
        where = urlsplit(reached)
        raise WalgError(
            f"{url} leads to {where.scheme}://{where.hostname}, without encryption; that is not followed.", url=url
        )


def _length(answer: Any) -> int:
    shown = answer.headers.get("Content-Length") or "0"
    return int(shown) if shown.isdigit() else 0


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
        return f"{reason}. {_OFFLINE}"
    return f"the connection broke off ({str(exc) or type(exc).__name__}). Run the play again."
