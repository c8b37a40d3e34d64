# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines for cron, and what comes out of them."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _schedule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from hypothesis import given, settings
from hypothesis import strategies as st
from support import cron

PRINTF = shutil.which("printf") or "/usr/bin/printf"
WORDS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r"), max_size=12)
    | st.text("%\\'\" $`~=-#ab", max_size=8),
    min_size=1,
    max_size=5,
)


def run(command: str) -> list[str]:
    """Let the shell run a command that prints its own arguments, each ended by NUL."""
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True, timeout=20)
    assert done.stderr == b""
    return done.stdout.decode().split("\0")[:-1]


def printing(words: list[str]) -> str:
    return _schedule.cron_line(17, 2, "postgres", [PRINTF, "%s\\0", *words])


@given(WORDS)
@settings(deadline=None, database=None)
def test_words_arrive_as_they_were_given(words: list[str]) -> None:
    text = _schedule.cron_file("main", [printing(words)])
    user, command = cron.command_of(text)
    assert user == "postgres"
    assert run(command) == words


@given(WORDS)
@settings(deadline=None, database=None)
def test_they_do_so_too_where_cron_leaves_the_backslash(words: list[str]) -> None:
    assert run(printing(words).split(" ", 6)[6]) == words


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("plain", "plain"),
        ("", "''"),
        ("a b", "'a b'"),
        ("50%", r"50\%"),
        ("%", r"\%"),
        ("+%Y-%m", r"+\%Y-\%m"),
        ("a %", r"'a '\%"),
        ("\\%", r"'\'\%"),
        ("it's", "'it'\"'\"'s'"),
        ("$HOME", "'$HOME'"),
    ],
)
def test_how_a_word_is_written(word: str, written: str) -> None:
    assert _schedule.cron_line(5, 3, "root", ["/bin/x", word]) == f"5 3 * * * root /bin/x {written}"


@pytest.mark.parametrize("bad", ["a\nb", "a\0b", "a\rb", "\ud800"])
def test_a_word_that_no_line_can_hold(bad: str) -> None:
    with pytest.raises(WalgError, match="is not allowed"):
        _schedule.cron_line(5, 3, "root", ["/bin/x", bad])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("minute", "0"),
        ("minute", 59),
        ("minute", "*/5"),
        ("minute", "0,15,30-45"),
        ("minute", "0-30/10"),
        ("hour", "23"),
        ("day", "31"),
        ("month", "12"),
        ("month", "jan"),
        ("weekday", "7"),
        ("weekday", "SUN"),
        ("weekday", "1-5"),
    ],
)
def test_field(field: str, value: str | int) -> None:
    given: dict[str, str | int] = {"minute": "0", "hour": "0", field: value}
    line = _schedule.cron_line(user="root", argv=["/bin/x"], **given)
    place = ["minute", "hour", "day", "month", "weekday"].index(field)
    assert line.split()[place] == str(value)
    assert cron.command_of(line) == ("root", "/bin/x")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("minute", "60"),
        ("minute", "-1"),
        ("minute", ""),
        ("minute", "* *"),
        ("minute", "*/0"),
        ("minute", "5/10"),
        ("minute", "30-10"),
        ("minute", "1,,2"),
        ("minute", "1,"),
        ("minute", "1\n"),
        ("minute", "@daily"),
        ("minute", "\u0663"),
        ("hour", "24"),
        ("day", "0"),
        ("day", "32"),
        ("month", "0"),
        ("month", "13"),
        ("month", "sun"),
        ("weekday", "8"),
        ("weekday", "sunday"),
        ("minute", "jan"),
    ],
)
def test_refused_field(field: str, value: str) -> None:
    given = {"minute": "0", "hour": "0", field: value}
    with pytest.raises(WalgError, match=f"schedule's {field} "):
        _schedule.cron_line(user="root", argv=["/bin/x"], **given)


@pytest.mark.parametrize("user", ["", "a b", "root x", "-x", "a\n", "1a"])
def test_refused_user(user: str) -> None:
    with pytest.raises(WalgError, match="user"):
        _schedule.cron_line(0, 0, user, ["/bin/x"])


@pytest.mark.parametrize("argv", [[], ["walg-job"], ["A=b", "/bin/x"], [""]])
def test_refused_program(argv: list[str]) -> None:
    with pytest.raises(WalgError, match="absolute path"):
        _schedule.cron_line(0, 0, "root", argv)


def test_a_command_that_cron_would_not_take_whole() -> None:
    longest = ["/bin/x", "a" * 991]
    assert len(cron.command_of(_schedule.cron_line(0, 0, "root", longest))[1]) == 998
    with pytest.raises(WalgError, match="998 bytes"):
        _schedule.cron_line(0, 0, "root", ["/bin/x", "a" * 992])


def test_file() -> None:
    text = _schedule.cron_file("main", ["17 2 * * * postgres /bin/x"])
    header, shell, job, end = text.split("\n")
    assert header.startswith("# ")
    assert "instance main" in header
    assert (shell, job, end) == ("SHELL=/bin/sh", "17 2 * * * postgres /bin/x", "")
    with pytest.raises(WalgError, match="line break"):
        _schedule.cron_file("main\n* * * * * root /bin/y", [])
    with pytest.raises(WalgError, match="line break"):
        _schedule.cron_file("main", ["a\nb"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "found: 0"),
        ("0 0 * * * root /bin/x\n1 1 * * * root /bin/y\n", "found: 2"),
        ("0 0 * * * root", "Not a line"),
        ("61 0 * * * root /bin/x", "minute"),
        ("0 0 * * * root /bin/date +%Y", "percent"),
        ("0 0 * * * root /bin/x '\\\\%'", "percent"),
    ],
)
def test_a_file_without_one_whole_job(text: str, why: str) -> None:
    with pytest.raises(WalgError, match=why):
        cron.command_of(text)


def test_the_job_among_comments_and_settings() -> None:
    text = "# * * * * * root /bin/no\nSHELL=/bin/sh\nMAILTO = a@b\n\n0\t0 * * *  root\t/bin/x  a\\%b\n"
    assert cron.command_of(text) == ("root", "/bin/x  a%b")


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 23))
@settings(database=None)
def test_spread_is_a_minute(seed: str, hour: int) -> None:
    assert 0 <= _schedule.spread(seed, hour) <= 59


@pytest.mark.parametrize("minutes", [5, 10, 60])
def test_check_and_run_never_begin_in_one_minute(minutes: int) -> None:
    for host in range(60):
        job = _schedule.Job("main", "postgres", "/p", "/c", f"db{host}")
        first = job.minute("check", minutes), job.minute("run", _schedule.RUN_MINUTES)
        assert first[0] % 5 != first[1]


def test_spread_is_stable_and_spreads() -> None:
    assert _schedule.spread("db1/main", 2) == 19
    assert len({_schedule.spread(f"db{number}/main", 2) for number in range(300)}) > 50
