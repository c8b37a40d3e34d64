# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on recovery settings: one rule writes recovery.conf up to PostgreSQL 11, signal file and settings from 12."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._conf import parse, settings_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ._targets import Target

#: Files that must not lie in a restored directory before its recovery is set up. WAL-G puts some of them into
#: backups (standby.signal up to 3.0.0, recovery.signal).
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
#: All that a postgresql.auto.conf of another day may say about recovery; the configuration of a restored cluster is rid of it.
RECOVERY_NAMES = frozenset(
    (
        *_TARGETS,
        *_OTHERS,
        "restore_command",
        "recovery_target_action",
        "recovery_target_inclusive",
        "recovery_target_timeline",
        "recovery_min_apply_delay",
    )
)


@dataclass(frozen=True)
class Recovery:
    """What makes PostgreSQL recover: files for the data directory and settings for its configuration."""

    files: Mapping[str, str]
    settings: Mapping[str, str]


def fetch_command(program_dir: str, mode: str, record: str, plan: str) -> str:
    """Return the restore_command: our wrapper in a mode, the instance's record, the plan, file and path."""
    words = [os.path.join(program_dir, "wal-fetch"), mode, record, plan]
    return " ".join(shlex.quote(word).replace("%", "%%") for word in words) + ' "%f" "%p"'


#: The base backup's own timeline, for which PostgreSQL asks no history file. Up to version 11 it is what no setting means.
CURRENT = "current"


def recover_to(major: int, restore_command: str, timeline: int | str, target: Target, action: str) -> Recovery:
    """Return what recovers along ``timeline`` to the target and then does ``action`` (promote, pause, shutdown).

    The timeline is a number or CURRENT: the default from PostgreSQL 12 on is "latest", which would follow any orphan timeline.
    What an old postgresql.auto.conf says of recovery must be scrubbed first: PostgreSQL refuses a second target, even one that
    is blanked.
    """
    wanted = {"restore_command": restore_command, **_along(major, timeline), **target.settings()}
    if target.kind != "latest":
        wanted["recovery_target_action"] = action
    if major <= 11:
        return Recovery({"recovery.conf": settings_text(wanted)}, {})
    return Recovery({"recovery.signal": ""}, wanted)


def _along(major: int, timeline: int | str) -> dict[str, str]:
    return {} if major <= 11 and timeline == CURRENT else {"recovery_target_timeline": str(timeline)}


def follow(
    major: int, restore_command: str, primary_conninfo: str = "", slot: str = "", timeline: int | str | None = None
) -> Recovery:
    """Return what makes a standby that follows the archive, and the primary where its address is given.

    A standby has to follow whoever is promoted, so the timeline is "latest" where none is named: a named one stays in force,
    since "latest" would leave it again. ``files`` make it a standby; the settings are for the configuration (from PostgreSQL 12
    on).
    """
    wanted = {"restore_command": restore_command, **_along(major, timeline or "latest")}
    if primary_conninfo:
        wanted["primary_conninfo"] = primary_conninfo
    if slot:
        wanted["primary_slot_name"] = slot
    if major <= 11:
        return Recovery({"recovery.conf": settings_text({"standby_mode": "on", **wanted})}, {})
    return Recovery({"standby.signal": ""}, wanted)


#: Fails, and ends the archiver too: with a code below 126 that would try again and again, and hold up the server's stop for 3 s.
HELD = "exit 255"


def scrub(auto_conf: str, names: Collection[str] = RECOVERY_NAMES) -> str:
    """Return a postgresql.auto.conf without the settings of these names: a target or an address of another day."""
    lines = auto_conf.split("\n")
    gone = {line.number for line in parse(auto_conf) if line.name in names}
    return "\n".join(line for number, line in enumerate(lines, 1) if number not in gone)


def with_settings(auto_conf: str, settings: Mapping[str, str]) -> str:
    """Return a postgresql.auto.conf in which these settings stand once, at the end."""
    if not settings:
        return auto_conf
    text = scrub(auto_conf, frozenset(settings))
    return text + ("" if text.endswith("\n") or not text else "\n") + settings_text(settings)


def without_archiving(auto_conf: str, major: int) -> str:
    """Return a postgresql.auto.conf that switches archiving off, whatever other files say: it overrides all of them."""
    off = {"archive_mode": "off", "archive_command": ""}
    if major >= 15:
        off["archive_library"] = ""
    return with_settings(auto_conf, off)


def plan_fragment(last_segments: list[str], control_object: str) -> str:
    """Return the plan file that the fetch wrapper reads: what can't be missing, and an object that proves the storage."""
    listed = " ".join(sorted(last_segments))
    return f"LAST_SEGMENTS={shlex.quote(listed)}\nCONTROL_OBJECT={shlex.quote(control_object)}\n"
