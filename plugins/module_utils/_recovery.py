# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on recovery settings: one rule writes recovery.conf up to PostgreSQL 11, signal file and settings from 12. Private."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._pg_conf import settings_text

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Files that must not lie in a restored directory before its recovery is set up. WAL-G puts some of them into
#: backups (standby.signal up to 3.0.0, recovery.signal; ).
LEFTOVERS = ("recovery.signal", "standby.signal", "recovery.conf", "recovery.done", "postmaster.pid", "postmaster.opts")

#: Recovery settings that an old postgresql.auto.conf may carry along and that would change where recovery ends.
_TARGETS = (
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
)
_OTHERS = ("archive_cleanup_command", "recovery_end_command", "primary_conninfo", "primary_slot_name")


@dataclass(frozen=True)
class Recovery:
    """What makes PostgreSQL recover: files for the data directory and settings for its configuration."""

    files: Mapping[str, str]
    settings: Mapping[str, str]


def fetch_command(program_dir: str, mode: str, record: str, plan: str) -> str:
    """Return the restore_command: our wrapper in a mode, the instance's record, the plan, file and path."""
    words = [os.path.join(program_dir, "wal-fetch"), mode, record, plan]
    return " ".join(shlex.quote(word).replace("%", "%%") for word in words) + ' "%f" "%p"'


def recover_to_latest(major: int, restore_command: str, timeline: int) -> Recovery:
    """Return what recovers to the end of ``timeline`` and then promotes.

    The timeline is always a number: the default is "current" up to PostgreSQL 11 and "latest" from 12, and "latest" would
    follow any orphan timeline. From 12 every other target is blanked, since ALTER SYSTEM may have left one.
    """
    wanted = {"restore_command": restore_command, "recovery_target_timeline": str(timeline)}
    if major <= 11:
        return Recovery({"recovery.conf": settings_text(wanted)}, {})
    blanked = dict.fromkeys((*_TARGETS, *_OTHERS), "")
    return Recovery({"recovery.signal": ""}, {**blanked, **wanted, "recovery_min_apply_delay": "0"})


def beside_settings(major: int, port: str, socket_dir: str, private_dir: str) -> dict[str, str]:
    """Return the settings of a server that recovers beside the real one: private socket, no TCP, archiving held.

    A *failing* archive_command keeps the new timeline's WAL for the real server to push. hot_standby is off: nobody
    reads before the end, and the server then needs none of the primary's limits (max_connections and its sisters).
    """
    settings = {
        "config_file": os.path.join(private_dir, "postgresql.conf"),
        "hba_file": os.path.join(private_dir, "pg_hba.conf"),
        "ident_file": os.path.join(private_dir, "pg_ident.conf"),
        "listen_addresses": "",
        "port": port,
        "unix_socket_directories": socket_dir,
        "archive_mode": "on",
        "archive_command": "false",
        "archive_timeout": "0",
        "hot_standby": "off",
        "logging_collector": "off",
        "log_destination": "stderr",
        "external_pid_file": "",
        "ssl": "off",
    }
    if major >= 15:
        settings["archive_library"] = ""
    return settings


def plan_fragment(last_segments: list[str], control_object: str) -> str:
    """Return the plan file that the fetch wrapper reads: what can't be missing, and an object that proves the storage."""
    listed = " ".join(sorted(last_segments))
    return f"LAST_SEGMENTS={shlex.quote(listed)}\nCONTROL_OBJECT={shlex.quote(control_object)}\n"
