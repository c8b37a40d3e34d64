# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked for of a restore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .._postgres._targets import Target


@dataclass(frozen=True)
class Wish:
    """What was asked for. ``tablespaces``: old location or OID -> new location; ``overwrite``: the old cluster's system identifier."""

    request: str
    target: Target = field(default_factory=Target)
    action: str = "promote"
    timeline: int | None = None
    backup: str = ""
    standby: bool = False
    primary_conninfo: str = ""
    tablespaces: Mapping[str, str] = field(default_factory=dict)
    wal_dir: str = ""
    stop_running: bool = False
    overwrite: str = ""
    archive: str = "resume"
    other_host_allowed: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)  # PostgreSQL's, that win over the cluster's own
    links: Mapping[str, str] = field(default_factory=dict)  # what links in the data directory lead to; empty: no link
    check_start: bool = True
    take_over: str = ""  # the archive's writer that the restored cluster replaces, see _owner
