# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a request stands, and what comes next for it. Private to this collection."""

from __future__ import annotations

import os

from .._errors import WalgError
from .._instance._record import Instance
from .._postgres import _data_dir, _servers, _targets
from .._postgres._targets import Target
from . import _state, _stopped, _ways
from ._wish import Wish


def standing(instance: Instance, wish: Wish) -> tuple[str, _state.Marker | None]:
    """Say where a request stands. Raises WalgError where a human must decide.

    new; done; finish (recovered, or cut off in the swap); waits (paused or shut down at its target, which is still the same); forward (it
    waits, and is to go on: to a later target, or to be promoted).
    """
    marker = _state.load(instance)
    data_dir = os.path.realpath(instance.cluster.data_dir)
    if marker is None:
        return "new", None
    same = marker.is_of(wish.request, data_dir)
    if marker.swap_begun:
        if same and marker.state != "rolling back":
            return "finish", marker
        what = "rolled back" if marker.state == "rolling back" else "put in place"
        raise WalgError(
            f"The restore {marker.request!r} was cut off while it was {what} at {marker.data_dir}; finish that first. "
            f"{_ways.of(marker)}"
        )
    if marker.waits:
        return _waiting(marker, wish, same)
    if marker.state == "moving on" and same and _can_move_on(instance, marker, wish):
        return "forward", marker
    if not same:
        return "new", marker
    if marker.state == "recovered" and _can_be_put_in_place(instance, marker, wish):
        return "finish", marker
    if marker.state == "rolled back":
        raise WalgError(
            f"The restore {wish.request!r} was rolled back. A new restore needs a new walg_restore_request."
        )
    if marker.state != "done":
        return "new", marker
    if (marker.target, marker.standby) != (wish.target.as_dict(), wish.standby):
        raise WalgError(
            f"The restore {wish.request!r} was done already, to {Target(**marker.target).shown()}. Another target needs a new "
            "walg_restore_request."
        )
    found = _data_dir.look(data_dir, instance.owner)
    if found.kind != "cluster" or found.system_identifier != marker.system_identifier:
        raise WalgError(
            f"The restore {wish.request!r} was done already, and now {data_dir} is {found.kind}: it was lost again. "
            "A new restore needs a new walg_restore_request."
        )
    return "done", marker


def _waiting(marker: _state.Marker, wish: Wish, same: bool) -> tuple[str, _state.Marker]:
    if not same:
        raise WalgError(
            f"The restore {marker.request!r} is {marker.state} in {marker.work_dirs()[-1]} and waits; end it first "
            f"(walg_restore_discard: true removes it). {_ways.of(marker)}"
        )
    before = Target(**marker.target)
    if not _targets.forward(before, wish.target):
        raise WalgError(
            f"The restore {wish.request!r} is at {before.shown()}; recovery can't go back to {wish.target.shown()}. "
            "An earlier target needs a new walg_restore_request."
        )
    still = before == wish.target and wish.action == {"paused": "pause", "shut down": "shutdown"}[marker.state]
    if still and marker.state == "paused":
        still = bool(_servers.servers_on(marker.work_dirs()[-1]))  # it may have died since
    return ("waits" if still else "forward"), marker


def _can_move_on(instance: Instance, marker: _state.Marker, wish: Wish) -> bool:
    """Say whether a move forward that failed or was killed can be taken up where it is, instead of fetching again.

    It can while PostgreSQL is still in recovery there: up to version 12 a target that is not reached ends in a promotion. And
    what was replayed since is at most the target of that move, so none before it can be had.
    """
    found = _data_dir.look(marker.work_dirs()[-1], instance.owner)
    wanted = found.kind == "cluster" and found.system_identifier == marker.system_identifier
    return wanted and found.in_recovery and _targets.forward(Target(**marker.target), wish.target)


def _can_be_put_in_place(instance: Instance, marker: _state.Marker, wish: Wish) -> bool:
    """Say whether what was recovered is still what is asked for. Of the latest state it is none any more if the old cluster ran since."""
    if (marker.target, marker.standby) != (wish.target.as_dict(), wish.standby) or wish.action != "promote":
        return False
    owner = instance.owner
    found = _data_dir.look(marker.work_dirs()[-1], owner)
    whole = found.kind == "cluster" and found.clean and found.system_identifier == marker.system_identifier
    if wish.target.kind != "latest":
        return whole
    return whole and marker.old == _stopped.snapshot(marker.data_dir, owner)
