# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random lives of a cluster, one for each seed, and a place where they are lived one after another."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import Phase, assume, given, seed, settings
from hypothesis import strategies as st

from .history import History
from .life import KINDS, Life, Living, Wish
from .sandbox import Cluster, Sandbox

MIB = 1024 * 1024
_FRACTION = st.integers(0, 100).map(lambda percent: percent / 100)
_COMMIT = st.tuples(st.just("commit"), st.sampled_from(["insert", "update", "delete", "several"]))
_STEP = st.one_of(
    _COMMIT,
    _COMMIT,
    _COMMIT,
    st.tuples(st.sampled_from(["overlap", "abort", "ship", "idle"]), st.none()),
    st.tuples(st.sampled_from(["overlap", "abort", "ship", "idle"]), st.none()),
    st.tuples(st.just("name"), st.sampled_from(["before", "after"])),
    st.tuples(st.just("name"), st.sampled_from(["before", "after"])),
    st.tuples(st.just("backup"), st.booleans()),
)


def wishes(kinds: tuple[str, ...] = KINDS) -> st.SearchStrategy[Wish]:
    """Targets of these kinds."""
    actions = st.sampled_from(["pause", "pause", "promote"])
    return st.builds(Wish, st.sampled_from(kinds), _FRACTION, st.integers(0, 11), actions)


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Two or three stretches with a restore between them, then an end, then targets."""
    steps: list[tuple[str, Any]] = [("commit", "insert"), ("backup", True)]
    for number in range(draw(st.sampled_from([1, 2, 2, 3]))):
        if number:
            steps.append(("restore", draw(wishes())))
        steps += draw(st.lists(_STEP, min_size=3, max_size=7))
        steps += [("commit", "insert"), ("ship", None), ("commit", "several")]
    assume(len(steps) > 10)  # the simplest life is drawn first and tells least
    end = draw(st.sampled_from(["stop", "stop", "crash", "lose"]))
    gap = draw(st.one_of(st.none(), st.none(), _FRACTION))
    return Life(tuple(steps), end, gap, tuple(draw(st.lists(wishes(), min_size=3, max_size=4))))


def life_of(number: int) -> Life:
    """Return the life of a seed: always the same."""
    found: list[Life] = []

    @seed(number)
    @settings(max_examples=1, database=None, phases=[Phase.generate], deadline=None)
    @given(lives())
    def take(life: Life) -> None:
        found.append(life)

    take()
    return found[-1]


class Earth:
    """A sandbox in which life after life is lived: the cluster is made once and copied. Segments of 1 MB keep it quick."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        settings_ = {
            "archive_mode": "on",
            "track_commit_timestamp": "on",
            "autovacuum": "off",
            "wal_keep_segments" if sandbox.major() < 13 else "wal_keep_size": "0",
        }
        small = sandbox.major() >= 11
        self.segment_size = (1 if small else 16) * MIB
        if small:
            settings_ |= {"min_wal_size": "2MB", "max_wal_size": "8MB"}
        initdb = ("--wal-segsize=1",) if small else ()
        self.cluster: Cluster = sandbox.cluster("main", initdb=initdb, **settings_)
        sandbox.configure(self.cluster, settings={"WALG_DELTA_MAX_STEPS": "2"})
        answer = sandbox.module("walg_archive", sandbox.instance())
        assert answer.get("changed"), answer
        self.cluster.stop()
        fresh = {
            "data": self.cluster.data_dir,
            "storage": sandbox.storage_dir,
            "state": sandbox.host / "state",
        }
        self.kept = {sandbox.root / "kept" / name: path for name, path in fresh.items()}
        for copy, path in self.kept.items():
            self._copy(path, copy)

    def live(self, life: Life, counts: Counter[tuple[str, str]]) -> None:
        """Live one life on a fresh cluster, with its own archive."""
        self.cluster.stop("immediate")
        for copy, path in self.kept.items():
            for left in path.parent.glob(f"{path.name}*"):
                if left.is_dir():
                    _remove(left)
            self._copy(copy, path)
        self.cluster.start()
        history = History(self.sandbox, self.cluster)
        try:
            Living(self.sandbox, history, counts, self.segment_size).live(life)
        finally:
            history.disconnect()

    def _copy(self, source: Any, target: Any) -> None:
        target.parent.mkdir(exist_ok=True)
        done = self.sandbox.run(["cp", "-a", str(source), str(target)])
        assert done.returncode == 0, done.stdout


def _remove(path: Path) -> None:
    """Remove a tree into which a prefetching WAL-G of the former life may still write for a moment."""
    for _turn in range(100):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} does not go away")


def table(counts: Counter[tuple[str, str]], kinds: Sequence[str] = KINDS) -> str:
    """Return the counts per kind of target, or of oddity, for people."""
    rows = [f"{'':24}{'reached':>9}{'refused':>9}{'failed':>9}"]
    for kind in kinds:
        rows.append(f"{kind:24}" + "".join(f"{counts[kind, one]:9}" for one in ("reached", "refused", "failed")))
    return "\n".join(rows)
