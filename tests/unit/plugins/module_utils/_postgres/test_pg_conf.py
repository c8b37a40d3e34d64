# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's configuration syntax, written by us and read by a reader that follows guc-file.l."""

from __future__ import annotations

import re

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _conf
from hypothesis import given
from hypothesis import strategies as st

#: A line as src/backend/utils/misc/guc-file.l takes it: name, optional =, quoted string, optional comment.
LINE = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_.$]*)\s*=?\s*'((?:[^'\\\n]|\\.|'')*)'\s*(#.*)?$")
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

NAMES = st.from_regex(r"[a-z][a-z_]{0,20}", fullmatch=True)
#: What our settings hold: commands and paths. Backslashes and control characters are another matter.
VALUES = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="\\"), max_size=60)


def unquote(text: str) -> str:
    """DeescapeQuotedString of guc-file.l."""
    return re.sub(r"''|\\[0-7]{1,3}|\\.", lambda match: _unescaped(match.group(0)), text)


def _unescaped(found: str) -> str:
    if found == "''":
        return "'"
    return chr(int(found[1:], 8)) if found[1:].isdigit() else ESCAPES.get(found[1:], found[1:])


def read(text: str) -> dict[str, str]:
    """Read a configuration file the way the server does, for quoted values."""
    found = {}
    for line in text.split("\n"):
        if line.strip() and not line.lstrip().startswith("#"):
            match = LINE.match(line)
            assert match, line
            found[match.group(1)] = unquote(match.group(2))
    return found


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("on", "x = 'on'\n"),
        ("", "x = ''\n"),
        ("it's", "x = 'it''s'\n"),
        ("/a b/wal-push '/e/main.env' \"%p\"", "x = '/a b/wal-push ''/e/main.env'' \"%p\"'\n"),
        ("a # b", "x = 'a # b'\n"),
    ],
)
def test_a_line(value: str, line: str) -> None:
    assert _conf.settings_text({"x": value}) == line


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_settings_round_trip(settings: dict[str, str]) -> None:
    assert read(_conf.settings_text(settings)) == settings
    assert read(_conf.conf_text(settings)) == settings


def test_lines_are_sorted() -> None:
    """The same settings give the same text, so that a second run changes nothing."""
    text = _conf.conf_text({"b": "2", "a": "1"})
    assert text == _conf.conf_text({"a": "1", "b": "2"})
    assert text.splitlines()[0].startswith("# Managed by")


@pytest.mark.parametrize("text", ["", "port = 5432\n", "port = 5432", "# end\n\n"])
def test_include_is_added_once_and_last(text: str) -> None:
    once = _conf.with_include(text)
    assert once.endswith(f"\n{_conf.INCLUDE_LINE}\n")
    assert once.startswith(text.rstrip("\n"))
    assert _conf.with_include(once) == once
    assert once.count("include_if_exists") == 1


def test_include_line_is_postgresql_syntax() -> None:
    assert read(_conf.INCLUDE_LINE) == {"include_if_exists": _conf.FILE_NAME}


@pytest.mark.parametrize(
    "line", ["# " + _conf.INCLUDE_LINE, "include_if_exists = 'mapswipe_walg.conf.d'", "include 'x'"]
)
def test_what_only_looks_like_our_include(line: str) -> None:
    assert _conf.with_include(line + "\n").splitlines()[-1] == _conf.INCLUDE_LINE


def settings_of(text: str) -> dict[str, str]:
    """Return the settings of one file; of two lines the last counts."""
    return {line.name: line.value for line in _conf.parse(text) if line.name}


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_what_was_written_is_read(settings: dict[str, str]) -> None:
    assert settings_of(_conf.conf_text(settings)) == settings


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("port = 5433", "5433"),
        ("port=5433#x", "5433"),
        ("  Port 5433  # (change requires restart)", "5433"),
        ("port '5433'", "5433"),
        ("port = 'it''s # \\'here\\''", "it's # 'here'"),
        ("port = ''", ""),
        ("port = 1\nport = 2", "2"),
        ("#port = 5433", None),
        ("port", None),
        ("portal = 1", None),
    ],
)
def test_settings_of_a_file(line: str, value: str | None) -> None:
    assert settings_of(line).get("port") == value


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("port = 5432", ("port", "5432")),
        ("port 5432 # why", ("port", "5432")),
        ("  Port=5432\r", ("port", "5432")),
        ("port'5432'", ("port", "5432")),
        ("work_mem = 64MB", ("work_mem", "64MB")),
        ("checkpoint_completion_target = 0.9", ("checkpoint_completion_target", "0.9")),
        ("bgwriter = -1", ("bgwriter", "-1")),
        ("myapp.level = debug-1", ("myapp.level", "debug-1")),
        ("x = 'it''s'", ("x", "it's")),
        (r"x = 'it\'s a \\ and \101\n'", ("x", "it's a \\ and A\n")),
        ("x = 'a # b' # c", ("x", "a # b")),
        ("x = ''", ("x", "")),
        ("größe = 'é'", ("größe", "é")),
        ("include 'a.conf'", ("include", "a.conf")),
        ("", None),
        ("  # x = 1", None),
        ("x =", ("", "x =")),
        ("x = /tmp", ("", "x = /tmp")),
        ("x = 'open", ("", "x = 'open")),
        ("x = 1 2", ("", "x = 1 2")),
        ("= 3", ("", "= 3")),
    ],
)
def test_a_line_is_read(line: str, expected: tuple[str, str] | None) -> None:
    assert [(one.name, one.value) for one in _conf.parse(line)] == ([expected] if expected else [])


@given(st.text(max_size=200))
def test_any_text_is_read_line_by_line(text: str) -> None:
    lines = _conf.parse(text)
    assert [one.number for one in lines] == sorted({one.number for one in lines})
    assert len(lines) <= text.count("\n") + 1


@given(st.dictionaries(NAMES, st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"])), max_size=5))
def test_what_we_write_is_read_again(settings: dict[str, str]) -> None:
    assert settings_of(_conf.conf_text(settings)) == settings


def test_settings_on_a_command_line() -> None:
    words = ["-D", "/d", "-c", "A=1", "-cb=2", "--config-file=/x", "-p", "5433", "-k/run", "-F", "-i", "-c", "broken"]
    assert _conf.on_command_line(words) == {
        "a": "1",
        "b": "2",
        "config_file": "/x",
        "port": "5433",
        "unix_socket_directories": "/run",
        "fsync": "off",
        "listen_addresses": "*",
    }
