# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One reason of a verdict."""

from __future__ import annotations

from dataclasses import dataclass

CRITICAL, WARNING, UNKNOWN, INFO = "critical", "warning", "unknown", "info"


@dataclass(frozen=True)
class Reason:
    """What was found: a stable code, a level, a sentence, and what to do ("" where there is nothing).

    ``denies``: it can't be restored to the present. ``hides``: whether it can is not known.
    """

    code: str
    level: str
    text: str
    remedy: str = ""
    denies: bool = False
    hides: bool = False
