# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cron makes of a cron.d file: crontab(5)."""

from __future__ import annotations

import re

from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _schedule
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError

_LINE = re.compile(r"((?:\S+[ \t]+){5})(\S+)[ \t]+(\S.*)")


def backup_of(cron_text: str) -> tuple[str, str]:
    """Return user and command by which a cron file's job takes a base backup at once, not only one that is due."""
    user, command = call_of(cron_text, "run")
    return user, command.replace(" run ", " backup ", 1).removesuffix(" --scheduled")


def call_of(cron_text: str, verb: str) -> tuple[str, str]:
    """Return user and command of the one call of walg-job with this verb. Raises WalgError unless there is exactly one."""
    return _one([(user, command) for user, command in _jobs(cron_text) if f"/walg-job {verb} " in command])


def command_of(cron_text: str) -> tuple[str, str]:
    """Return user and command of the one job in a cron.d file or line, the command as cron hands it to the shell.

    Raises WalgError unless there is exactly one job, or when cron would cut it at a percent sign.
    """
    return _one(_jobs(cron_text))


def _one(jobs: list[tuple[str, str]]) -> tuple[str, str]:
    if len(jobs) != 1:
        raise WalgError(f"Expected one job in the cron.d file; found: {len(jobs)}.", found=len(jobs), wanted=1)
    return jobs[0]


def _jobs(cron_text: str) -> list[tuple[str, str]]:
    jobs = []
    for line in cron_text.split("\n"):
        if not line.strip() or line.lstrip().startswith("#") or re.match(r"\s*[A-Za-z_]\w*\s*=", line):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise WalgError(f"Not a line of a cron.d file: {line!r}.")
        minute, hour, day, month, weekday = match.group(1).split()
        _schedule.cron_line(minute, hour, match.group(2), ["/bin/x"], day, month, weekday)
        jobs.append((match.group(2), _as_handed_on(match.group(3))))
    return jobs


def _as_handed_on(command: str) -> str:
    """Return a command as cron reads it: a backslash protects the character after it, and goes away before a percent sign."""
    if re.fullmatch(r"(?:[^\\%]|\\.)*\\?", command, re.DOTALL) is None:
        raise WalgError(f"cron cuts this command at a percent sign that has no backslash before it: {command!r}.")
    return re.sub(r"\\(.)", lambda pair: "%" if pair.group(1) == "%" else pair.group(0), command, flags=re.DOTALL)
