# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of a program that runs, read as it comes: with a limit for silence, and no faster than is allowed."""

from __future__ import annotations

import io
import os
import select
import time
from typing import TYPE_CHECKING, Any

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Callable

_NAP = 1.0  # seconds of sleep at once: whoever watches us sees a sign of life


class SilentError(WalgError):
    """The program wrote nothing for too long."""


class Pipe(io.RawIOBase):
    """Reads a descriptor. ``silence``: seconds without a byte that are borne; ``tick`` is called about every ``every`` seconds.

    ``pace``: bytes a second that are read at most, 0 for no limit. ``count``: what was read so far.
    """

    def __init__(
        self, handle: int, silence: float, tick: Callable[[], None] | None = None, every: float = 2.0, pace: float = 0.0
    ) -> None:
        super().__init__()
        self.count = 0
        self._handle, self._silence, self._tick, self._every, self._pace = handle, silence, tick, every, pace
        self._began = self._ticked = time.monotonic()
        self._poll = select.poll()
        self._poll.register(handle, select.POLLIN)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read what there is. Raises SilentError when nothing comes."""
        deadline = time.monotonic() + self._silence
        while not self._poll.poll(min(self._every, self._silence) * 1000):
            self._call()
            if time.monotonic() >= deadline:
                raise SilentError(f"It wrote nothing for {self._silence:.0f} s.")
        self._call()
        block = os.read(self._handle, min(len(buffer), 1 << 20))
        buffer[: len(block)] = block
        self.count += len(block)
        if self._pace:
            slow_down(self._began, self.count / self._pace, self._call)
        return len(block)

    def drain(self) -> None:
        """Read what is left, for nothing."""
        rest = memoryview(bytearray(1 << 16))
        while self.readinto(rest):
            continue

    def _call(self) -> None:
        if self._tick and time.monotonic() - self._ticked >= self._every:
            self._ticked = time.monotonic()
            self._tick()


def slow_down(began: float, seconds: float, between: Callable[[], None] | None = None) -> None:
    """Sleep until ``seconds`` have passed since ``began`` (of time.monotonic())."""
    while True:
        left = began + seconds - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _NAP))
        if between:
            between()
