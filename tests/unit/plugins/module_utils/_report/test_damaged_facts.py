# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts from a file that somebody edited, or of another version: whatever is in their place, nobody who reads them stumbles."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _due
from ansible_collections.mapswipe.walg.plugins.module_utils._report import _metrics, _status, _verdict
from support import reported

NOW = reported.NOW
WRONG: tuple[Any, ...] = (None, 5, "x", [5], {"a": 1})


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of each value in facts; of lists the first two."""
    if above:
        yield above
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for name, one in inner:
        yield from places(one, (*above, name))


@pytest.mark.parametrize("part", sorted(reported.facts(2)))
def test_a_wrong_value_anywhere(part: str) -> None:
    whole = reported.facts(2)
    for place in places(whole[part], (part,)):
        for wrong in WRONG:
            facts = copy.deepcopy(whole)
            target = facts
            for name in place[:-1]:
                target = target[name]
            target[place[-1]] = wrong
            verdict = _verdict.judge(facts, NOW)
            assert _metrics.text(facts, verdict, NOW)
            assert _status.lines(facts, verdict, NOW, width=80)


@pytest.mark.parametrize("verdict", [None, 5, [], {"reasons": 5}, {"reasons": {"code": "gap"}}, {"reasons": [5]}])
def test_a_verdict_that_is_none_makes_nothing_due(verdict: Any) -> None:
    assert _due.codes({"verdict": verdict}) == []
