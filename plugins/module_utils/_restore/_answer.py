# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What walg_restore answers, in check mode as in the run: one list of keys, each described in the module's RETURN."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class Answer:
    """A restore as its user sees it. None: not known, or not yet. Built by keyword."""

    request: str
    state: str = "planned"
    data_dir: str | None = None
    # What will be done, or was.
    target: dict[str, Any] | None = None
    action: str | None = None
    standby: bool | None = None
    backup: dict[str, Any] | None = None
    chain: list[str] | None = None
    skipped_backups: list[str] | None = None
    older_backups: list[str] | None = None
    orphan_timelines: list[int] | None = None
    last_segments: list[str] | None = None
    segments: int | None = None
    salvaged_segments: list[str] | None = None
    data_dir_found: str | None = None
    kept_as: str | None = None
    places: list[dict[str, Any]] | None = None
    links: dict[str, str] | None = None
    host_was: dict[str, Any] | None = None
    settings: dict[str, str] | None = None
    bytes: int | None = None
    free_bytes: int | None = None
    notes: list[str] | None = None
    # Where recovery ended.
    timeline: int | None = None
    system_identifier: str | None = None
    replayed_lsn: str | None = None
    last_commit: str | None = None
    stopped_at: str | None = None
    made_again: dict[str, str] | None = None
    subscriptions: list[dict[str, Any]] | None = None
    connect: str | None = None
    # In its place.
    started: bool | None = None
    archive_mode: str | None = None
    registered: dict[str, str] | None = None
    differs: dict[str, dict[str, str]] | None = None
    seconds: dict[str, float] | None = None
    finished: str | None = None
    # On the way back.
    restored_kept_as: str | None = None
    saved_wal: str | None = None

    def take(self, told: Mapping[str, Any]) -> None:
        """Take over what is known now. What is no key of the answer stays inside."""
        for name in NAMES & told.keys():
            setattr(self, name, told[name])


NAMES = frozenset(one.name for one in fields(Answer))


def as_dict(answer: Answer) -> dict[str, Any]:
    """Return the module's answer: all keys, always."""
    return asdict(answer)


def read(told: Mapping[str, Any], request: str) -> Answer:
    """Read it back from a restore's state."""
    answer = Answer(request=request)
    answer.take(told)
    return answer
