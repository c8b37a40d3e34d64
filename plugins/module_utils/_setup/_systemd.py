# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance's timers in systemd: how they are, started, stopped."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from .._backup import _timer
from .._errors import WalgError
from .._postgres import _supervisor

if TYPE_CHECKING:
    from .._host._process import Runner

ON = "enabled, active"
_TIMEOUT = 90.0  # seconds


def state(runner: Runner, name: str) -> str:
    """Return how an instance's timers are: enabled and active, or what of it they are not."""
    words = []
    for question, good in (("is-enabled", "enabled"), ("is-active", "active")):
        answer = runner.run(["systemctl", question, *_timer.timer_names(name)], timeout=_TIMEOUT)
        lines = answer.stdout.split()
        all_good = answer.rc == 0 and lines == [good] * len(_timer.timer_names(name))
        words.append(good if all_good else f"not {good}")
    return ", ".join(words)


def reload(runner: Runner) -> None:
    """Have systemd read its units again, if it runs."""
    if _supervisor.systemd_runs():
        _do(runner, "daemon-reload")


def start(runner: Runner, name: str) -> None:
    """Enable the timers and start them."""
    _do(runner, "enable", "--now", *_timer.timer_names(name))


def pause(runner: Runner, name: str) -> None:
    """Stop the timers that are there, before their files change: a run that is killed then leaves them off, which the next sees."""
    there = _there(name)
    if there:
        _do(runner, "stop", *there)


def stop(runner: Runner, name: str) -> None:
    """Stop and disable the timers; a job that runs ends by itself. Where systemd does not run, only their links are removed."""
    there = _there(name)
    if there and _supervisor.systemd_runs():
        _do(runner, "disable", "--now", *there)
    for timer in _timer.timer_names(name):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(_timer.UNIT_DIR, "timers.target.wants", timer))


def _there(name: str) -> list[str]:
    return [one for one in _timer.timer_names(name) if os.path.lexists(os.path.join(_timer.UNIT_DIR, one))]


def _do(runner: Runner, *words: str) -> None:
    result = runner.run(["systemctl", *words], timeout=_TIMEOUT)
    if result.rc != 0 or result.timed_out:
        raise WalgError(f"`systemctl {' '.join(words)}` failed: {result.last_line()}", **result.fields())
