# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb verify: read the storage back."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from .._backup import _verify
from .._host import _exit_codes
from ._outcome import Outcome

if TYPE_CHECKING:
    from ._work import Work


def act(work: Work) -> Outcome:
    """Read the slice that is due, or everything."""
    return verify(work, work.options.all)


def verify(work: Work, everything: bool = False) -> Outcome:
    """Read back the slice of the storage that is due."""
    now = datetime.now(timezone.utc)
    answer = _verify.run(work.runner, work.instance, work.spec.verification, now, everything=everything)
    code = {True: _exit_codes.OK, False: _exit_codes.WARNING}.get(answer["sound"], _exit_codes.UNKNOWN)
    details = {"sound": answer["sound"], "damaged": len(answer["damaged"]), "reread": answer["reread"]}
    return Outcome(code, False, answer["text"], details)
