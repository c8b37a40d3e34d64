# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on PostgreSQL's archive settings: what is asked for, what is in the way, what a change costs.

Sources: pg_settings and pg_file_settings of PostgreSQL 10 to 18. While archive_mode is off, pg_settings shows
"(disabled)" for archive_command, so what the files say is looked at too.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The settings that are looked at; archive_library exists from PostgreSQL 15.
NAMES = ("archive_mode", "archive_command", "archive_library", "archive_timeout", "wal_level")
#: Values of pg_settings.source that override every file.
_CALLED_WITH = ("command line", "environment variable")


def push_command(program_dir: str, record: str) -> str:
    """Return the archive_command: our wrapper, the instance's record, the path. A % in a path is doubled."""
    words = [shlex.quote(os.path.join(program_dir, "wal-push")), shlex.quote(record)]
    return " ".join(word.replace("%", "%%") for word in words) + ' "%p"'


def wanted_settings(current: Mapping[str, Mapping[str, Any]], command: str, timeout: int) -> dict[str, str]:
    """Return the archive settings that should be in force. ``timeout``: archive_timeout in seconds.

    A wal_level above replica and archive_mode=always (a standby that archives) are left as they are.
    """
    wanted = {"archive_mode": "on", "archive_command": command, "archive_timeout": str(timeout)}
    if current["archive_mode"]["setting"] == "always":
        wanted["archive_mode"] = "always"
    if current["wal_level"]["setting"] == "minimal":
        wanted["wal_level"] = "replica"
    if current.get("archive_library", {}).get("setting"):
        wanted["archive_library"] = ""
    return wanted


@dataclass(frozen=True)
class Change:
    """One setting that differs from what is asked for."""

    name: str
    before: str
    after: str
    restart: bool


def changes(current: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, str]) -> list[Change]:
    """Compare pg_settings with what is asked for; ``restart`` by pg_settings.context."""
    found = []
    for name, value in wanted.items():
        row = current[name]
        # "(disabled)" hides the command while archive_mode is off: it changes with archive_mode, at the restart.
        if str(row["setting"]) != value:
            found.append(Change(name, str(row["setting"]), value, row["context"] == "postmaster"))
    return found


def refuse_foreign(
    current: Mapping[str, Mapping[str, Any]],
    files: Sequence[Mapping[str, Any]],
    ours: str,
    wanted: Mapping[str, str],
    replace: bool,
) -> None:
    """Raise WalgError when somebody else's archive_command or archive_library is set, unless ``replace``.

    ``files``: rows of pg_file_settings; ``ours``: the path of our own file.
    """
    for name in ("archive_command", "archive_library"):
        value, source = str(current.get(name, {}).get("setting") or ""), current.get(name, {}).get("sourcefile")
        if current.get(name, {}).get("source") in _CALLED_WITH:
            continue  # refuse_override has the say: nothing that we write takes its place
        if value == "(disabled)":
            rows = [row for row in files if row["name"] == name and row["sourcefile"] != ours and row["setting"]]
            value, source = (str(rows[-1]["setting"]), rows[-1]["sourcefile"]) if rows else ("", None)
        if not value or value == wanted.get(name) or source == ours or replace:
            continue
        raise WalgError(
            f"{name} is already set to {value!r} ({source or current[name]['source']}): something else archives this cluster. "
            "Remove it, or set walg_backup_replace_archive_command: true to replace it.",
            found=value,
        )


def refuse_override(
    current: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, str], ours: str, auto_conf: str
) -> None:
    """Raise WalgError when what we write would not take effect: ALTER SYSTEM and the command line override any file."""
    for name, value in wanted.items():
        row = current[name]
        if str(row["setting"]) == value or row["sourcefile"] == ours:
            continue
        if row["source"] in _CALLED_WITH:
            shown = "" if row["setting"] == "(disabled)" else f" = {row['setting']!r}"
            raise WalgError(
                f"{name}{shown} is given on the server's {row['source']}, which overrides every file. "
                "Remove it there: this collection does not edit how the server is called.",
                found=str(row["setting"]),
                wanted=value,
            )
        if row["sourcefile"] == auto_conf:
            raise WalgError(
                f"{name} = {row['setting']!r} was set by ALTER SYSTEM, which overrides the collection's file. "
                f"Run: ALTER SYSTEM RESET {name};",
                found=str(row["setting"]),
                wanted=value,
            )


def refuse_broken_files(files: Sequence[Mapping[str, Any]]) -> None:
    """Raise WalgError when the configuration files hold errors: a reload would be ignored, a restart would fail."""
    for row in files:
        # PostgreSQL says the same of a good value that waits for a restart as of a bad value.
        waits = row["context"] == "postmaster" and row["error"] == "setting could not be applied"
        if row["error"] and not waits:
            raise WalgError(
                f"PostgreSQL's configuration has an error: {row['sourcefile']} line {row['sourceline']}, "
                f"{row['name']}: {row['error']}. Fix it first."
            )
