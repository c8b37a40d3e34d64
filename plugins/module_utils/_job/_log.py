# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job's log: rotated by itself, without secrets. A log that can't be written is a trouble that is told, and stops no work."""

from __future__ import annotations

import logging
import logging.handlers
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._host import _shown

_BYTES, _FILES = 1024 * 1024, 5


class _Formatter(logging.Formatter):
    """Lines without the secrets of the settings and without control characters, whoever said what is in them."""

    def __init__(self, mask: _shown.Mask) -> None:
        super().__init__("%(asctime)s %(levelname)s [%(process)d] %(message)s")
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return self._mask.text(super().format(record))


class _Handler(logging.handlers.RotatingFileHandler):
    """Notes that it can't write, once, where the parent class would print a traceback."""

    def __init__(self, path: str, troubles: list[str]) -> None:
        self._troubles = troubles
        super().__init__(path, maxBytes=_BYTES, backupCount=_FILES, encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        try:
            if self.shouldRollover(record):
                self.doRollover()
            stream = self.stream or self._open()
            stream.write(self.format(record).encode("utf-8", "backslashreplace").decode() + "\n")
            stream.flush()
        except OSError as exc:
            what = f"cannot write the log {self.baseFilename}: {exc}"
            if what not in self._troubles:
                self._troubles.append(what)


def silent() -> logging.Logger:
    """Return a log that keeps nothing."""
    log = logging.getLogger("walg-job")
    log.setLevel(logging.INFO)
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    return log


def opened(directory: str, mask: _shown.Mask, troubles: list[str]) -> logging.Logger:
    """Return the log of an instance; one that keeps nothing, where it can't be opened."""
    log = silent()
    path = os.path.join(directory, "job.log")
    try:
        handler = _Handler(path, troubles)
    except OSError as exc:
        troubles.append(f"cannot write the log in {directory}: {exc}")
        return log
    handler.setFormatter(_Formatter(mask))
    log.addHandler(handler)
    return log
