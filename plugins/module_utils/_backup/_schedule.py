# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on schedules: lines of a cron.d file.

Source: crontab(5). A percent sign ends the command unless a backslash stands before it, and not every cron takes that
backslash away again; so it is written outside of quotes, where the shell takes away what cron has left.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Debian's cron refuses the whole file for a longer one (MAX_COMMAND is 1000).
_LONGEST = 998

#: Minutes between two looks at what is due.
RUN_MINUTES = 5
#: What is called: a look at the archive, and what is due.
VERBS = ("check", "run")

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_BOUNDS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}
_NAMES = {"month": _MONTHS, "weekday": _WEEKDAYS}
_PART = re.compile(r"(?:\*|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([0-9]{1,2}))?", re.ASCII)
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?", re.ASCII)


def cron_line(
    minute: int | str,
    hour: int | str,
    user: str,
    argv: Sequence[str],
    day: int | str = "*",
    month: int | str = "*",
    weekday: int | str = "*",
) -> str:
    """Return a line for a cron.d file, without its newline, that runs exactly ``argv`` as ``user``.

    Raises WalgError for a field that cron would not read as meant, a program without an absolute path, or a word that a
    line can't hold.
    """
    given = {"minute": minute, "hour": hour, "day": day, "month": month, "weekday": weekday}
    times = [_field(name, str(value)) for name, value in given.items()]
    if not _USER.fullmatch(user):
        raise WalgError(f"The schedule's user {user!r} is not allowed: a user can't have this name.", found=user)
    if not argv or not argv[0].startswith("/"):
        raise WalgError(
            f"The schedule's program {argv[0] if argv else ''!r} is not allowed: cron has hardly any PATH, so give "
            "an absolute path."
        )
    command = " ".join(_word(word) for word in argv)
    if len(command.encode("utf-8")) > _LONGEST:
        raise WalgError(
            f"The schedule's command has more than the {_LONGEST} bytes that cron accepts: {command[:80]}..."
        )
    return " ".join([*times, user, command])


def judge(minute: object, hour: object, weekday: object) -> None:
    """Raise WalgError for a field that cron would not read as meant. Without a ``minute`` one is chosen."""
    given = {"minute": minute or "0", "hour": hour, "weekday": weekday}
    for name, value in given.items():
        _field(name, str(value))


def cron_file(instance: str, lines: Iterable[str]) -> str:
    """Return the text of a cron.d file for an instance."""
    body = list(lines)
    for text in (instance, *body):
        _refuse_unwritable(text)
    header = [
        f"# Managed by the Ansible collection mapswipe.walg for the instance {instance}; a change here is overwritten.",
        "SHELL=/bin/sh",
    ]
    return "\n".join([*header, *body, ""])


def spread(seed: str, hour: int) -> int:
    """Return a minute (0 to 59) that is always the same for a seed and hour, and another for most other seeds."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{hour}".encode()).digest()[:8], "big") % 60


def _word(word: str) -> str:
    _refuse_unwritable(word)
    return r"\%".join(shlex.quote(part) if part else "" for part in word.split("%")) or "''"


def _refuse_unwritable(text: str) -> None:
    if "\n" in text or "\0" in text or "\r" in text:
        raise WalgError("A line break or NUL in a schedule is not allowed: a line of cron can't contain it.")
    if any(0xD800 <= ord(char) <= 0xDFFF for char in text):
        raise WalgError("A word in a schedule is not allowed: it is not valid UTF-8.")


def _field(name: str, value: str) -> str:
    if value.lower() not in _NAMES.get(name, ()) and not all(_good_part(name, part) for part in value.split(",")):
        low, high = _BOUNDS[name]
        raise WalgError(
            f"The schedule's {name} {value!r} is not allowed. Expected: *, a number from {low} to {high}, a range, a list, "
            "or steps such as */5.",
            found=value,
        )
    return value


def _good_part(name: str, part: str) -> bool:
    match = _PART.fullmatch(part)
    if match is None:
        return False
    first, last, step = (None if group is None else int(group) for group in match.groups())
    low, high = _BOUNDS[name]
    if step is not None and (step == 0 or (first is not None and last is None)):
        return False  # steps need a range
    if first is None:
        return True
    return low <= first <= (high if last is None else last) <= high


@dataclass(frozen=True)
class Job:
    """What is started: for which instance, as whom, and where program and records are. ``host``: this host's name."""

    instance: str
    user: str
    program_dir: str
    config_dir: str
    host: str

    def argv(self, verb: str) -> list[str]:
        """Return the words of a call. One that is scheduled does not tell the same failure every few minutes."""
        program = os.path.join(self.program_dir, "walg-job")
        return [program, verb, "--instance", self.instance, "--config-dir", self.config_dir, "--scheduled"]

    def minute(self, verb: str, period: int) -> int:
        """Return the minute of a verb's first call in a period of so many minutes: not all hosts, instances and verbs begin at once."""
        return (spread(f"{self.host}/{self.instance}", 0) + VERBS.index(verb) * 2) % period


def job_file(job: Job, check_minutes: int) -> str:
    """Return the text of the cron file that looks at the archive every so many minutes, and has done what is due."""
    calls = {"check": check_minutes, "run": RUN_MINUTES}
    lines = [
        cron_line(every(period, job.minute(verb, period)), "*", job.user, job.argv(verb))
        for verb, period in calls.items()
    ]
    return cron_file(job.instance, lines)


def every(minutes: int, first: int) -> str:
    """Return cron's field of every so many minutes (1 to 60) of an hour, from the minute ``first`` on."""
    if minutes == 1:
        return "*"
    return str(first) if minutes > 59 else f"{first}-59/{minutes}"
