# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong values for options, in check mode: whatever is given, a module answers in sentences, soon, and without a traceback."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from support import fuzz
from support.restoring import archived
from support.sandbox import Sandbox

SANDBOX = fuzz.BoundedSandbox
SAMPLE = int(os.environ.get("OPTIONS") or 120)


@pytest.fixture(scope="module")
def base(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    assert isinstance(sandbox, fuzz.BoundedSandbox)
    return fuzz.base_options(sandbox, archived(sandbox).cluster)


def test_a_wrong_value_is_told_in_a_sentence(sandbox: Sandbox, base: dict[str, dict[str, Any]]) -> None:
    cases = fuzz.cases()
    random.Random(int(os.environ.get("FIRST") or 1)).shuffle(cases)
    bad = []
    for case in cases[:SAMPLE]:
        try:
            found = fuzz.faults(sandbox.module(case.module, case.options(base[case.module]), check=True))
        except AssertionError as exc:
            found = [str(exc)[-600:]]
        if found:
            bad.append((case, found))
    print(f"{min(SAMPLE, len(cases))} of {len(cases)} wrong values tried, {len(bad)} not answered well")
    assert not bad, "\n".join(f"{case}: {found}" for case, found in bad)
