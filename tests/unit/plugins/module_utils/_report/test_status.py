# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines on a terminal: the answer first, never wider than asked, and nothing foreign steers the terminal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._report import _shown, _status, _verdict, _watch
from support import reported

NOW = reported.NOW


def lines(facts: dict[str, Any], **how: Any) -> list[str]:
    return _status.lines(facts, _verdict.judge(facts, NOW), NOW, **how)


def test_the_answer_comes_first() -> None:
    assert lines(reported.facts(10), width=200)[0] == (
        "main on db1.example.com: restorable yes, to about 2026-01-31 11:58:33 UTC (1 min 27 s ago), proved 2026-01-21 12:00:00 UTC"
    )


@pytest.mark.parametrize("width", [10, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    facts = reported.facts(10, archive_problem="x" * 500)
    assert max(map(len, lines(facts, width=width))) <= max(width, 30)


def test_colours_only_where_they_are_asked_for_and_never_from_others() -> None:
    facts = reported.facts(10, archive=None, archive_problem="\x1b[2J\x07 gone")
    assert "\x1b" not in "".join(lines(facts))
    assert "\x1b[2J" not in "".join(lines(facts, colour=True))
    assert "\x1b[35m" in "".join(lines(facts, colour=True))


def test_a_remedy_follows_its_reason() -> None:
    told = lines(reported.facts(10, health=reported.health(failing=True)), width=300)
    (number,) = [number for number, line in enumerate(told) if "[archiver_failing]" in line]
    assert told[number].startswith("!! ")
    assert told[number + 1].startswith("   -> See the server's log")


def progress(**more: Any) -> dict[str, Any]:
    started = reported.stamp(NOW - timedelta(seconds=100))
    return {
        "what": "verify",
        "phase": "re-reading",
        "started": started,
        "phase_started": started,
        "updated": reported.stamp(NOW),
        **more,
    }


def test_a_bar_with_rate_and_the_time_left() -> None:
    state = progress(bytes=25_000_000, bytes_planned=100_000_000)
    assert _watch.line_of(state, NOW, width=100, ascii_only=True) == (
        "[########......................]  25% verify: re-reading, 25 MB of 100 MB, 250 kB/s, 5 min left"
    )


def test_without_a_total_there_is_no_bar() -> None:
    assert _watch.line_of(progress(), NOW) == "verify: re-reading, for 1 min 40 s"
    assert _watch.line_of(None, NOW) == "nothing runs"


def test_a_run_that_is_silent_is_not_shown_as_moving() -> None:
    state = progress(bytes=1, bytes_planned=2, updated=reported.stamp(NOW - timedelta(seconds=90)))
    assert _watch.line_of(state, NOW) == "verify: re-reading; no word for 1 min 30 s"


def test_a_narrow_terminal_gets_two_lines() -> None:
    state = progress(bytes=25_000_000, bytes_planned=100_000_000)
    assert _watch.lines_of(state, NOW, width=40, ascii_only=True) == [
        "[####..........]  25% verify: re-reading",
        "  25 MB of 100 MB, 250 kB/s, 5 min left",
    ]
    assert len(_watch.lines_of(state, NOW, width=80)) == 1
    assert _watch.lines_of(state, NOW, width=30, ascii_only=True)[1] == "  25 MB, 250 kB/s, 5 min left"
    assert _watch.lines_of(state, NOW, width=24)[1] == "  25 MB, 5 min left"
    assert _watch.lines_of(progress(bytes=25_000_000), NOW, width=30) == [
        "verify: re-reading",
        "  25 MB, for 1 min 40 s",
    ]


def test_the_line_of_the_end() -> None:
    assert _watch.ended("backup", 9_400_000_000, 96.0) == "backup: done, 9.4 GB, 97.9 MB/s, for 1 min 36 s"
    assert _watch.ended("backup", None, 0) == "backup: done, ?, for 0 s"


def test_recovery_says_what_it_may_take_at_most() -> None:
    state = progress(what="restore", phase="recover", seconds_left_at_most=90)
    assert _watch.line_of(state, NOW) == "restore: recover, 1 min 30 s left at most"


def test_what_runs_is_part_of_the_status() -> None:
    told = lines(reported.facts(3, progress=progress(bytes=25_000_000, bytes_planned=100_000_000)))
    assert "   running   verify: re-reading, 25 MB of 100 MB, 250 kB/s, 5 min left (25%)" in told


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_the_line_fits(width: int) -> None:
    for state in (
        progress(bytes=1, bytes_planned=3),
        progress(fetched_bytes=9e12, expected_bytes=1),
        progress(deleted=3, objects=9),
    ):
        assert len(_watch.line_of(state, NOW, width=width)) <= width
        assert max(map(len, _watch.lines_of(state, NOW, width=width))) <= width


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_600, "1 MB"),
        (2_204_041_728, "2.2 GB"),
        (None, "?"),
        ("x", "?"),
        (float("nan"), "?"),
    ],
)
def test_sizes(value: Any, told: str) -> None:
    assert _shown.size(value) == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (61, "1 min 1 s"), (7200, "2 h"), (180000, "2 d 2 h"), (None, "?")]
)
def test_spans(seconds: Any, told: str) -> None:
    assert _shown.span(seconds) == told
