# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes PostgreSQL 10 to 18 recover: one table of files and settings for all majors."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _conf, _recovery
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import ACTIONS, Target

COMMAND = '/opt/wal-fetch recovery /etc/main.env /var/plan.env "%f" "%p"'
TARGET = Target("lsn", "0/5000000", inclusive=False)

MAJORS = [
    # (major, files, has settings)
    (10, {"recovery.conf"}, False),
    (11, {"recovery.conf"}, False),
    (12, {"recovery.signal"}, True),
    (13, {"recovery.signal"}, True),
    (14, {"recovery.signal"}, True),
    (15, {"recovery.signal"}, True),
    (16, {"recovery.signal"}, True),
    (17, {"recovery.signal"}, True),
    (18, {"recovery.signal"}, True),
]


@pytest.mark.parametrize(("major", "files", "by_settings"), MAJORS)
def test_recovery_by_major(major: int, files: set[str], by_settings: bool) -> None:
    made = _recovery.recover_to(major, COMMAND, 3, Target(), "promote")
    assert set(made.files) == files
    if not by_settings:
        assert made.files == {"recovery.conf": f"recovery_target_timeline = '3'\nrestore_command = '{COMMAND}'\n"}
        assert made.settings == {}
        return
    assert made.files == {"recovery.signal": ""}
    assert made.settings == {"restore_command": COMMAND, "recovery_target_timeline": "3"}


@pytest.mark.parametrize("major", [row[0] for row in MAJORS])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_target_and_what_is_done_there(major: int, action: str) -> None:
    made = _recovery.recover_to(major, COMMAND, 3, TARGET, action)
    wanted = {
        "recovery_target_lsn": "0/5000000",
        "recovery_target_inclusive": "off",
        "recovery_target_action": action,
        "recovery_target_timeline": "3",
        "restore_command": COMMAND,
    }
    if major >= 12:
        assert made.settings == wanted
    else:
        assert made.files["recovery.conf"].splitlines() == [f"{name} = '{wanted[name]}'" for name in sorted(wanted)]


@pytest.mark.parametrize("major", [row[0] for row in MAJORS])
def test_a_standby_follows_whoever_is_promoted(major: int) -> None:
    made = _recovery.follow(major, COMMAND, "host=db1 user=rep", "s1")
    wanted = {
        "primary_conninfo": "host=db1 user=rep",
        "primary_slot_name": "s1",
        "recovery_target_timeline": "latest",
        "restore_command": COMMAND,
    }
    if major >= 12:
        assert (made.files, made.settings) == ({"standby.signal": ""}, wanted)
    else:
        assert set(made.files["recovery.conf"].splitlines()) == {
            "standby_mode = 'on'",
            *(f"{name} = '{value}'" for name, value in wanted.items()),
        }


@pytest.mark.parametrize(("major", "told"), [(11, False), (14, True)])
def test_the_base_backup_s_own_timeline(major: int, told: bool) -> None:
    """Up to PostgreSQL 11 it has no name, and is what no setting means."""
    for made in (
        _recovery.recover_to(major, COMMAND, _recovery.CURRENT, Target(), "promote"),
        _recovery.follow(major, COMMAND, timeline=_recovery.CURRENT),
    ):
        text = _conf.settings_text(made.settings) + made.files.get("recovery.conf", "")
        assert ("recovery_target_timeline = 'current'" in text, "timeline" in text) == (told, told)


@pytest.mark.parametrize("major", [11, 14])
def test_a_standby_stays_on_a_timeline_that_was_named(major: int) -> None:
    made = _recovery.follow(major, COMMAND, timeline=3)
    assert "recovery_target_timeline = '3'" in _conf.settings_text(made.settings) + made.files.get("recovery.conf", "")


@pytest.mark.parametrize(
    "address", ["", "host=a passfile=/p", "postgresql://rep@db1:5433/", "host=password.example.org"]
)
def test_addresses_without_one(address: str) -> None:
    assert _recovery.follow(14, COMMAND, address).settings.get("primary_conninfo", "") == address


#: Every recovery setting of PostgreSQL 12 to 18 that can end recovery elsewhere, or make a standby of the server.
OLD = (
    *("recovery_target", "recovery_target_lsn", "recovery_target_name", "recovery_target_time", "recovery_target_xid"),
    *("recovery_target_action", "recovery_target_inclusive", "recovery_target_timeline", "recovery_min_apply_delay"),
    *("restore_command", "archive_cleanup_command", "recovery_end_command", "primary_conninfo", "primary_slot_name"),
)


@pytest.mark.parametrize("name", OLD)
def test_scrub(name: str) -> None:
    """PostgreSQL refuses a second target even if it is blank; an address of another day makes a standby of it."""
    kept = ["# primary_conninfo = 'a comment'\n", "work_mem = '4MB'\n", "search_path = 'restore_command = x'\n"]
    lines = [kept[0], f"{name} = 'x'\n", kept[1], f"  {name.upper()}='y'\n", kept[2]]
    assert _recovery.scrub("".join(lines)) == "".join(kept)
    assert _recovery.scrub("".join(kept)) == "".join(kept)


def test_with_settings() -> None:
    assert _recovery.with_settings("a = '1'", {}) == "a = '1'"
    assert _recovery.with_settings("a = '1'\nb = '2'", {"a": "3"}) == "b = '2'\na = '3'\n"
    once = _recovery.with_settings("", {"a": "3"})
    assert once == "a = '3'\n"
    assert _recovery.with_settings(once, {"a": "3"}) == once


@pytest.mark.parametrize("major", [row[0] for row in MAJORS])
def test_without_archiving(major: int) -> None:
    made = _recovery.without_archiving("archive_mode = 'on'\narchive_command = 'push'\nx = '1'\n", major)
    library = ["archive_library = ''"] if major >= 15 else []
    assert sorted(made.splitlines()) == ["archive_command = ''", *library, "archive_mode = 'off'", "x = '1'"]


def test_leftovers() -> None:
    """All that could turn the restored directory into a standby, or send its recovery elsewhere."""
    assert set(_recovery.LEFTOVERS) == {
        "recovery.signal",
        "standby.signal",
        "recovery.conf",
        "recovery.done",
        "postmaster.pid",
        "postmaster.opts",
    }
    assert "backup_label" not in _recovery.LEFTOVERS


@pytest.mark.parametrize(
    "words",
    [
        ("/usr/local/lib/walg", "/etc/main.env", "/var/lib/plan.env"),
        ("/with blank/it's", '/et c/ma"in.env', "/var/$HOME/`id`;.env"),
        ("/100%/50%%f", "/%p/main.env", "/%/plan.env"),
    ],
)
def test_restore_command_as_postgresql_and_sh_take_it(words: tuple[str, str, str]) -> None:
    """PostgreSQL replaces %f and %p, makes %% one %, and hands the rest to a shell."""
    command = _recovery.fetch_command(words[0], "recovery", words[1], words[2])
    replaced = command.replace("%%", "\0").replace("%f", "00000002.history").replace("%p", "pg_wal/RECOVERYHISTORY")
    replaced = replaced.replace("\0", "%")
    expected = [f"{words[0]}/wal-fetch", "recovery", words[1], words[2], "00000002.history", "pg_wal/RECOVERYHISTORY"]
    assert shlex.split(replaced) == expected
    shown = subprocess.run(["sh", "-c", f"printf '%s\\n' {replaced}"], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == expected


def test_plan_fragment_as_sh_reads_it(tmp_path: Path) -> None:
    fragment = tmp_path / "plan.env"
    segments = ["000000020000000000000008", "000000010000000000000004"]
    fragment.write_text(_recovery.plan_fragment(segments, "basebackups_005/base_x_backup_stop_sentinel.json"))
    script = '. "$1"; printf "%s\\n" "$LAST_SEGMENTS" "$CONTROL_OBJECT"'
    shown = subprocess.run(["sh", "-c", script, "sh", str(fragment)], capture_output=True, text=True, check=True)
    assert shown.stdout == (
        "000000010000000000000004 000000020000000000000008\nbasebackups_005/base_x_backup_stop_sentinel.json\n"
    )


def test_plan_fragment_with_nothing_listed() -> None:
    assert _recovery.plan_fragment([], "o").splitlines()[0] == "LAST_SEGMENTS=''"
