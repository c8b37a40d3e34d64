# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who hears how runs ended: cron on stderr, and whom the hooks tell. Outside of any container; the history is where the instance is."""

from __future__ import annotations

import contextlib
import platform
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _exit_codes, _history, _times
from . import _hooks, _outcome, _usage

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from .._host._process import Runner
    from .._instance._job_spec import Hooks, JobSpec
    from .._instance._record import Instance

_TELL = "tell"  # not a verb, but kept in the history as one
#: Verbs whose failure is for whoever called them, and no alarm.
QUIET = (*_usage.LOOKING, "confirm")


class Voice:
    """Speaks once for one start of the job. ``troubles``: whom it could not tell."""

    def __init__(self, runner: Runner, options: argparse.Namespace, spec: JobSpec) -> None:
        self.runner, self.options, self.spec = runner, options, spec
        self.troubles: list[str] = []
        self.spoke = False

    def speak(self, told: Mapping[str, Any]) -> list[list[str] | None]:
        """Tell how runs ended (``runs``); return for each what failed of that, None if nobody was told. Once: raises WalgError then."""
        if self.spoke:
            raise WalgError("The job has told already how it ended.")
        self.spoke = True
        hooks = replace(self.spec.hooks, ping="") if told.get("troubles") else self.spec.hooks  # all is not well
        return [self._of(run, hooks) for run in told.get("runs") or ()]

    def _of(self, run: Mapping[str, Any], hooks: Hooks) -> list[str] | None:
        options = self.options
        locked = run["code"] == _exit_codes.LOCKED and run["verb"] == options.verb and not options.scheduled
        if run["occasion"] == _outcome.FAILURE or locked or options.verb in QUIET:
            text = run["complaint"]
            complain(options.instance, text if run["verb"] == options.verb else f"{run['verb']}: {text}")
        if not options.scheduled and run["occasion"] != _outcome.FAILURE:
            return None
        message = _hooks.message(options.instance, platform.node() or "?", run)
        failed = _hooks.tell(self.runner, hooks, message, run["occasion"])
        self.troubles += failed
        return failed


def note(instance: Instance, runs: Sequence[Mapping[str, Any]], failed: Sequence[Sequence[str] | None]) -> bool:
    """Have status, metrics and page know that somebody could not be told, or can again; say whether that is new. Run as the owner."""
    noted = False
    for run, troubles in zip(runs, failed):
        if troubles is None:
            continue
        last = _history.last(_history.read(instance.files.history)).get(_TELL)
        code = _exit_codes.HOOK if troubles else _exit_codes.OK
        if troubles or (last is not None and last.code != code and run["occasion"] != _outcome.NOTHING):
            text = " ".join(troubles) or "the hooks answer again"
            with contextlib.suppress(WalgError):
                _outcome.record(instance, _history.Run(_TELL, run["ended"], _times.now(), 0.0, code, False, text))
                noted = True
    return noted


def complain(instance: str, text: str) -> None:
    """Say it on stderr, which cron mails."""
    sys.stderr.write(f"walg-job[{instance}]: {text}\n")
