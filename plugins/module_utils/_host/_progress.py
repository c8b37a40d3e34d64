# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress file of a long run, for whoever watches: rewritten at every phase and every two seconds."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from ._files import write_atomic
from ._times import now
from ._users import call_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._users import User


@dataclass
class Progress:
    """``watch`` is asked for details (bytes so far, last log line) at each rewrite."""

    path: str
    what: str
    watch: Callable[[], dict[str, Any]] | None = None
    owner: User | None = None
    state: dict[str, Any] = field(default_factory=dict)
    started: str = field(default_factory=now)
    seconds: dict[str, float] = field(default_factory=dict)  # by phase
    _since: float = field(default_factory=time.monotonic)

    def enter(self, name: str, **details: Any) -> None:
        """Enter a phase, and keep how long the last one took."""
        moment = time.monotonic()
        if self.state:
            self.seconds[str(self.state["phase"])] = round(moment - self._since, 3)
        self._since = moment
        self.phase(name, **details)

    def phase(self, name: str, **details: Any) -> None:
        """Enter a phase."""
        self.state = {"what": self.what, "phase": name, "started": self.started, "phase_started": now(), **details}
        self.touch()

    def touch(self) -> None:
        """Rewrite the file with fresh details."""
        details = self.watch() if self.watch else {}
        state = {**self.state, **details, "updated": now(), "pid": os.getpid()}
        text = json.dumps(state, indent=2, sort_keys=True) + "\n"
        # It is for whoever watches: a disk that is full must not end a base backup. Of a child that is held up, who waits for it must know.
        with contextlib.suppress(*((WalgError,) if self.owner is None else ())):
            call_as(self.owner, write_atomic, self.path, text, 0o644)

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """Note it where the block ends with an error: what says nothing of its end was killed."""
        try:
            yield
        except Exception:  # not one that a signal raises: that is told as a run that was killed
            self.watch = None
            self.phase("failed")
            raise

    def done(self, details: dict[str, Any]) -> None:
        """Write the last state."""
        self.watch = None
        self.phase("done", **details)
