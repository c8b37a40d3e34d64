# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few of the kills that make test-soak WHAT=kills searches: the server beside in its recovery, the module in the swap."""

from __future__ import annotations

import os

from support.kills import Range, kills_of
from support.sandbox import Sandbox

SEED = int(os.environ.get("FIRST") or 1)
FEW = (("postmaster", "recover"), ("module", "swap"))


def test_killed_at_random_instants(sandbox: Sandbox) -> None:
    place = Range(sandbox)
    chosen = [one for one in kills_of(SEED) if (one.victim, one.phase) in FEW]
    hits = [(place.kill(one), one) for one in chosen]
    assert any(hit for hit, _one in hits), f"FIRST={SEED}: all phases were over before: {hits}"
