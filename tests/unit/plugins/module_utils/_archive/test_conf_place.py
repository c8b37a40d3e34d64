# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the settings go among a server's configuration files, and which lines PostgreSQL reads after them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _conf_place
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _conf
from support.settings_rows import line

MAIN, DATA = "/etc/pg/postgresql.conf", "/data"
BESIDE, INSIDE, IN_D = "/etc/pg/mapswipe_walg.conf", "/data/mapswipe_walg.conf", "/etc/pg/conf.d/mapswipe_walg.conf"
ADDED = f"\n{_conf.INCLUDE_LINE}\n"
AUTO = "/data/postgresql.auto.conf"


@pytest.mark.parametrize(
    ("text", "file", "number", "added"),
    [
        ("port = 1\n", BESIDE, 0, True),
        ("", BESIDE, 0, True),
        ("port = 1\n" + ADDED, BESIDE, 3, False),
        ("include 'mapswipe_walg.conf'\n", BESIDE, 1, False),
        ("include 'mapswipe_walg.conf'\nport = 1\ninclude 'mapswipe_walg.conf'\n", BESIDE, 3, False),
        ("include_if_exists = '/data/mapswipe_walg.conf'\n", INSIDE, 1, False),
        ("port = 1\ninclude_dir = 'conf.d'\n", IN_D, 2, False),
        ("include_dir = '/etc/pg/conf.d/'\n", IN_D, 1, False),
        ("include_dir 'conf.d'\ninclude 'mapswipe_walg.conf'\n", BESIDE, 2, False),
        ("#include_dir = 'conf.d'\n", BESIDE, 0, True),
        ("include_dir = 'other.d'\n", BESIDE, 0, True),
        ("include = 'conf.d'\n", BESIDE, 0, True),
    ],
)
def test_what_is_included_already_is_used(text: str, file: str, number: int, added: bool) -> None:
    place = _conf_place.choose(MAIN, text, DATA)
    assert (place.conf_file, place.line) == (file, number)
    assert (place.main_after != text, place.main_after.endswith(ADDED)) == (added, added or text.endswith(ADDED))


IN_CONF_D = "include_dir = 'conf.d'\ninclude = 'late.conf'\n"
WANTED = {"archive_mode": "on", "archive_timeout": "60"}
BEFORE, AFTER = False, True


@pytest.mark.parametrize(
    ("text", "row", "after"),
    [
        ("", line(MAIN, 3, "archive_mode", "off"), BEFORE),  # the include is added behind it
        ("", line(AUTO, 1, "archive_mode", "off"), AFTER),
        (IN_CONF_D, line(MAIN, 1, "archive_mode", "off"), BEFORE),
        (IN_CONF_D, line(MAIN, 3, "archive_mode", "off"), AFTER),
        (IN_CONF_D, line("/etc/pg/conf.d/a.conf", 1, "archive_mode", "off"), BEFORE),
        (IN_CONF_D, line("/etc/pg/conf.d/z.conf", 1, "archive_mode", "off"), AFTER),
        (IN_CONF_D, line("/etc/pg/late.conf", 1, "archive_mode", "off"), AFTER),
        (IN_CONF_D, line("/etc/pg/early.conf", 1, "archive_mode", "off"), BEFORE),
        (
            "include 'mapswipe_walg.conf'\ninclude_dir 'late.d'\n",
            line("/etc/pg/late.d/a", 1, "archive_mode", "off"),
            AFTER,
        ),
    ],
)
def test_a_line_that_postgresql_reads_later_would_count(text: str, row: dict[str, Any], after: bool) -> None:
    place = _conf_place.choose(MAIN, text, DATA)
    assert list(_conf_place.later([row], place)) == ([row] if after else [])
    if not after:
        _conf_place.refuse_later([row], WANTED, place)
        return
    with pytest.raises(WalgError, match=r"archive_mode = 'off' in .* comes after the collection's file") as caught:
        _conf_place.refuse_later([row], WANTED, place)
    advice = "ALTER SYSTEM RESET archive_mode;" if row["sourcefile"] == AUTO else "move it above the line that includes"
    assert advice in caught.value.msg
    assert (caught.value.fields["found"], caught.value.fields["wanted"]) == ("off", "on")


def test_once_the_file_is_read_its_own_place_counts() -> None:
    """pg_file_settings is in the order in which PostgreSQL reads."""
    place = _conf_place.choose(MAIN, ADDED, DATA)
    before, mine, after = (line(path, 1, "archive_mode", "off") for path in (AUTO, BESIDE, MAIN))
    assert list(_conf_place.later([before, mine, after], place)) == [after]


@pytest.mark.parametrize(
    ("name", "value", "same"),
    [
        ("archive_mode", "ON", True),
        ("archive_mode", "yes", True),
        ("archive_mode", "1", True),
        ("archive_mode", "always", False),
        ("archive_mode", "false", False),
        ("archive_timeout", "1min", True),
        ("archive_timeout", "60", True),
        ("archive_timeout", "60000ms", True),
        ("archive_timeout", "2min", False),
        ("ARCHIVE_TIMEOUT", "2min", False),
        ("wal_level", "minimal", True),  # nothing is expected of it
    ],
)
def test_a_later_line_that_says_the_same_does_no_harm(name: str, value: str, same: bool) -> None:
    place = _conf_place.choose(MAIN, "", DATA)
    rows = [line(AUTO, 1, name, value)]
    if same:
        _conf_place.refuse_later(rows, WANTED, place)
        return
    with pytest.raises(WalgError, match="comes after"):
        _conf_place.refuse_later(rows, WANTED, place)


def test_of_two_later_lines_the_last_counts() -> None:
    place = _conf_place.choose(MAIN, "", DATA)
    wrong, right = line(AUTO, 1, "archive_mode", "off"), line(AUTO, 2, "archive_mode", "on")
    _conf_place.refuse_later([wrong, right], WANTED, place)
    with pytest.raises(WalgError, match="comes after"):
        _conf_place.refuse_later([right, wrong], WANTED, place)
    assert _conf_place.later([], place) == []
