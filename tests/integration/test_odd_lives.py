# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three lives of odd clusters, of which `make test-soak WHAT=odd SEEDS=100` lives many more.

In processes of their own, since mounts that a life makes are to be seen by nobody else.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections import Counter
from typing import Any

import pytest
from support.lives import KINDS
from support.odd_lives import live
from support.oddities import mounts_of_its_own


def _live(tools: dict[str, Any], seed: int, answer: Any) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    wrong = ""
    try:
        live(tools, seed, counts, root=mounts_of_its_own(), other=None)
    except (AssertionError, LookupError, OSError, ValueError):
        wrong = traceback.format_exc()
    answer.put((counts, wrong))


@pytest.mark.long
@pytest.mark.parametrize(
    ("seed", "reached"),
    [
        pytest.param(42, True, id="tablespaces, subscriber, origins"),
        pytest.param(12, os.geteuid() != 0, id="pg_wal is a mount"),
        pytest.param(26, False, id="nested tablespace"),
    ],
)
def test_what_is_odd_is_there_after_a_restore(tools: dict[str, Any], seed: int, reached: bool) -> None:
    answer: Any = multiprocessing.Queue()
    worker = multiprocessing.Process(target=_live, args=(tools, seed, answer))
    worker.start()
    counts, wrong = answer.get(timeout=900)
    worker.join()
    assert not wrong, wrong
    outcomes = {outcome for kind, outcome in counts if kind in (*KINDS, "nested tablespace")}
    assert outcomes, "nothing was tried"
    assert not reached or "reached" in outcomes
