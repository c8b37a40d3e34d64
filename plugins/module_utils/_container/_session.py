# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One piece of work inside a container, and this process outside, which serves it until it ends."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from .._errors import WalgError
from .._host import _facts, _guard, _inside, _namespaces, _proc
from . import _engine

if TYPE_CHECKING:
    from .._host._process import Runner
    from ._placed import Placed

    #: What the outside does on request: it is given the question, and a descriptor of the inside's.
    Offer = Callable[[Mapping[str, Any], "int | None"], Any]

_LOOK = 1.0  # seconds between two looks at those who work
_STOPPED = 20.0  # seconds that they may be stopped
_GENERATIONS = 3  # the one that entered, its guard, and who works


class AgainError(Exception):
    """The work in the container must start over, since the container did."""


@dataclass(frozen=True)
class End:
    """How the work ended. ``message``: what it had to say last, None if it said nothing; ``code``: its exit code."""

    message: dict[str, Any] | None
    code: int


def machine_of(placed: Placed) -> str:
    """Return what tells the place of this server from that of other containers, which may all call their data directory the same."""
    return f"{_facts.machine_id()} {placed.kit}"


def work(
    runner: Runner,
    placed: Placed,
    container: _engine.Container,
    offers: Mapping[str, Offer],
    served: bool,
    user: str = "",
) -> End | None:
    """Go on inside a container. Returns None there; outside, it serves the inside and returns how that ended.

    ``served``: it is the container of the server itself, not a helper; ``user``: whom that one runs as.
    Raises AgainError outside if an offer does.
    """
    mine, theirs = socket.socketpair()
    machine, here = machine_of(placed), os.getpid()
    with _namespaces.opened(container.pid) as entrance:
        if _engine.by_name(runner, container.engine, container.identifier).pid != container.pid:
            raise WalgError(f"The container {container.name} was restarted just now. Run again.")
        try:
            child = entrance.fork()
        except BaseException as exc:
            if os.getpid() != here:
                _tell(_inside.Line(theirs), exc)
            raise
    if child == 0:
        mine.close()
        _inside.enter(_inside.Inside(_inside.Line(theirs), machine, served, user))
        return None
    theirs.close()
    try:
        last = _serve(_inside.Line(mine), offers, child)
    except BaseException:
        mine.close()
        _namespaces.end(child)
        raise
    mine.close()
    return End(last, _guard.end_of(child))


def _tell(line: _inside.Line, exc: BaseException) -> NoReturn:
    """In a child that could not enter: say why, and do nothing of what its parent would do now."""
    try:
        fields = exc.fields if isinstance(exc, WalgError) else {}
        line.send({"fail": {"msg": str(exc) or type(exc).__name__, **fields}})
    finally:
        os._exit(1)


def _serve(line: _inside.Line, offers: Mapping[str, Offer], child: int) -> dict[str, Any] | None:
    """Answer questions; return the first message that is none, or None if the line ends before. Raises WalgError where nothing moves."""
    while True:
        _await(line, child)
        received = line.receive()
        if received is None:
            return None
        message, descriptor = received
        try:
            if "ask" not in message:
                return message
            line.send(_answer(offers, message, descriptor))
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _await(line: _inside.Line, child: int) -> None:
    """Wait for a message, however long that takes, unless those who would send it are stopped: in there, others can do that."""
    poll, stopped = select.poll(), 0.0
    poll.register(line.end, select.POLLIN)
    while not poll.poll(_LOOK * 1000):
        stopped = stopped + _LOOK if any(map(_is_stopped, _line_of(child))) else 0.0
        if stopped > _STOPPED:
            raise WalgError(
                f"The work in the container was stopped (SIGSTOP) for {_STOPPED:.0f} s and is ended now. Find out who stops processes in "
                "there, then run again."
            )


def _line_of(child: int) -> list[int]:
    """Return the processes from a child on that wait for each other, one below the other: those that the work is done by."""
    found = [child]
    while len(found) < _GENERATIONS:
        below = _proc.children(found[-1])
        if not below:
            break
        found.append(below[0])
    return found


def _is_stopped(pid: int) -> bool:
    return _proc.stat(pid)[:1] in (["T"], ["t"])


def _answer(offers: Mapping[str, Offer], message: Mapping[str, Any], descriptor: int | None) -> dict[str, Any]:
    offer = offers.get(str(message["ask"]))
    try:
        if offer is None:
            raise WalgError(f"This can't be done from inside a container: {message['ask']}.")
        return {"value": offer(message, descriptor)}
    except WalgError as exc:
        return {"error": exc.msg, "fields": exc.fields}
