# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cron's fields mean."""

from __future__ import annotations

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _cron_fields


@pytest.mark.parametrize(
    ("weekday", "days"),
    [
        ("*", 1),
        ("0", 7),
        ("1-5", 3),
        ("0,3", 4),
        ("1,2", 6),
        ("7", 7),
        ("mon", 7),
        ("Mon,wed,FRI", 3),
        ("*/2", 2),
        ("0-6", 1),
    ],
)
def test_the_longest_time_between_two_runs(weekday: str, days: int) -> None:
    assert _cron_fields.longest_gap(weekday) == days


@pytest.mark.parametrize("weekday", ["", "x", "5-1", "1-x", "*/x"])
def test_a_field_that_means_nothing_is_told(weekday: str) -> None:
    with pytest.raises(WalgError, match=r"field of its schedule.*walg_backup"):
        _cron_fields.longest_gap(weekday)
