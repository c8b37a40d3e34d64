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
    hits: Counter[tuple[str, str, str]] = Counter()
    bad: list[int] = []
    cut_off = 0
    for seed in range(first, first + count):
        one, began = None, time.monotonic()
        sandbox = Sandbox(load_tools())
        try:
            place = Range(sandbox)
            for verb in ("restore", "roll back"):  # for the lengths of the phases
                place.finish(verb)
            for one in kills_of(seed):
                hits[one.verb, one.phase, one.victim] += place.kill(one)
                if one.verb in ("archive", "push", "backup"):
                    place.finish(one.verb)
            place.end()
            cut_off += len(place.moved)
        except (AssertionError, LookupError, OSError, ValueError, subprocess.SubprocessError):
            bad.append(seed)
            print(f"seed {seed} WRONG at {one}", traceback.format_exc(), sep="\n", flush=True)
        finally:
            sandbox.close()
        print(f"seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
    for case in CASES:
        print(f"{case[0]:10} {case[1]:12} {case[2]:11}{hits[case]:5}")
    never = [case for case in CASES if not hits[case]]
    print(
        f"{hits.total()} kills; uploads cut off: {cut_off}; wrong seeds: {bad or 'none'}; cases never hit: {never or 'none'}"
    )
    return 1 if bad or never else 0


if __name__ == "__main__":
    sys.exit(main())
