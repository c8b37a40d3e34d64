# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for something that only looking again can tell, and not for ever."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class OutOfTimeError(Exception):
    """The time of a limit() is over."""


def wait_until(done: Callable[[], bool], timeout: float, every: float = 0.1, longest: float = 1.0) -> bool:
    """Poll ``done`` until it is true or ``timeout`` seconds passed, and say which; the pause grows from ``every`` to ``longest``."""
    deadline = time.monotonic() + timeout
    while True:
        if done():
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
        every = min(every * 1.5, longest)


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError after that, whatever is waited for: limits of sockets begin again with each byte. For the main thread only."""

    def ring(*_: object) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again: the first may come where an exception is lost
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
