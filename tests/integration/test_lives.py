# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random lives with restores in them, held against a model row by row. `make test-soak SEEDS=200` lives many more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from support.forked import ForkingSandbox
from support.lives import Earth, life_of


@pytest.fixture(scope="module")
def earth(tools: dict[str, Any]) -> Iterator[Earth]:
    sandbox = ForkingSandbox(tools)
    try:
        yield Earth(sandbox)
    finally:
        sandbox.close()


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_every_target_is_reached_exactly_or_nothing_was_touched(earth: Earth, seed: int) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    life = life_of(seed)
    earth.live(life, counts)
    assert counts.total() == len(life.targets) + sum(what == "restore" for what, _detail in life.steps)
