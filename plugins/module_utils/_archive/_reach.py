# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules: would a restore to the latest state be planned. One answer for whoever restores and whoever says that all is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import WalgError
from .._postgres._targets import Target
from . import _choose_backup, _trunk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._walg._backups import Backup
    from .._walg._inventory import Inventory
    from ._owner import Owner


def trunk(storage: str, archive: Inventory, mine: Sequence[Backup], owner: Owner | None) -> tuple[int, Sequence[int]]:
    """Return the timeline that the latest state is on, and the orphans beside the way to it. Raises WalgError if it can't be told."""
    found = _trunk.trunk(archive, mine, owner.timeline if owner else None, owner.highest_timeline if owner else 0)
    if found.timeline is None:
        listed = ", ".join(map(str, found.candidates)) or "none"
        raise WalgError(
            f"Which timeline in {storage} is the cluster's own is ambiguous: {found.reason}. Candidates: {listed}. "
            "Choose one with walg_restore_timeline.",
            found=list(found.candidates),
        )
    return found.timeline, found.orphans


def latest(
    storage: str, archive: Inventory, mine: Sequence[Backup], owner: Owner | None, timeline: int
) -> _choose_backup.Choice:
    """Return the way to the latest state of the server on ``timeline``. Raises WalgError where a restore would not come to it."""
    followed, _orphans = trunk(storage, archive, mine, owner)
    if followed != timeline:
        raise WalgError(
            f"A restore from {storage} would follow timeline {followed}, but this server is on timeline {timeline}: what it writes would "
            "not be restored. See walg_backup_info for what is in the archive, and which server writes to it.",
            found=followed,
            wanted=timeline,
        )
    return _choose_backup.pick(_choose_backup.ArchiveView(storage, mine, archive), Target(), timeline)
