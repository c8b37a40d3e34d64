# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception class of the library. Private to this collection."""

from __future__ import annotations

from typing import Any


class WalgError(Exception):
    """Something was refused or failed.

    ``msg`` says what was tried, on what, what answered and what to do next. ``fields`` are result fields for the
    caller (cmd, rc, stdout, stderr, found, wanted, ...); they hold no secret.
    """

    def __init__(self, msg: str, **fields: Any) -> None:
        super().__init__(msg)
        self.msg = msg
        self.fields = fields
