# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: the first plan under rules, for the play that wrote them. It is asked for until the play has noted that it was shown.

What the job shows in its log, and since when, is in retention.json; nothing is deleted because of the note (see _retention_state).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._errors import WalgError, failure_fields
from . import _expire, _retention_state

if TYPE_CHECKING:
    from datetime import datetime

    from .._host._process import Runner
    from .._instance._job_spec import Retention
    from .._instance._record import Instance


def ask(runner: Runner, instance: Instance, policy: Retention, now: datetime) -> dict[str, Any]:
    """Return the plan as ``_expire.run`` does, and why there is none (``rejected``); run as the cluster's owner.

    Once it was shown, neither server nor storage is asked. Raises nothing that retention would: setting up archiving has worked.
    """
    if _retention_state.was_shown(instance, policy):
        return {**_expire.answer(None, "the first plan under these rules was shown"), "changed": False}
    try:
        return _expire.run(runner, instance, policy, now, dry=True)
    except (WalgError, OSError) as exc:
        why = str(failure_fields(exc)["msg"])
        return {**_expire.answer(None, f"there is no plan: {why}"), "changed": False, "rejected": why}
