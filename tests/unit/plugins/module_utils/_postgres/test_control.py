# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of pg_control, of every version."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _control
from support.control_file import IDENTIFIER, LIMITS, control

DATA = Path(__file__).parents[3] / "data" / "pg_control"


@pytest.mark.parametrize("version", [1002, 1100, 1201, 1300, 1700, 1800, 1905])
def test_versions(version: int) -> None:
    found = _control.parse(control(version))
    assert found is not None
    assert (found.system_identifier, found.version, found.timeline) == (str(IDENTIFIER), version, 3)
    wanted = {name: value for name, value in LIMITS.items() if name != "max_wal_senders" or version >= 1201}
    assert found.limits == wanted


def test_a_real_file_of_version_19() -> None:
    """Of 19~rc1, with these five limits in its configuration; pg_controldata said the same."""
    found = _control.parse((DATA / "pg19").read_bytes())
    assert found is not None
    assert (found.system_identifier, found.version, found.timeline, found.clean) == (
        "7713226899085869386",
        1905,
        1,
        True,
    )
    assert list(found.limits.values()) == [123, 8, 10, 5, 77]
    assert found.segment_size == 16 << 20


@pytest.mark.parametrize(("state", "clean"), [(0, False), (1, True), (2, True), (3, False), (5, False), (6, False)])
def test_only_a_shutdown_is_clean(state: int, clean: bool) -> None:
    found = _control.parse(control(1300, state))
    assert found is not None
    assert found.clean is clean


def test_an_unknown_version_says_who_it_is_and_no_more() -> None:
    found = _control.parse(control(2000))
    assert found is not None
    assert (found.system_identifier, found.clean, found.timeline, found.limits) == (str(IDENTIFIER), True, 0, {})


def test_a_file_cut_short() -> None:
    assert _control.parse(control(1300)[:20]) is None
    found = _control.parse(control(1300)[:100])
    assert found is not None
    assert (found.timeline, found.limits) == (0, {})


@pytest.mark.parametrize("version", [1002, 1100, 1201, 1300, 1700, 1800, 1905])
@pytest.mark.parametrize("mib", [1, 16, 64, 1024])
def test_segment_size(version: int, mib: int) -> None:
    found = _control.parse(control(version, segment_size=mib << 20))
    assert found is not None
    assert found.segment_size == mib << 20


@pytest.mark.parametrize("size", [0, 1 << 19, 3 << 20, 1 << 31])
def test_what_is_no_segment_size_is_not_known(size: int) -> None:
    found = _control.parse(control(1300, segment_size=size))
    assert found is not None
    assert found.segment_size == 0
