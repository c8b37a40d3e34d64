# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a request stands, and what comes next for it."""

from __future__ import annotations

import os
from typing import Literal

from .._errors import WalgError
from .._instance._record import Instance
from .._postgres import _data_dir, _servers, _targets
from . import _state, _stopped, _ways
from ._options import RestoreOptions

NextStep = Literal["new", "done", "finish", "waits", "forward"]


def find(instance: Instance, options: RestoreOptions) -> tuple[NextStep, _state.RestoreState | None]:
    """Say where a request stands. Raises WalgError where a human must decide.

    new; done; finish (recovered, or cut off in the swap); waits (paused or shut down at its target, which is still the same); forward (it
    waits, and is to go on: to a later target, or to be promoted).
    """
    saved = _state.load(instance)
    data_dir = os.path.realpath(instance.cluster.data_dir)
    if saved is None:
        return "new", None
    same = saved.is_of(options.request, data_dir)
    if saved.swap_begun:
        if same and saved.state != "rolling back":
            return "finish", saved
        what = "rolled back" if saved.state == "rolling back" else "put in place"
        raise WalgError(
            f"The restore {saved.request!r} was cut off while it was {what} at {saved.data_dir}; finish that first. "
            f"{_ways.of(saved)}"
        )
    if saved.waits:
        return _waiting(saved, options, same)
    if saved.state == "moving on" and same and _can_move_on(instance, saved, options):
        return "forward", saved
    if not same:
        return "new", saved
    if saved.state == "recovered" and _can_be_put_in_place(instance, saved, options):
        return "finish", saved
    if saved.state == "rolled back":
        raise WalgError(
            f"The restore {options.request!r} was rolled back. A new restore needs a new walg_restore_request."
        )
    if saved.state != "done":
        return "new", saved
    if (saved.target, saved.standby) != (options.target, options.standby):
        raise WalgError(
            f"The restore {options.request!r} was done already, to {saved.target.shown()}. Another target needs a new "
            "walg_restore_request."
        )
    found = _data_dir.inspect(data_dir, instance.owner)
    if found.kind != "cluster" or found.system_identifier != saved.system_identifier:
        raise WalgError(
            f"The restore {options.request!r} was done already, and now {data_dir} is {found.kind}: it was lost again. "
            "A new restore needs a new walg_restore_request."
        )
    return "done", saved


def _waiting(saved: _state.RestoreState, options: RestoreOptions, same: bool) -> tuple[NextStep, _state.RestoreState]:
    if not same:
        raise WalgError(
            f"The restore {saved.request!r} is {saved.state} in {saved.data.work} and waits; end it first "
            f"(walg_restore_discard: true removes it). {_ways.of(saved)}"
        )
    before = saved.target
    if not _targets.forward(before, options.target):
        raise WalgError(
            f"The restore {options.request!r} is at {before.shown()}; recovery can't go back to {options.target.shown()}. "
            "An earlier target needs a new walg_restore_request."
        )
    still = before == options.target and options.action == {"paused": "pause", "shut down": "shutdown"}[saved.state]
    if still and saved.state == "paused":
        still = bool(_servers.servers_on(saved.data.work))  # it may have died since
    return ("waits" if still else "forward"), saved


def _can_move_on(instance: Instance, saved: _state.RestoreState, options: RestoreOptions) -> bool:
    """Say whether a move forward that failed or was killed can be taken up where it is, instead of fetching again.

    It can while PostgreSQL is still in recovery there: up to version 12 a target that is not reached ends in a promotion. And
    what was replayed since is at most the target of that move, so none before it can be had.
    """
    found = _data_dir.inspect(saved.data.work, instance.owner)
    wanted = found.kind == "cluster" and found.system_identifier == saved.system_identifier
    return wanted and found.in_recovery and _targets.forward(saved.target, options.target)


def _can_be_put_in_place(instance: Instance, saved: _state.RestoreState, options: RestoreOptions) -> bool:
    """Say whether what was recovered is still what is asked for. Of the latest state it is none any more if the old cluster ran since."""
    if (saved.target, saved.standby) != (options.target, options.standby) or options.action != "promote":
        return False
    owner = instance.owner
    found = _data_dir.inspect(saved.data.work, owner)
    whole = found.kind == "cluster" and found.clean and found.system_identifier == saved.system_identifier
    if options.target.kind != "latest":
        return whole
    return whole and saved.old == _stopped.snapshot(saved.data_dir, owner)
