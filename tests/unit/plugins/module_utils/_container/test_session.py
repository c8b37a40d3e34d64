# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One piece of work inside a container, in real namespaces: the line between both sides, and who is entered."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _session
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _facts, _inside
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from support.box import Box, Engine, needs_box

pytestmark = needs_box


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    made = Box(tmp_path_factory.mktemp("box") / "root")
    yield made
    made.end()


def here() -> _inside.Inside:
    inside = _inside.current()
    assert inside
    return inside


def test_it_knows_where_it_is(box: Box) -> None:
    found = box.answer(lambda: [here().machine, here().served], served=False)
    assert found == [_session.machine_of(box.placed), False]
    assert _inside.current() is None


def test_questions_are_answered_and_errors_come_back(box: Box) -> None:
    def double(message: Mapping[str, Any], _descriptor: int | None) -> int:
        if message["number"] < 0:
            raise WalgError("Not that.", found=message["number"])
        return int(message["number"]) * 2

    def ask() -> list[Any]:
        said: list[Any] = [here().ask("double", number=21)]
        for what in ("double", "nothing"):
            try:
                here().ask(what, number=-1)
            except WalgError as exc:
                said.append([exc.msg, exc.fields])
        return said

    assert box.answer(ask, offers={"double": double}) == [
        42,
        ["Not that.", {"found": -1}],
        ["This can't be done from inside a container: nothing.", {}],
    ]


def test_big_answers_both_ways(box: Box) -> None:
    text = "ü" * 3_000_000
    assert box.answer(lambda: here().ask("text") * 2, offers={"text": lambda _message, _descriptor: text}) == text * 2


def test_a_descriptor_is_handed_out_and_none_to_programs(box: Box) -> None:
    def write(_message: Mapping[str, Any], descriptor: int | None) -> bool:
        assert descriptor is not None
        return os.write(descriptor, b"from outside") > 0 and not os.get_inheritable(descriptor)

    def ask() -> list[str]:
        with open("/tmp/file", "w+b") as stream:
            said = [str(here().ask("write", stream.fileno())), Path("/tmp/file").read_text(encoding="ascii")]
            listed = Runner().run(["ls", "/proc/self/fd"]).stdout.split()
        return [*said, *listed]

    before = sorted(os.listdir("/proc/self/fd"))
    assert box.answer(ask, offers={"write": write}) == ["True", "from outside", "0", "1", "2", "3"]
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_container_that_was_restarted_meanwhile(box: Box) -> None:
    """Its number may be another process's by now."""
    with pytest.raises(WalgError, match="was restarted just now"):
        box.work(lambda: 1, runner=Engine(box, 0))


def test_an_offer_that_has_to_begin_again_ends_the_work(box: Box) -> None:
    def again(_message: Mapping[str, Any], _descriptor: int | None) -> None:
        raise _session.AgainError

    with pytest.raises(_session.AgainError):
        box.work(lambda: here().ask("again"), offers={"again": again})


def test_work_that_others_stop_is_ended(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_session, "_STOPPED", 0.3)
    monkeypatch.setattr(_session, "_LOOK", 0.1)
    with pytest.raises(WalgError, match="was stopped"):
        box.work(lambda: os.kill(os.getpid(), signal.SIGSTOP))


def test_it_can_t_be_entered(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason comes from the child."""

    def fail(_handles: object) -> None:
        raise WalgError("No way in.", found=1)

    monkeypatch.setattr("ansible_collections.mapswipe.walg.plugins.module_utils._host._cgroups.enter", fail)
    end = box.work(lambda: 1)
    assert (end.message, end.code) == ({"fail": {"msg": "No way in.", "found": 1}}, 1)


@pytest.mark.parametrize("kind", ["fifo", "text", "long number"])
def test_a_c_library_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = tmp_path / "libc.so.6"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(b"x" if kind == "text" else b"GNU C Library version " + b"9" * 5000 + b".1\n")
    good = tmp_path / "libd.so.6"
    good.write_bytes(b"\0GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n\0")
    monkeypatch.setattr(_facts, "_LIBC", (str(path), str(good)))
    assert _facts.glibc_here() == (2, 36)


def line_of(*parts: bytes) -> _inside.Line:
    mine, theirs = socket.socketpair()

    def send() -> None:
        for part in parts:
            theirs.sendall(part)
        theirs.close()

    threading.Thread(target=send).start()
    return _inside.Line(mine)


@pytest.mark.parametrize("parts", [(), (b"\x05",), (b"\x05\0\0\0ab",), (b"\x05\0", b"\0\0")])
def test_a_line_that_breaks_off(parts: tuple[bytes, ...]) -> None:
    line = line_of(*parts)
    assert line.receive() is None
    line.end.close()


def test_a_message_of_a_size_that_is_not_taken() -> None:
    line = line_of(b"\xff\xff\xff\xff")
    with pytest.raises(WalgError, match="that is not taken"):
        line.receive()
    line.end.close()


def test_the_outside_is_gone() -> None:
    mine, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(WalgError, match="outside of the container is gone"):
        _inside.Inside(_inside.Line(mine), "m", True).ask("x")
    mine.close()
    with pytest.raises(WalgError, match="name it in walg_container"):
        _inside.ask("restart")
