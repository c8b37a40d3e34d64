# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on PostgreSQL's configuration syntax and on how our file is included. Private to this collection."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME = "mapswipe_walg.conf"
INCLUDE_LINE = f"include_if_exists = '{FILE_NAME}'  # managed by the Ansible collection mapswipe.walg"
_LINE = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(?:=|\s)\s*(?:'((?:[^'\\]|''|\\.)*)'|([^\s#']+))")


def settings_text(settings: Mapping[str, str]) -> str:
    """Write settings in PostgreSQL's configuration syntax."""
    lines = []
    for name in sorted(settings):
        if "\n" in settings[name]:
            raise WalgError(f"A line break in {name} can't stand in PostgreSQL's configuration.")
        value = settings[name].replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{value}'")
    return "\n".join(lines) + "\n"


def conf_text(settings: Mapping[str, str]) -> str:
    """Return the text of a configuration file of ours."""
    return "# Managed by the Ansible collection mapswipe.walg; changes here are overwritten.\n" + settings_text(
        settings
    )


def with_include(text: str) -> str:
    """Return postgresql.conf with our include as its last line, so that nothing before it overrides us."""
    if any(line.strip() == INCLUDE_LINE for line in text.split("\n")):
        return text
    return text + ("" if text.endswith("\n") or not text else "\n") + f"\n{INCLUDE_LINE}\n"


def includes_directory(text: str, directory: str) -> bool:
    """Say whether a postgresql.conf includes a directory by this relative name (Debian's conf.d)."""
    for line in text.splitlines():
        words = line.split("#", 1)[0].replace("=", " ").split()
        if len(words) >= 2 and words[0].lower() == "include_dir" and words[1].strip("'").rstrip("/") == directory:
            return True
    return False


def read_settings(text: str) -> dict[str, str]:
    """Return the settings of one configuration file; of two lines the last counts. Includes are not followed."""
    found = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            quoted = match.group(2)
            value = match.group(3) if quoted is None else re.sub(r"\\(.)", r"\1", quoted.replace("''", "'"))
            found[match.group(1).lower()] = value
    return found
