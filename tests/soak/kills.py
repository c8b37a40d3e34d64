# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kill restores at random instants (tests/support/kills.py): each seed once in each phase, each of who works there.

    kills.py SEEDS [FIRST]     seeds FIRST (1) to FIRST + SEEDS - 1

Ends with 0 when nothing was lost and every run after a kill finished, and each case was hit at least once.
"""

from __future__ import annotations

import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from support.kills import CASES, Range, kills_of
from support.sandbox import Sandbox, load_tools


def main() -> int:
    count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    hits: Counter[tuple[str, str]] = Counter()
    bad: list[int] = []
    for seed in range(first, first + count):
        one = None
        sandbox = Sandbox(load_tools())
        try:
            place = Range(sandbox)
            for one in kills_of(seed):
                began = time.monotonic()
                hit = place.kill(one)
                hits[one.victim, one.phase] += hit
                print(f"seed {seed}: {time.monotonic() - began:.1f} s", flush=True)
        except (AssertionError, LookupError, OSError, ValueError, subprocess.SubprocessError):
            bad.append(seed)
            print(f"seed {seed} WRONG at {one}", traceback.format_exc(), sep="\n", flush=True)
        finally:
            sandbox.close()
    for victim, phase in CASES:
        print(f"{victim:12}{phase:14}{hits[victim, phase]:5}")
    never = [case for case in CASES if not hits[case]]
    print(f"{hits.total()} kills; wrong seeds: {bad or 'none'}; cases never hit: {never or 'none'}")
    return 1 if bad or never else 0


if __name__ == "__main__":
    sys.exit(main())
