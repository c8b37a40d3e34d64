# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: the first plan under rules, for the play that wrote them. It is asked for until the play has noted that it was shown.

What the job shows in its log, and since when, is in retention.json; nothing is deleted because of the note in here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._errors import WalgError, failure_fields
from .._host._files import read_text, write_atomic
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
    if was_shown(instance, policy):
        return {**_expire.answer(None, "the first plan under these rules was shown"), "changed": False}
    try:
        return _expire.run(runner, instance, policy, now, dry=True)
    except (WalgError, OSError) as exc:
        why = str(failure_fields(exc)["msg"])
        return {**_expire.answer(None, f"there is no plan: {why}"), "changed": False, "rejected": why}


def was_shown(instance: Instance, policy: Retention) -> bool:
    """Say whether a play has noted that it showed the plan. If nobody can tell, it did not."""
    try:
        return (read_text(instance.files.retention_shown, "replace") or "").strip() == _of(instance, policy)
    except (WalgError, OSError):
        return False


def note(instance: Instance, policy: Retention, *, dry: bool) -> bool:
    """Note that the plan was shown; return whether that is new. Raises WalgError or OSError if it can't be written."""
    new = not was_shown(instance, policy)
    if new and not dry:
        write_atomic(instance.files.retention_shown, _of(instance, policy) + "\n", 0o644)
    return new


def _of(instance: Instance, policy: Retention) -> str:
    return _retention_state.digest(policy, instance.storage, "")
