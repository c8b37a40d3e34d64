# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception class of the library."""

from __future__ import annotations

from typing import Any


class WalgError(Exception):
    """Something was rejected or failed.

    ``msg`` says what was tried, on what, what answered and what to do next. ``fields`` are result fields for the
    caller (cmd, rc, stdout, stderr, found, wanted, ...); they hold no secret.
    """

    def __init__(self, msg: str, **fields: Any) -> None:
        super().__init__(msg)
        self.msg = msg
        self.fields = fields


class StorageError(WalgError):
    """The storage did not answer, or did not allow it."""


class RefusedError(WalgError):
    """A rule of safety does not allow it. Nothing was changed."""


def failure_fields(exc: WalgError | OSError) -> dict[str, Any]:
    """Return an error as a module's answer: ``msg`` and fields. A file that can't be used as it was named is no bug of ours."""
    if isinstance(exc, WalgError):
        return {**exc.fields, "msg": exc.msg}
    what = f"{exc.filename} can't be used" if exc.filename else "A file or a connection can't be used"
    return {"msg": f"{what}: {exc.strerror or exc}. Look at it, or name another one."}
