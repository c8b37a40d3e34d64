# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marker of a restore: which request stands where. A killed run is finished or undone by what it says. Private.

States, in order: fetching, recovering, (paused or shut down: beside, at the target; moving on from there), recovered (stopped
cleanly, proved), swapping, starting, done. And back, from each of them: rolling back, rolled back.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ._errors import WalgError
from ._files import read_text, write_atomic
from ._process import call_as

if TYPE_CHECKING:
    from ._instance import Instance

STATES = (
    "fetching",
    "recovering",
    "paused",
    "shut down",
    "moving on",
    "recovered",
    "swapping",
    "starting",
    "done",
    "rolling back",
    "rolled back",
)
#: States in which what was recovered so far lies beside, and nothing was swapped.
BESIDE = ("fetching", "recovering", "paused", "shut down", "moving on", "recovered")


@dataclass
class Marker:
    """What the last restore of this instance was and how far it came. ``plan``: what the run after the fetch needs to know of it."""

    request: str
    state: str
    target: dict[str, Any]
    standby: bool
    backup: str
    system_identifier: str
    data_dir: str
    places: list[dict[str, Any]]
    plan: dict[str, Any]
    keeps_old: bool = False
    socket_dir: str = ""
    journal: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False  # the restore has stopped the old server
    moved_back: bool = False  # the old directories are back; the start, or word to the archive, is left to do
    never_ran: bool = False  # it was rolled back before the restored server was started in its place
    #: The old cluster's control file since its server was stopped (_stopped): another one says that somebody has started it.
    old: dict[str, Any] = field(default_factory=dict)

    @property
    def swap_begun(self) -> bool:
        """Directories are being moved: the same request goes on, another one has to wait."""
        return self.state in ("swapping", "starting", "rolling back")

    @property
    def waits(self) -> bool:
        """It stands at its target, beside, and waits for a word."""
        return self.state in ("paused", "shut down")

    def is_of(self, request: str, data_dir: str) -> bool:
        """Say whether it is that request's."""
        return (self.request, self.data_dir) == (request, data_dir)

    def work_dirs(self) -> list[str]:
        """Return the directories that the restore made and has not put in place."""
        return [str(place["work"]) for place in self.places]


def path(instance: Instance) -> str:
    """Return the marker's path."""
    return os.path.join(instance.state_dir, "restore.json")


def load(instance: Instance) -> Marker | None:
    """Return the marker, read as the cluster's owner; None if nothing was ever restored here."""
    text = call_as(instance.cluster.owner(), read_text, path(instance))
    if text is None:
        return None
    try:
        marker = Marker(**json.loads(text))
        if marker.state not in STATES:
            raise ValueError(f"state {marker.state!r}")
        return marker
    except (ValueError, TypeError) as exc:
        raise WalgError(
            f"{path(instance)} is damaged ({exc}). It says how far the last restore came; look before you remove it."
        ) from exc


def save(instance: Instance, marker: Marker) -> None:
    """Write the marker durably, as the cluster's owner."""
    text = json.dumps(asdict(marker), indent=2, sort_keys=True) + "\n"
    call_as(instance.cluster.owner(), write_atomic, path(instance), text, 0o644)
