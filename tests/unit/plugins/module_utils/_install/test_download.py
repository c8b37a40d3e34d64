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
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._install._download import Web

URL = "https://mirror.example.com/it"


class Answer(io.BytesIO):
    """What urllib gives."""

    def __init__(self, body: bytes, length: str | None = None) -> None:
        super().__init__(body)
        self.headers = Message()
        if length is not None:
            self.headers["Content-Length"] = length


def web(answer: Answer | Exception, timeout: float = 10) -> Web:
    def open_url(url: str, seconds: float, credentials: bool) -> Any:
        assert (url, seconds, credentials) == (URL, min(30, timeout), True)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Web(open_url, timeout)


def save(tmp_path: Path, answer: Answer | Exception, most: int = 1000) -> str:
    with (tmp_path / "it").open("wb") as stream:
        return web(answer).save(URL, stream, most)


def test_a_whole_file(tmp_path: Path) -> None:
    for length in ("5", None, "many", "\u00b2", "9" * 5000):
        assert save(tmp_path, Answer(b"hello", length)) == hashlib.sha256(b"hello").hexdigest()
        assert (tmp_path / "it").read_bytes() == b"hello"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer(b"hell", "5"), "was cut off after 4 of 5 bytes"),
        (Answer(b"x" * 2000), "does not end after 1000 bytes"),
        (Answer(b"", "1001"), "has 1001 bytes; a WAL-G has less than 1000"),
        (http.client.BadStatusLine("x"), "the connection broke off"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (urllib.error.URLError("no route"), r"no route\. If this host can't reach it, use a file \(walg_binary_src\)"),
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


def slow(url: str, _seconds: float, _credentials: bool) -> Any:
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


# --- redirects ----------------------------------------------------------------------------------------------------------


class Net:
    """Servers that answer with a redirect, each a code and where to. ``asked``: what was asked, and whether with credentials."""

    def __init__(self, **hops: tuple[int, str]) -> None:
        self.hops = {f"https://{name}.example.com/it": hop for name, hop in hops.items()}
        self.asked: list[tuple[str, bool]] = []

    def open_url(self, url: str, _seconds: float, credentials: bool) -> Any:
        self.asked.append((url, credentials))
        if url not in self.hops:
            return Answer(b"hello")
        code, target = self.hops[url]
        headers = Message()
        headers["Location"] = target
        raise urllib.error.HTTPError(url, code, "Moved", headers, None)

    def text(self) -> str:
        return Web(self.open_url, 10).text("https://one.example.com/it")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_credentials_stay_with_the_server_that_was_named(code: int) -> None:
    net = Net(one=(code, "https://two.example.com/it"), two=(code, "https://one.example.com:443/that"))
    assert net.text() == "hello"
    assert net.asked == [
        ("https://one.example.com/it", True),
        ("https://two.example.com/it", False),
        ("https://one.example.com:443/that", True),
    ]


@pytest.mark.parametrize("target", ["https://one.example.com:8443/it", "https://one.example.com.evil.example/it"])
def test_another_port_or_a_longer_name_is_another_server(target: str) -> None:
    net = Net(one=(302, target))
    assert net.text() == "hello"
    assert net.asked[1] == (target, False)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("http://two.example.com/it?signature=private", "leads to http://two.example.com, without encryption"),
        ("http://one.example.com/it", "leads to http://one.example.com, without encryption"),
        ("file:///etc/passwd", "leads to file://, without encryption"),
        ("ftp://two.example.com/it", "leads to ftp://two.example.com, without encryption"),
        ("HTTP://two.example.com/it", "leads to http://two.example.com, without encryption"),
        ("https://u:private@two.example.com/it", "leads to https://two.example.com with a user name in the address"),
        ("https://two.example.com:99999999/it", "is not an address"),
        ("https://[::/it", "is not an address"),
    ],
)
def test_a_hop_that_is_not_taken(code: int, target: str, told: str) -> None:
    """Nor an intermediate one: what comes after it is never asked for."""
    for net in (Net(one=(code, target)), Net(one=(code, "https://two.example.com/it"), two=(code, target))):
        with pytest.raises(WalgError) as caught:
            net.text()
        assert told in caught.value.msg
        assert "private" not in caught.value.msg
        assert {url for url, _credentials in net.asked} <= {
            "https://one.example.com/it",
            "https://two.example.com/it",
            target,
        }
        assert not any(url.startswith(("http:", "HTTP:", "file:", "ftp:")) for url, _credentials in net.asked)


def test_a_relative_one_stays_where_it_is() -> None:
    net = Net(one=(302, "/there it is?a=b"))
    assert net.text() == "hello"
    assert net.asked[1] == ("https://one.example.com/there%20it%20is?a=b", True)


def test_a_circle_ends() -> None:
    net = Net(one=(302, "https://two.example.com/it"), two=(302, "https://one.example.com/it"))
    with pytest.raises(WalgError, match="leads on and on: more than 10 redirects"):
        net.text()
    assert len(net.asked) == 10


def test_a_redirect_to_nowhere_is_an_answer() -> None:
    with pytest.raises(WalgError, match="answered 302 Moved"):
        Net(one=(302, "")).text()


def test_what_a_server_says_is_shown_without_control_characters(tmp_path: Path) -> None:
    with pytest.raises(WalgError) as caught:
        save(tmp_path, urllib.error.HTTPError(URL, 500, "\x1b[2JOops\r\n", Message(), None))
    assert "answered 500 ?[2JOops??." in caught.value.msg
