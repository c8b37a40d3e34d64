# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for something that only looking again can tell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


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
