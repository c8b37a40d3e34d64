# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: recovery has reached its target, so the archive is proved: leave for the owner's job when, and to which moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _times
from .._instance import _restored

if TYPE_CHECKING:
    from .._instance._record import Instance
    from ._state import RestoreState


def tell(instance: Instance, saved: RestoreState) -> None:
    """Write it down, as the owner. A restore doesn't fail for it: where it can't be written, the answer has a note."""
    answer = saved.answer
    told = _restored.Restored(
        time=_times.now(),
        target=saved.target.shown(),
        backup=saved.backup,
        system_identifier=saved.system_identifier,
        storage=instance.storage,
        last_commit=_restored.commit_time(answer.last_commit),
    )
    try:
        _restored.write(instance, told)
    except (WalgError, OSError) as exc:
        note = f"This restore has proved the archive, but that could not be written down for walg_status: {exc}"
        answer.notes = [*(answer.notes or []), note]
