# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an answer may be, and what is made of the ways in which it fails. Real servers: tests/integration/test_install.py."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import signal
import time
import urllib.error
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._download import Web
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError

URL = "https://mirror.example.com/it"


class Answer(io.BytesIO):
    """What urllib gives."""

    def __init__(self, body: bytes, length: str | None = None, url: str = URL) -> None:
        super().__init__(body)
        self.headers = Message()
        if length is not None:
            self.headers["Content-Length"] = length
        self._url = url

    def geturl(self) -> str:
        return self._url


def web(answer: Answer | Exception, timeout: float = 10) -> Web:
    def open_url(url: str, seconds: float) -> Any:
        assert (url, seconds) == (URL, min(30, timeout))
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Web(open_url, timeout)


def save(tmp_path: Path, answer: Answer | Exception, most: int = 1000) -> str:
    with (tmp_path / "it").open("wb") as stream:
        return web(answer).save(URL, stream, most)


def test_a_whole_file(tmp_path: Path) -> None:
    for length in ("5", None, "many"):
        assert save(tmp_path, Answer(b"hello", length)) == hashlib.sha256(b"hello").hexdigest()
        assert (tmp_path / "it").read_bytes() == b"hello"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer(b"hell", "5"), "was cut off after 4 of 5 bytes"),
        (Answer(b"x" * 2000), "does not end after 1000 bytes"),
        (Answer(b"", "1001"), "has 1001 bytes; a WAL-G has less than 1000"),
        (
            Answer(b"", "5", "http://mirror.example.com/it?signature=private"),
            "leads to http://mirror.example.com, without encryption",
        ),
        (http.client.BadStatusLine("x"), "the connection broke off"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (urllib.error.URLError("no route"), r"no route\. A host without a way there takes a file \(walg_binary_src\)"),
        (
            urllib.error.HTTPError(URL, 407, "Proxy Authentication Required", Message(), None),
            "The proxy wants credentials",
        ),
        (urllib.error.HTTPError(URL, 500, "Oops", Message(), None), "answered 500 Oops. Try later, or another mirror"),
    ],
)
def test_what_goes_wrong_is_told(tmp_path: Path, answer: Answer | Exception, text: str) -> None:
    with pytest.raises(WalgError, match=text) as caught:
        save(tmp_path, answer)
    assert "private" not in caught.value.msg


def test_a_disk_without_room_is_seen_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(f_bavail=1, f_frsize=4)
    monkeypatch.setattr(os, "fstatvfs", lambda _handle: found)
    with pytest.raises(WalgError, match=r"has 5 bytes, and the disk where WAL-G belongs has 4 left"):
        save(tmp_path, Answer(b"hello", "5"))
    assert (tmp_path / "it").read_bytes() == b""


def slow(url: str, _seconds: float) -> Any:
    time.sleep(5)
    raise AssertionError(url)


@pytest.mark.parametrize("act", [lambda one: one.text(URL), lambda one: one.save(URL, io.BytesIO())])
def test_the_whole_has_a_limit_whatever_it_waits_for(act: Callable[[Web], Any]) -> None:
    """And the alarm is off afterwards."""
    started = time.monotonic()
    with pytest.raises(WalgError, match=r"was not here after 0\.2 s \(walg_binary_timeout\)"):
        act(Web(slow, 0.2))
    assert time.monotonic() - started < 3
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_a_small_text() -> None:
    assert web(Answer(b"x" * 4096)).text(URL) == "x" * 4096
    with pytest.raises(WalgError, match="is too big for a digest"):
        web(Answer(b"x" * 4097)).text(URL)
