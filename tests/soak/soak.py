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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from support.forked import ForkingSandbox
from support.lives import KINDS, Earth, life_of, table
from support.sandbox import load_tools

WORKERS = 2
_WRONG = (AssertionError, LookupError, OSError, ValueError, subprocess.SubprocessError)


class Tidy:
    """What a worker needs for one life after another: one cluster, copied."""

    kinds: Sequence[str] = KINDS

    def __init__(self) -> None:
        self.sandbox = ForkingSandbox(load_tools())
        self.earth = Earth(self.sandbox)

    def live(self, seed: int, counts: Counter[tuple[str, str]]) -> None:
        self.earth.live(life_of(seed), counts)

    @staticmethod
    def show(seed: int) -> str:
        """Return what is lived there, for people."""
        return str(life_of(seed))

    def close(self) -> None:
        self.sandbox.close()


def work(kind: Any, seeds: range, results: Any) -> None:
    """In a process of its own: one life after another, each result told at once."""
    world = kind()
    try:
        for seed in seeds:
            began, wrong = time.monotonic(), ""
            counts: Counter[tuple[str, str]] = Counter()
            try:
                world.live(seed, counts)
            except _WRONG:
                wrong = f"{world.show(seed)}\n{traceback.format_exc()}"
            results.put((seed, time.monotonic() - began, counts, wrong))
    finally:
        world.close()


def run(kind: Any, must_reach: Sequence[str]) -> int:
    """Live the lives that the command line asks for, in worlds of this kind, and print what came of them."""
    count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    results: Any = multiprocessing.Queue()
    shares = [range(first + number, first + count, WORKERS) for number in range(min(WORKERS, count))]
    workers = [multiprocessing.Process(target=work, args=(kind, share, results)) for share in shares]
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
            print(wrong, flush=True)
        if done % 10 == 0 and done < count:
            print(table(counts, kind.kinds), flush=True)
    for worker in workers:
        worker.join()
    print(table(counts, kind.kinds))
    targets = sum(number for (what, _outcome), number in counts.items() if what in KINDS)
    never = [what for what in kind.kinds if not counts[what, "reached"]]
    print(f"{count} lives, {targets} targets; wrong: {bad or 'none'}; kinds never reached: {never or 'none'}")
    return 1 if bad or set(never).intersection(must_reach) else 0


if __name__ == "__main__":
    sys.exit(run(Tidy, must_reach=KINDS))
