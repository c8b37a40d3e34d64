# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rule: a play variable walg_... that no role knows is a mistake."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Collection


def refuse_unknown(given: Collection[str], known: Collection[str]) -> None:
    """Raise WalgError for names that are not known, each with the nearest one that is. Nothing known: nothing refused."""
    if not known:
        return
    wrong = sorted(set(given) - set(known))
    if not wrong:
        return
    hints = []
    for name in wrong:
        near = difflib.get_close_matches(name, sorted(known), 1)
        hints.append(f"{name} (did you mean {near[0]}?)" if near else name)
    raise WalgError(
        f"No role of this collection knows the variable {', '.join(hints)}. Correct or remove it.", found=wrong
    )
