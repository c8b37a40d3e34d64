# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which timeline "latest" follows after a rollback."""

from __future__ import annotations

import json

from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _trunk
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _backups
from support.walg_world import SIZE, inventory, listed, shown


def test_a_timeline_that_was_rolled_back_is_none_to_follow() -> None:
    """It left at the parent's very end and has the newest base backup; only the owner knows that he went back."""
    archive = inventory(shown(1, 2, 6), shown(2, 6, 8, parent=1, switch=6 * SIZE + 40))
    backups = _backups.parse_list(
        json.dumps([listed(1, 2, "2026-01-01T00:00:00Z"), listed(2, 7, "2026-01-02T00:00:00Z")])
    )
    assert _trunk.trunk(archive, backups, 1, 1).timeline == 2
    gone = _trunk.trunk(archive, backups, 1, 2)
    assert (gone.timeline, gone.orphans) == (1, (2,))
