# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the half of a restore after the fetch needs to know. It is kept in the restore's state, for the run that continues it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class RecoveryPlan:
    """How recovery goes along, what it has to reach, and what the cluster should be then. Built by keyword."""

    major: int
    segment_size: int  # bytes
    timeline: int
    along: int | str  # the timeline that recovery is given, see RestorePlan.along
    last_segments: list[str] = field(default_factory=list)  # of the archive, by timeline
    salvaged_segments: list[str] = field(default_factory=list)  # of the old cluster, after the archive's
    salvage_from: str = ""
    stays_on: int | str | None = None  # the timeline that a standby is held on
    primary_conninfo: str = ""
    archive: str = "resume"
    older_backups: list[str] = field(default_factory=list)  # base backups that lead there as well
    settings: dict[str, str] = field(default_factory=dict)  # PostgreSQL's, that override the cluster's own
    links: dict[str, str] = field(default_factory=dict)  # in the data directory -> target
    check_start: bool = True
    icu: str = ""  # version of the collations that the cluster sorted by
    other_host_allowed: bool = False
    recorded: dict[str, Any] = field(default_factory=dict)  # what the base backup says about the cluster's settings


def as_dict(plan: RecoveryPlan) -> dict[str, Any]:
    """Return it as JSON holds it."""
    return asdict(plan)


def read(told: Mapping[str, Any]) -> RecoveryPlan:
    """Read it back. Raises TypeError or ValueError for what it can't be."""
    return RecoveryPlan(**told)


def read_former(told: Mapping[str, Any]) -> RecoveryPlan:
    """Read it from a state of format 1, where it was mixed with the module's answer."""
    known = {one.name for one in fields(RecoveryPlan)}
    kept = {name: value for name, value in told.items() if name in known and value is not None}
    kept.setdefault("along", kept["timeline"])
    return RecoveryPlan(**kept)
