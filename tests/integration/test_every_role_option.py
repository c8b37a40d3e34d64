# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong values for options of roles, in check mode: whatever is given, a play answers in sentences."""

from __future__ import annotations

import os
import random

from support import fuzz_roles
from support.restoring import archived
from support.sandbox import Sandbox

SAMPLE = int(os.environ.get("OPTIONS") or 40)


def test_a_wrong_value_of_a_role_is_told_in_a_sentence(sandbox: Sandbox) -> None:
    variables = {**sandbox.variables(archived(sandbox).cluster), "walg_restore_request": "r1"}
    cases = fuzz_roles.role_cases()
    random.Random(int(os.environ.get("FIRST") or 1)).shuffle(cases)
    told = list(fuzz_roles.tried(sandbox, variables, cases[:SAMPLE]))
    bad = [(case, found) for case, found in told if found]
    print(f"{len(told)} of {len(cases)} wrong values of roles tried, {len(bad)} not answered well")
    assert not bad, "\n".join(f"{case}: {found}" for case, found in bad)
