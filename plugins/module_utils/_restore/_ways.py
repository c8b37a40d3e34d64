# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way leads on from each state of a restore, and which leads back; every message of a restore that stops ends with this."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _state

if TYPE_CHECKING:
    from ._state import RestoreState

_ON = {
    "fetching": "run it again; it starts over",
    "recovering": "run it again; it starts over",
    "paused": "run it again with walg_restore_action: promote; it is put in place",
    "shut down": "run it again with walg_restore_action: promote; it is put in place",
    "moving on": "run it again; it continues from where it is",
    "recovered": "run it again; it continues with the swap and fetches nothing",
    "swapping": "run it again; it continues with the swap",
    "starting": "run it again; it continues with the start",
    "done": "nothing is left to do",
    "rolled back": "a new restore needs a new walg_restore_request",
}


def of(saved: RestoreState) -> str:
    """Return the sentences for a restore as its state has it."""
    name = f"walg_restore_request: {saved.request}"
    if saved.going_back:
        return f"Way on: run {name} with walg_restore_rollback: true again; it finishes the way back."
    anew = " (it starts over if the old server has run since)" if _may_be_stale(saved) else ""
    return f"Way on ({name}): {_ON[saved.state]}{anew}. Way back: {_back(saved)}."


def _may_be_stale(saved: RestoreState) -> bool:
    return saved.state == "recovered" and saved.keeps_old and saved.target.kind == "latest"


def _back(saved: RestoreState) -> str:
    if saved.state == "rolled back":
        return "this was it"
    if saved.state in _state.BESIDE:
        restarted = ", and starts the server that the restore has stopped" if saved.keeps_old else ""
        return f"add walg_restore_rollback: true; that removes what was restored so far{restarted}"
    told = "add walg_restore_rollback: true (and walg_restore_stop_running: true while a server runs there)"
    if saved.keeps_old:
        return f"{told}; that puts the old cluster back"
    if saved.state == "done":
        return "none, there was no old cluster or it was overwritten"
    return f"{told}; that takes the restored cluster out again and keeps it, because there is no old one"
