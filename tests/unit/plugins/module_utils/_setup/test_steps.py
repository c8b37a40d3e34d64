# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a flow: in their order, with a diff of each, and named by an error that comes up within."""

from __future__ import annotations

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._setup._steps import Steps


def test_without_a_step_nothing_changed() -> None:
    assert Steps().answer() == {"changed": False, "steps": [], "diff": []}


def test_steps_and_their_diffs_in_order() -> None:
    steps = Steps()
    steps.add("install", "/bin/wal-g", [{"before": "", "after": "new\n"}])
    steps.add("prune", "/bin")
    steps.add(
        "settings",
        "/etc",
        [{"before": "a", "after": "b", "after_header": "/etc/main.env"}, {"before": "", "after": "c"}],
    )
    answer = steps.answer()
    assert (answer["changed"], [one["step"] for one in answer["steps"]]) == (True, ["install", "prune", "settings"])
    assert answer["diff"] == [
        {"before_header": "/bin/wal-g", "after_header": "/bin/wal-g", "before": "", "after": "new\n"},
        {"before_header": "/etc", "after_header": "/etc/main.env", "before": "a", "after": "b"},
        {"before_header": "/etc", "after_header": "/etc", "before": "", "after": "c"},
    ]


def test_an_error_names_its_step_and_what_was_done_before() -> None:
    steps = Steps()
    with steps.within("install"):
        steps.add("install", "/bin/wal-g")
    with pytest.raises(WalgError) as caught, steps.within("storage"):
        raise WalgError("It does not answer.", rc=1, step="of no account")
    done = [{"step": "install", "what": "/bin/wal-g"}]
    assert caught.value.msg == "Storage: It does not answer."
    assert caught.value.fields == {"rc": 1, "step": "storage", "steps": done}
    steps.add("later", "x")
    assert caught.value.fields["steps"] == done, "what comes later is not said"


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), Steps().within("install"):
        raise KeyError
