# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb expire: delete what the retention does not keep."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from .._backup import _expire
from .._host import _exit_codes
from ._outcome import Outcome

if TYPE_CHECKING:
    from ._work import Work


def act(work: Work) -> Outcome:
    """Do, or show, what the command line says."""
    return expire(work, work.options.check, work.options.confirm)


def expire(work: Work, dry: bool = False, confirmed: bool = False) -> Outcome:
    """Delete what the rules don't keep."""
    if work.spec.retention is None:
        return Outcome(_exit_codes.OK, False, "nothing done: retention is off (walg_backup_retention)")
    now = datetime.now(timezone.utc)
    answer = _expire.run(work.runner, work.instance, work.spec.retention, now, dry=dry, confirmed=confirmed)
    lines = [f"retention: {line}" for line in answer.get("warnings") or ()]
    plan = answer["plan"]
    details = {
        "shown_only": answer["shown_only"],
        "deleted": [one["name"] for one in plan["delete"]],
        "bytes": plan["bytes"],
        "segments": plan["wal"]["segments"],
        "locked": len(answer["locked"]),
    }
    return Outcome(_exit_codes.OK, answer["changed"], answer["text"], details, lines)
