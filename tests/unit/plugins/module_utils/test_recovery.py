# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes PostgreSQL 10 to 18 recover: one table of files and settings for all majors."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils import _recovery

COMMAND = '/opt/wal-fetch recovery /etc/main.env /var/plan.env "%f" "%p"'
#: Every recovery setting of PostgreSQL 12 to 18 that can end recovery elsewhere, or make a standby of the server.
BLANKED = {
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
    "archive_cleanup_command",
    "recovery_end_command",
    "primary_conninfo",
    "primary_slot_name",
}

MAJORS = [
    # (major, files, has settings, archive_library)
    (10, {"recovery.conf"}, False, False),
    (11, {"recovery.conf"}, False, False),
    (12, {"recovery.signal"}, True, False),
    (13, {"recovery.signal"}, True, False),
    (14, {"recovery.signal"}, True, False),
    (15, {"recovery.signal"}, True, True),
    (16, {"recovery.signal"}, True, True),
    (17, {"recovery.signal"}, True, True),
    (18, {"recovery.signal"}, True, True),
]


@pytest.mark.parametrize(("major", "files", "by_settings", "library"), MAJORS)
def test_recovery_by_major(major: int, files: set[str], by_settings: bool, library: bool) -> None:
    made = _recovery.recover_to_latest(major, COMMAND, 3)
    assert set(made.files) == files
    beside = _recovery.beside_settings(major, "5432", "/tmp/s", "/tmp/p")
    assert ("archive_library" in beside) is library
    if not by_settings:
        assert made.files == {"recovery.conf": f"recovery_target_timeline = '3'\nrestore_command = '{COMMAND}'\n"}
        assert made.settings == {}
        return
    assert made.files == {"recovery.signal": ""}
    assert {name for name, value in made.settings.items() if value == ""} == BLANKED
    assert {name: value for name, value in made.settings.items() if value} == {
        "restore_command": COMMAND,
        "recovery_target_timeline": "3",
        "recovery_min_apply_delay": "0",
    }


@pytest.mark.parametrize("major", [row[0] for row in MAJORS])
def test_server_beside_is_out_of_everybodys_way(major: int) -> None:
    """No TCP, a private socket, and an archive_command that fails: the new timeline is the real server's to push."""
    made = _recovery.beside_settings(major, "5432", "/tmp/sock", "/tmp/private")
    assert made["listen_addresses"] == ""
    assert made["unix_socket_directories"] == "/tmp/sock"
    assert (made["archive_mode"], made["archive_command"]) == ("on", "false")
    assert made["hot_standby"] == "off"
    assert {made[name] for name in ("config_file", "hba_file", "ident_file")} == {
        "/tmp/private/postgresql.conf",
        "/tmp/private/pg_hba.conf",
        "/tmp/private/pg_ident.conf",
    }
    assert made.get("archive_library", "") == ""


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
