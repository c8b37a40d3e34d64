# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Live many random lives of a cluster (tests/support/lives.py), and count what came of each kind of target.

    soak.py SEEDS [FIRST]     seeds FIRST (1) to FIRST + SEEDS - 1; two at a time

Ends with 0 when every target was reached exactly or refused as the model allows, and each kind was reached at least once.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from support.forked import ForkingSandbox
from support.lives import KINDS, Earth, life_of, table
from support.sandbox import load_tools

WORKERS = 2


def live(seeds: range, results: Any) -> None:
    """In a process of its own: one life after another, each result told at once."""
    sandbox = ForkingSandbox(load_tools())
    try:
        earth = Earth(sandbox)
        for seed in seeds:
            began, wrong = time.monotonic(), ""
            counts: Counter[tuple[str, str]] = Counter()
            try:
                earth.live(life_of(seed), counts)
            except (AssertionError, LookupError, OSError, ValueError, subprocess.SubprocessError):
                wrong = traceback.format_exc()
            results.put((seed, time.monotonic() - began, counts, wrong))
    finally:
        sandbox.close()


def main() -> int:
    count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    results: Any = multiprocessing.Queue()
    shares = [range(first + number, first + count, WORKERS) for number in range(min(WORKERS, count))]
    workers = [multiprocessing.Process(target=live, args=(share, results)) for share in shares]
    for worker in workers:
        worker.start()
    counts: Counter[tuple[str, str]] = Counter()
    bad: list[int] = []
    for done in range(1, count + 1):
        while results.empty() and any(worker.is_alive() for worker in workers):
            time.sleep(0.2)
        if results.empty() and not any(worker.is_alive() for worker in workers):
            print("a worker ended early", flush=True)
            return 1
        seed, seconds, found, wrong = results.get()
        counts += found
        print(f"{done} of {count}: seed {seed}, {seconds:.0f} s{', WRONG' if wrong else ''}", flush=True)
        if wrong:
            bad.append(seed)
            print(life_of(seed), wrong, sep="\n", flush=True)
        if done % 10 == 0 and done < count:
            print(table(counts), flush=True)
    for worker in workers:
        worker.join()
    print(table(counts))
    never = [kind for kind in KINDS if not counts[kind, "reached"]]
    print(f"{count} lives, {counts.total()} targets; wrong: {bad or 'none'}; kinds never reached: {never or 'none'}")
    return 1 if bad or never else 0


if __name__ == "__main__":
    sys.exit(main())
