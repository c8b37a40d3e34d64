# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Live random lives of odd clusters (tests/support/odd_lives.py), and count for each oddity what came of its restores.

    odd.py SEEDS [FIRST]     seeds FIRST (1) to FIRST + SEEDS - 1; two at a time

Mounts are drawn where root may give a process mounts of its own; a neighbour where a second major's programs are installed
(make tools PG_MAJOR=13). Ends with 0 when nothing was wrong.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from soak import run
from support.life import KINDS
from support.odd_lives import live
from support.oddities import NAMES, mounts_of_its_own, oddities_of
from support.sandbox import load_tools


class Odd:
    """What a worker needs for one odd life after another."""

    kinds = (*KINDS, *NAMES)

    def __init__(self) -> None:
        self.tools = load_tools()
        self.root = mounts_of_its_own()
        others = [Path(path) for path in self.tools["pg_bin_dirs"].values() if path != self.tools["pg_bin_dir"]]
        self.other = next(iter(others), None)

    def live(self, seed: int, counts: Counter[tuple[str, str]]) -> None:
        live(self.tools, seed, counts, root=self.root, other=self.other)

    def show(self, seed: int) -> Any:
        major = int(Path(self.tools["pg_bin_dir"]).parent.name)
        return oddities_of(seed, major=major, root=self.root, neighbour=self.other is not None)

    def close(self) -> None:
        """Each life has cleaned up."""


if __name__ == "__main__":
    sys.exit(run(Odd, must_reach=()))
