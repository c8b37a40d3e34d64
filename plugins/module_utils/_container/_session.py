# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One piece of work inside a container, and this process outside, which serves it until it ends."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _inside, _namespaces
from .._host._files import read_text
from . import _engine

if TYPE_CHECKING:
    from .._host._process import Runner
    from ._placed import Placed

#: What the outside does on request: it is given the question, and a descriptor of the inside's.
Offer = Callable[[Mapping[str, Any], "int | None"], Any]
_MACHINE_ID = "/etc/machine-id"


class AgainError(Exception):
    """The work in the container must start over, since the container did."""


@dataclass(frozen=True)
class End:
    """How the work ended. ``message``: what it had to say last, None if it said nothing; ``code``: its exit code."""

    message: dict[str, Any] | None
    code: int


def machine_of(placed: Placed) -> str:
    """Return what tells the place of this server from that of other containers, which may all call their data directory the same."""
    return f"{(read_text(_MACHINE_ID) or '').strip()} {placed.kit}"


def work(
    runner: Runner, placed: Placed, container: _engine.Container, offers: Mapping[str, Offer], served: bool
) -> End | None:
    """Go on inside a container. Returns None there; outside, it serves the inside and returns how that ended.

    ``served``: it is the container of the server itself, not a helper. Raises AgainError outside if an offer does.
    """
    mine, theirs = socket.socketpair()
    machine, here = machine_of(placed), os.getpid()
    with _namespaces.opened(container.pid) as entrance:
        if _engine.by_name(runner, container.engine, container.identifier).pid != container.pid:
            raise WalgError(f"The container {container.name} was restarted just now. Run again.")
        try:
            child = entrance.fork()
        except WalgError as exc:
            if os.getpid() != here:
                _inside.Line(theirs).send({"fail": {"msg": exc.msg, **exc.fields}})
                os._exit(1)
            raise
    if child == 0:
        mine.close()
        sys.path.clear()  # a file of the container's is no module of ours
        _inside.enter(_inside.Inside(_inside.Line(theirs), machine, served))
        return None
    theirs.close()
    try:
        last = _serve(_inside.Line(mine), offers)
    except BaseException:
        mine.close()
        _namespaces.end(child)
        raise
    mine.close()
    return End(last, _namespaces.end_of(child))


def _serve(line: _inside.Line, offers: Mapping[str, Offer]) -> dict[str, Any] | None:
    """Answer questions; return the first message that is none, or None if the line ends before."""
    while True:
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


def _answer(offers: Mapping[str, Offer], message: Mapping[str, Any], descriptor: int | None) -> dict[str, Any]:
    offer = offers.get(str(message["ask"]))
    try:
        if offer is None:
            raise WalgError(f"This can't be done from inside a container: {message['ask']}.")
        return {"value": offer(message, descriptor)}
    except WalgError as exc:
        return {"error": exc.msg, "fields": exc.fields}
