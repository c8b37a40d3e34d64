# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One start of the job, and what it writes down whatever verb it does. Run as the cluster's owner; in a container inside of it."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _exit_codes, _history
from .._host._files import read_state
from .._report import _metrics, _verdict
from . import _outcome
from ._outcome import Outcome

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from .._host._process import Runner
    from .._instance._job_spec import JobSpec
    from .._instance._record import Instance


@dataclass
class Work:
    """One start of the job. ``told``: what crosses to the process that speaks to the hooks; ``troubles``: what could not be recorded."""

    runner: Runner
    instance: Instance
    spec: JobSpec
    options: argparse.Namespace
    log: logging.Logger
    told: list[dict[str, Any]]
    troubles: list[str]

    def do(self, verb: str, act: Callable[[], Outcome]) -> Outcome:
        """Do a verb, log it, add it to the history, and note what the hooks should know."""
        outcome, run = _outcome.done(verb, act, self.log)
        for line in outcome.log:
            fine = outcome.code in (_exit_codes.OK, _exit_codes.WARNING)
            self.log.log(logging.INFO if fine else logging.ERROR, "%s", line)
        level = logging.INFO if outcome.code in (_exit_codes.OK, _exit_codes.LOCKED) else logging.ERROR
        self.log.log(level, "%s: %s", verb, outcome.text)
        before = _history.last(_history.read(self.instance.files.history)).get(verb)
        parts = "parts" in outcome.details  # each of them has told its own
        occasion = _outcome.NOTHING if parts else _outcome.occasion(run, before, self.options.scheduled)
        self.tell(run, occasion)
        return outcome

    def tell(self, run: _history.Run, occasion: str) -> None:
        """Add a run to the history, and to what the hooks are told."""
        if run.code != _exit_codes.LOCKED:
            self.keep(lambda: _outcome.record(self.instance, run))
        self.told.append({**_outcome.as_dict(run), "occasion": occasion})

    def own_state(self) -> bool:
        """Have hooks, status and metrics know that something could not be written down, or can be again. The last of all."""
        last = _history.last(_history.read(self.instance.files.history)).get(_outcome.STATE)
        if self.troubles:
            text = " ".join(self.troubles)
            self.do(_outcome.STATE, lambda: Outcome(_exit_codes.HOOK, False, text))
        elif last is not None and last.code != _exit_codes.OK:
            self.do(_outcome.STATE, lambda: Outcome(_exit_codes.OK, False, "state and log can be written again"))
        else:
            return False
        return True

    def keep(self, act: Callable[[], None]) -> None:
        """Write something down; that it can't be is said at the end, and stops no work."""
        try:
            act()
        except (WalgError, OSError) as exc:
            trouble = exc.msg if isinstance(exc, WalgError) else str(exc)
            self.troubles += [trouble] if trouble not in self.troubles else []

    def metrics(self) -> str:
        """Return the metrics of what was seen last, with the newest runs."""
        facts = kept_facts(self.instance)
        if not facts:
            return ""
        now = datetime.now(timezone.utc)
        runs = _history.last(_history.read(self.instance.files.history))
        facts["runs"] = {verb: asdict(run) for verb, run in runs.items()}
        return _metrics.text(facts, _verdict.judge(facts, now), now)


def kept_facts(instance: Instance) -> dict[str, Any]:
    """Return what the last check kept; empty if there is none that can be read."""
    return read_state(instance.files.facts)
