# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a restore: which request stands where. A killed run is finished or undone by what it says.

What root wrote is in a directory of root's, beside the instance's: the database user owns that one, and whoever can write the file
says what root renames and removes. Earlier versions had it there; such a file is shown to whoever runs the play, not believed.

States, in order: fetching, recovering, (paused or shut down: beside, at the target; moving on from there), recovered (stopped
cleanly, proved), swapping, starting, done. And back, from each of them: rolling back, rolled back.
"""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from .._errors import WalgError
from .._host import _moves, _trust
from .._host._files import FilePlan, read_text, write_atomic
from .._host._users import call_as
from .._postgres._targets import Target
from . import _answer, _journal, _layout, _recovery_plan

if TYPE_CHECKING:
    from .._instance._record import Instance
    from ._answer import Answer
    from ._journal import Step
    from ._layout import Location
    from ._recovery_plan import RecoveryPlan

_NAME = "restore.json"
FORMAT = 2  # 1 had no number, and one dictionary for the answer and for what the run still needs

State = Literal[
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
]
STATES: tuple[State, ...] = get_args(State)
#: States in which what was recovered so far lies beside, and nothing was swapped.
BESIDE: tuple[State, ...] = ("fetching", "recovering", "paused", "shut down", "moving on", "recovered")


@dataclass
class RestoreState:
    """What the last restore of this instance was and how far it came. Built by keyword."""

    request: str
    state: State
    target: Target
    standby: bool
    backup: str
    system_identifier: str
    data_dir: str
    places: list[Location]
    recovery: RecoveryPlan
    answer: Answer
    keeps_old: bool = False
    socket_dir: str = ""
    journal: list[Step] = field(default_factory=list)
    stopped: bool = False  # the restore has stopped the old server
    moved_back: bool = False  # the old directories are back; the start, or word to the archive, is left to do
    never_ran: bool = False  # it was rolled back before the restored server was started in its place
    #: The old cluster's control file since its server was stopped (_stopped): another one says that somebody has started it.
    old: dict[str, Any] = field(default_factory=dict)

    @property
    def swap_begun(self) -> bool:
        """Directories are being moved: the same request continues, another one has to wait."""
        return self.state in ("swapping", "starting", "rolling back")

    @property
    def waits(self) -> bool:
        """It has reached its target, beside the old one, and waits for a decision."""
        return self.state in ("paused", "shut down")

    @property
    def rolled_back(self) -> bool:
        """The way back is finished."""
        return self.state == "rolled back" and not self.moved_back

    @property
    def going_back(self) -> bool:
        """A way back was begun and is not finished."""
        return self.state == "rolling back" or (self.state == "rolled back" and self.moved_back)

    @property
    def finished(self) -> bool:
        """Nothing is left to do, this way or that."""
        return self.state == "done" or self.rolled_back

    @property
    def data(self) -> Location:
        """The data directory's place."""
        return self.places[-1]

    def is_of(self, request: str, data_dir: str) -> bool:
        """Say whether it is that request's."""
        return (self.request, self.data_dir) == (request, data_dir)

    def work_dirs(self) -> list[str]:
        """Return the directories that the restore made and has not put in place."""
        return [place.work for place in self.places]


def text(state: RestoreState) -> str:
    """Return the file's content."""
    told = {
        **vars(state),
        "format": FORMAT,
        "target": state.target.as_dict(),
        "places": _layout.encode(state.places),
        "journal": _journal.encode(state.journal),
        "recovery": _recovery_plan.as_dict(state.recovery),
        "answer": _answer.as_dict(state.answer),
    }
    return json.dumps(told, indent=2, sort_keys=True) + "\n"


def parse(content: str, place: str) -> RestoreState:
    """Read a file's content, of this format or an older one. Raises WalgError; ``place`` is named there."""
    try:
        told = json.loads(content)
        number = told.pop("format", 1)
        if number == 1:
            plan, result = told.pop("plan"), told.pop("result", {})
            told["recovery"] = _recovery_plan.read_former(plan)
            told["answer"] = _answer.read(
                {**plan, **result, "state": result.get("state", told["state"])}, told["request"]
            )
        elif number == FORMAT:
            told["recovery"] = _recovery_plan.read(told["recovery"])
            told["answer"] = _answer.read(told["answer"], told["request"])
        else:
            raise WalgError(
                f"{place} has the format {number!r}, and this version of the collection reads up to {FORMAT}: a newer one wrote it. "
                "It says how far the last restore came; run the play with that version.",
                found=number,
                wanted=FORMAT,
            )
        told["target"] = Target(**told["target"])
        told["places"] = _layout.decode(told["places"])
        told["journal"] = _journal.decode(told.get("journal") or [])
        found = RestoreState(**told)
        if found.state not in STATES:
            raise ValueError(f"state {found.state!r}")
        return found
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise WalgError(
            f"{place} is damaged ({exc}). It says how far the last restore came; look before you remove it."
        ) from exc


def directory(instance: Instance) -> str:
    """Return where the marker and the lock of a restore are. No instance's name has a dot."""
    return f"{instance.state_dir}.restore" if _roots(instance) else instance.state_dir


def _roots(instance: Instance) -> bool:
    """Say whether we are root and the cluster is somebody else's."""
    return _moves.for_another(instance.owner.uid)


def prepare(instance: Instance) -> str:
    """Make that directory if it is root's, and return it."""
    place = directory(instance)
    if _roots(instance):
        FilePlan(place, None, 0o700, 0, 0).apply()
    return place


def path(instance: Instance) -> str:
    """Return the marker's path."""
    return os.path.join(directory(instance), _NAME)


def load(instance: Instance) -> RestoreState | None:
    """Return the marker; None if nothing was ever restored here."""
    place = path(instance)
    content = _read_roots(place) if _roots(instance) else call_as(instance.owner, read_text, place)
    return None if content is None else parse(content, place)


def _read_roots(place: str) -> str | None:
    """Read a marker of root's, by the directory that only root can change."""
    if not os.path.lexists(os.path.dirname(place)):
        return None
    _trust.refuse_loose(place, "The marker of the last restore")
    return read_text(place)


def refuse_former(instance: Instance, request: str) -> None:
    """Raise WalgError where only a marker of an earlier version says how far a restore came that this request may concern.

    The database user can write it: root acts on none of its words. What it says is finished and of another request is passed over.
    """
    place = instance.files.restore_state
    if not _roots(instance) or load(instance) is not None:
        return
    content = call_as(instance.owner, read_text, place)
    if content is None:
        return
    found = parse(content, place)
    if found.finished and found.request != request:
        return
    taken = shlex.join(["install", "-D", "-o", "root", "-g", "root", "-m", "0600", place, path(instance)])
    raise WalgError(
        f"{place} says that the restore {found.request!r} of {found.data_dir!r} is {found.state}. An earlier version of this collection "
        f"wrote it there, or the user {instance.cluster.os_user!r}, who can write that file: root does nothing on its word. Nothing "
        f"was changed. If that restore is yours, read the file, have root take it over, and run again: {taken} && rm {shlex.quote(place)}. "
        f"If it is not, remove {place}.",
        found=found.state,
    )


def save(instance: Instance, state: RestoreState) -> None:
    """Write it durably."""
    place = os.path.join(prepare(instance), _NAME)
    if _roots(instance):
        write_atomic(place, text(state))
    else:
        call_as(instance.owner, write_atomic, place, text(state), 0o644)


def move_to(instance: Instance, state: RestoreState, name: State) -> None:
    """Write down which state it is in before what that announces begins."""
    state.state = name
    save(instance, state)
