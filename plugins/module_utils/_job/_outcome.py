# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How one verb ended, and what of that is kept: a run in the history. What can't be written is said, and stops no work."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .._archive import _owner
from .._errors import RefusedError, StorageError, WalgError
from .._host import _exit_codes, _history, _locks, _times
from .._host._history import Run
from .._host._waiting import wait_until

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence

    from .._instance._record import Instance

_QUIET = (_exit_codes.OK, _exit_codes.LOCKED)
#: Occasions to tell somebody: it failed, it no longer does, it went well; nothing new is no occasion.
FAILURE, RECOVERY, SUCCESS, NOTHING = "failure", "recovery", "success", ""
#: No verb, but kept in the history as one: whether the job could write down what it knows.
STATE = "state"
_AGAIN = 6 * 3600.0  # seconds after which the same failure is told again
_PATIENCE = 10.0  # seconds for another run to write its line
#: Errors that say what class of end they are; the first that fits. Others are failures.
_CLASSES = (
    (_locks.LockedError, _exit_codes.LOCKED),
    (_owner.ForeignError, _exit_codes.REFUSED),
    (RefusedError, _exit_codes.REFUSED),
    (StorageError, _exit_codes.STORAGE),
)
#: Of several ends, the one that whoever looks at an exit code must know first.
_WORST_FIRST = (
    _exit_codes.NOT_RESTORABLE,
    _exit_codes.FAILED,
    _exit_codes.STORAGE,
    _exit_codes.REFUSED,
    _exit_codes.UNKNOWN,
    _exit_codes.HOOK,
    _exit_codes.WARNING,
    _exit_codes.LOCKED,
    _exit_codes.OK,
)


@dataclass(frozen=True)
class Outcome:
    """How a verb ended: exit code, whether something was done, one line for people, details, and what goes to the log before it."""

    code: int
    changed: bool
    text: str
    details: dict[str, Any] = field(default_factory=dict)
    log: Sequence[str] = ()


def worst(codes: Sequence[int]) -> int:
    """Return the exit code of several ends together."""
    return next((one for one in _WORST_FIRST if one in codes), _exit_codes.OK)


def code_of(exc: WalgError) -> int:
    """Return the exit code that an error means."""
    return next((code for kind, code in _CLASSES if isinstance(exc, kind)), _exit_codes.FAILED)


def of_error(exc: WalgError) -> Outcome:
    """Return the outcome of a verb that an error ended."""
    lines = [f"wal-g: {line}" for line in str(exc.fields.get("stderr", "")).splitlines()]
    return Outcome(code_of(exc), False, exc.msg, log=lines)


def done(verb: str, work: Callable[[], Outcome], log: logging.Logger) -> tuple[Outcome, Run]:
    """Do one verb's work, whatever comes of it, and return how it ended and its line in the history."""
    started, clock = _times.now(), time.monotonic()
    try:
        outcome = work()
    except WalgError as exc:
        outcome = of_error(exc)
    except OSError as exc:
        outcome = of_error(WalgError(f"{exc.filename or 'A file'} can't be used: {exc.strerror or exc}"))
    except Exception as exc:  # whatever it is, it must reach the log, the hooks and cron
        log.exception("unexpected error")
        outcome = of_error(WalgError(f"unexpected {type(exc).__name__}: {exc}"))
    seconds = round(time.monotonic() - clock, 3)
    run = Run(verb, started, _times.now(), seconds, outcome.code, outcome.changed, outcome.text, outcome.details)
    return outcome, run


def record(instance: Instance, run: Run) -> None:
    """Add a run to the history. Raises WalgError if it can't be added, and once it is, if the file was damaged."""
    damaged: list[int] = []

    def add() -> bool:
        try:
            with _locks.locked(instance.files.history_lock, "The history"):
                damaged.append(_history.append(instance.files.history, run))
        except _locks.LockedError:
            return False
        return True

    if not wait_until(add, _PATIENCE):
        raise WalgError(f"{instance.files.history_lock} is held for more than {_PATIENCE:.0f} s.")
    if any(damaged):
        raise WalgError(f"{instance.files.history} had {damaged[0]} damaged lines, which are dropped: was a disk full?")


def occasion(run: Run, before: Run | None, scheduled: bool) -> str:
    """Say what there is to tell of a run; ``before``: the last one of the same verb. Notes in its details when that was told.

    A job that is ``scheduled`` every few minutes tells the same failure again after some hours only.
    """
    if run.code == _exit_codes.LOCKED:
        return NOTHING
    if run.code == _exit_codes.OK:
        return RECOVERY if before is not None and before.code not in _QUIET else SUCCESS
    told = before.details.get("told") if before is not None else None
    same = before is not None and before.code == run.code and before.details.get("codes") == run.details.get("codes")
    if scheduled and same and isinstance(told, str):
        age = (_times.moment(run.ended) - _times.moment(told)).total_seconds()
        if 0 <= age < _AGAIN:
            run.details["told"] = told
            return NOTHING
    run.details["told"] = run.ended
    return FAILURE


def as_dict(run: Run) -> dict[str, Any]:
    """Return a run as it crosses to the process that speaks to the hooks."""
    return asdict(run)
