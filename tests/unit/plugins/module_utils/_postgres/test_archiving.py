# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archive settings: what is wanted, what a change costs, and who is in the way."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _archive_settings
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._archive_settings import Change

OURS, MAIN, AUTO = "/etc/pg/conf.d/mapswipe_walg.conf", "/etc/pg/postgresql.conf", "/data/postgresql.auto.conf"
COMMAND = '/opt/wal-push /etc/walg/main.env "%p"'
CONTEXTS = {"archive_mode": "postmaster", "wal_level": "postmaster"}
WANTED = {"archive_mode": "on", "archive_command": COMMAND, "archive_timeout": "60"}


def rows(**settings: Any) -> dict[str, dict[str, Any]]:
    """pg_settings of a stock server; a setting may be a value, or (value, source, sourcefile)."""
    values: dict[str, Any] = {
        "archive_mode": "off",
        "archive_command": "(disabled)",
        "archive_timeout": "0",
        "wal_level": "replica",
    }
    values.update(settings)
    found = {}
    for name, value in values.items():
        setting, source, sourcefile = value if isinstance(value, tuple) else (value, "default", None)
        found[name] = {
            "name": name,
            "setting": setting,
            "context": CONTEXTS.get(name, "sighup"),
            "source": source,
            "sourcefile": sourcefile,
            "pending_restart": False,
        }
    return found


def line(
    name: str, setting: str, sourcefile: str = MAIN, error: str | None = None, context: str | None = "sighup"
) -> dict[str, Any]:
    """A row of pg_file_settings with the context that pg_settings has for it; none for a name that is no setting."""
    shown = {"name": name, "setting": setting, "sourcefile": sourcefile, "sourceline": 7}
    return {**shown, "error": error, "context": context}


@pytest.mark.parametrize("directory", ["/opt/walg", "/opt/a b/it's", "/opt/100%p", "/opt/$HOME;`id`"])
def test_archive_command_as_postgresql_and_sh_take_it(directory: str) -> None:
    command = _archive_settings.push_command(directory, f"{directory}/main.env")
    replaced = command.replace("%%", "\0").replace("%p", "pg_wal/000000010000000000000001").replace("\0", "%")
    assert shlex.split(replaced) == [
        f"{directory}/wal-push",
        f"{directory}/main.env",
        "pg_wal/000000010000000000000001",
    ]


@pytest.mark.parametrize(
    ("current", "extra"),
    [
        (rows(), {}),
        (rows(archive_mode="on"), {}),
        (rows(archive_mode="always"), {"archive_mode": "always"}),
        (rows(wal_level="minimal"), {"wal_level": "replica"}),
        (rows(wal_level="logical"), {}),
        (rows(archive_library=""), {}),
        (rows(archive_library="basic_archive"), {"archive_library": ""}),
    ],
)
def test_wanted(current: dict[str, dict[str, Any]], extra: dict[str, str]) -> None:
    assert _archive_settings.wanted_settings(current, COMMAND, 60) == {**WANTED, **extra}


def test_changes_of_a_stock_server() -> None:
    assert _archive_settings.changes(rows(), WANTED) == [
        Change("archive_mode", "off", "on", True),
        Change("archive_command", "(disabled)", COMMAND, False),
        Change("archive_timeout", "0", "60", False),
    ]


def test_no_changes_when_all_is_in_force() -> None:
    assert _archive_settings.changes(rows(**WANTED), WANTED) == []


def test_a_reload_is_enough_for_the_command() -> None:
    current = rows(archive_mode="on", archive_command="", archive_timeout="60")
    assert [(one.name, one.restart) for one in _archive_settings.changes(current, WANTED)] == [
        ("archive_command", False)
    ]


FOREIGN = [
    # (what, pg_settings, pg_file_settings, refused value)
    ("nothing set", rows(), [], None),
    ("empty while on", rows(archive_mode="on", archive_command=""), [], None),
    (
        "foreign, in force",
        rows(archive_mode="on", archive_command=("cp %p /x", "configuration file", MAIN)),
        [],
        "cp %p /x",
    ),
    (
        "foreign, by ALTER SYSTEM",
        rows(archive_mode="on", archive_command=("cp %p /x", "configuration file", AUTO)),
        [],
        "cp %p /x",
    ),
    ("on the command line: see below", rows(archive_mode="on", archive_command=("cp", "command line", None)), [], None),
    ("foreign, hidden while off", rows(), [line("archive_command", "cp %p /x")], "cp %p /x"),
    ("hidden and empty", rows(), [line("archive_command", "")], None),
    ("hidden and ours", rows(), [line("archive_command", "old command of ours", OURS)], None),
    ("hidden and equal", rows(), [line("archive_command", COMMAND)], None),
    ("ours, with an old path", rows(archive_mode="on", archive_command=("old", "configuration file", OURS)), [], None),
    ("equal, from elsewhere", rows(archive_mode="on", archive_command=(COMMAND, "configuration file", MAIN)), [], None),
    ("a foreign library", rows(archive_library=("pgbackrest", "configuration file", MAIN)), [], "pgbackrest"),
    ("of two hidden lines the last counts", rows(), [line("archive_command", "a"), line("archive_command", "b")], "b"),
]


@pytest.mark.parametrize(("current", "files", "refused"), [row[1:] for row in FOREIGN], ids=[row[0] for row in FOREIGN])
def test_somebody_elses_archiving(
    current: dict[str, dict[str, Any]], files: list[dict[str, Any]], refused: str | None
) -> None:
    wanted = {**WANTED, "archive_library": ""}
    _archive_settings.refuse_foreign(current, files, OURS, wanted, replace=True)
    if refused is None:
        _archive_settings.refuse_foreign(current, files, OURS, wanted, replace=False)
        return
    with pytest.raises(WalgError, match="walg_backup_replace_archive_command: true") as caught:
        _archive_settings.refuse_foreign(current, files, OURS, wanted, replace=False)
    assert caught.value.fields == {"found": refused}
    assert repr(refused) in caught.value.msg


OVERRIDES = [
    ("default", rows(), None),
    ("in the main file", rows(archive_timeout=("5", "configuration file", MAIN)), None),
    ("in our file", rows(archive_timeout=("5", "configuration file", OURS)), None),
    ("by ALTER SYSTEM", rows(archive_timeout=("5", "configuration file", AUTO)), "ALTER SYSTEM RESET archive_timeout;"),
    ("by ALTER SYSTEM, the value that is wanted", rows(archive_timeout=("60", "configuration file", AUTO)), None),
    ("on the command line", rows(archive_mode=("off", "command line", None)), "server's command line"),
    ("on the command line, as wanted", rows(archive_mode=("on", "command line", None)), None),
    ("in the environment", rows(archive_mode=("off", "environment variable", None)), "environment variable"),
    (
        "a foreign command on the command line",
        rows(archive_mode="on", archive_command=("cp %p /x", "command line", None)),
        "archive_command = 'cp %p /x' is given on the server's command line",
    ),
    (
        "a command on the command line, hidden while off",
        rows(archive_command=("(disabled)", "command line", None)),
        "archive_command is given on the server's command line",
    ),
]


@pytest.mark.parametrize(("current", "text"), [row[1:] for row in OVERRIDES], ids=[row[0] for row in OVERRIDES])
def test_what_wins_over_our_file(current: dict[str, dict[str, Any]], text: str | None) -> None:
    if text is None:
        _archive_settings.refuse_override(current, WANTED, OURS, AUTO)
        return
    with pytest.raises(WalgError) as caught:
        _archive_settings.refuse_override(current, WANTED, OURS, AUTO)
    assert text in caught.value.msg
    assert set(caught.value.fields) == {"found", "wanted"}


NOT_APPLIED = "setting could not be applied"


@pytest.mark.parametrize(
    ("files", "refused"),
    [
        ([], None),
        ([line("port", "5432")], None),
        ([line("archive_mode", "on", error=NOT_APPLIED, context="postmaster")], None),  # it waits for a restart
        ([line("archive_timeout", "soon", error=NOT_APPLIED)], "archive_timeout"),  # a bad value
        ([line("archive_mode", "on", error="syntax error", context="postmaster")], "archive_mode"),
        ([line("port", "1"), line("x", "y", error='unrecognized configuration parameter "x"', context=None)], "x"),
    ],
)
def test_broken_files(files: list[dict[str, Any]], refused: str | None) -> None:
    if refused is None:
        _archive_settings.refuse_broken_files(files)
        return
    with pytest.raises(WalgError, match=rf"postgresql\.conf line 7, {refused}: "):
        _archive_settings.refuse_broken_files(files)
