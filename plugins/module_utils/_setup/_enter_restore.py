# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: a restore of a server that runs in a container. It is planned in there, and done in a helper container of the same mounts.

The server's container is stopped and held when the restore asks for it, and started when it has ended.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._container import _helper
from .._errors import WalgError
from . import _answer, _enter

if TYPE_CHECKING:
    from .._container._session import End

WHOLE, REHEARSAL, LOOK = "whole", "rehearsal", "look"
_ENDED = ("done", "rolled back")
_GONE = (*_ENDED, "discarded", "unknown")  # nothing is left that a helper container would be needed for
_PASSWORD = (
    "Roles and passwords are those of the backup. POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and the image's init scripts count for an "
    "empty data directory only."
)


def enter(module: _answer.Module) -> str:
    """Return at once for an instance of this machine, and else only inside a container: which part of the restore to do there."""
    try:
        outside = _enter.of(module)
        if outside is None:
            return WHOLE
        run = _Restore(outside)
        run.go()
    except (WalgError, OSError) as exc:
        _answer.fail(module, exc)
    return run.part


class _Restore:
    """One run of walg_restore, seen from outside."""

    def __init__(self, outside: _enter.Outside) -> None:
        self.outside, self.runner = outside, outside.runner
        self.check = outside.module.check_mode
        self.had_helper = _helper.find(self.runner, outside.container) is not None
        self.stopped = self.started = False
        self.part = WHOLE
        outside.offers.update(stop=self._stop, start=self._start)

    def go(self) -> None:
        """Return inside only."""
        if self.outside.running and not self.had_helper:
            end = self._planned()
            if end is None:
                return
            if self.check or not _told(end).get("changed"):
                self.outside.finish(end)
        if self.outside.container.status in ("paused", "restarting", "removing"):
            self.outside.container.refuse_not_running()
        end = self.outside.beside() if self.check else self._carried_out()
        if end is not None and self.started:
            end = self._looked(end)
        if end is not None:
            self.outside.finish(end, self._complete)

    def _planned(self) -> End | None:
        """Plan where the server runs: what can be known to fail is rejected before anything is stopped or made."""
        self.part = WHOLE if self.check else REHEARSAL
        end = self.outside.served()
        if end is not None:
            self.part = WHOLE
        return end

    def _carried_out(self) -> End | None:
        container = self.outside.container
        helper = _helper.opened(self.runner, container)
        if not self.outside.running:
            _helper.hold(self.runner, container)
        end = self.outside.work(helper)
        if end is not None:
            self._conclude(end)
        return end

    def _conclude(self, end: End) -> None:
        """The restore ended: what was held is free and the server runs, unless the restore is to go on later."""
        told = _told(end)
        state = (told.get("restore") or {}).get("state")
        ended = state in _GONE if told else not (self.stopped or self.had_helper)
        helper = _helper.find(self.runner, self.outside.refresh())
        if helper is None or not ended:
            return
        _helper.release(self.runner, self.outside.container, helper)
        _helper.close(self.runner, helper)
        if state in _ENDED and (told["changed"] or self.had_helper) and not self.outside.running:
            _helper.start(self.runner, self.outside.container)
            self.started = True
            self.outside.refresh()

    def _looked(self, end: End) -> End | None:
        """Look at the server that was started: is it what was restored?"""
        self.part = LOOK
        looked = self.outside.served()
        told = _told(looked) if looked else {}
        if told:
            return replace(end, message={"end": {**_told(end), "restore": told["restore"]}})
        return looked

    def _complete(self, answer: dict[str, Any]) -> None:
        restore = answer["restore"]
        if restore.get("state") in _ENDED:
            restore["started"] = bool(restore.get("started")) or self.outside.refresh().status == "running"
        if restore.get("state") == "done":
            restore["notes"] = [*(restore.get("notes") or []), _PASSWORD]
        if restore.get("connect"):
            name = _helper.name_of(self.outside.container)
            restore["connect"] = f"{os.path.basename(self.outside.placed.engine)} exec -it {name} {restore['connect']}"

    def _stop(self, _message: Mapping[str, Any], _descriptor: int | None) -> None:
        self.stopped = True
        _helper.hold(self.runner, self.outside.refresh())

    def _start(self, _message: Mapping[str, Any], _descriptor: int | None) -> None:
        helper = _helper.find(self.runner, self.outside.refresh())
        if helper:
            _helper.release(self.runner, self.outside.container, helper)
        _helper.start(self.runner, self.outside.container)
        self.stopped = False


def _told(end: End) -> dict[str, Any]:
    """Return a good answer; nothing for a failure."""
    return dict((end.message or {}).get("end") or {})
