# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on schedules: systemd's timers, and services that can reach what the job needs and little else.

Source: systemd.exec(5), systemd.service(5), systemd.timer(5). A directive that an older systemd does not know is skipped there.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._errors import WalgError
from ._schedule import RUN_MINUTES, VERBS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._schedule import Job

#: Where an administrator's units are.
UNIT_DIR = "/etc/systemd/system"
_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")
#: What systemd reads otherwise in a unit: quotes, escapes, specifiers, variables.
_PLAIN = re.compile(r"[^\x00-\x1f\x7f\"'\\%$]*")
#: For every job. Without a new session's privileges the failure command can't use setuid programs either.
_CLOSED = """NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes"""
#: For a job on the host itself. One for a container enters its namespaces and control group.
_CLOSED_HERE = """PrivateDevices=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectClock=yes
RestrictNamespaces=yes
CapabilityBoundingSet=
AmbientCapabilities="""


@dataclass(frozen=True)
class Reach:
    """The paths that a job reads and writes. ``enters``: it does its work in a container, as root."""

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    enters: bool = False

    def below(self, places: Iterable[str]) -> bool:
        """Say whether any of the paths is in one of these places."""
        return any(
            path == place or path.startswith(f"{place}/") for path in (*self.reads, *self.writes) for place in places
        )


def unit_name(instance: str, verb: str) -> str:
    """Return the name of a verb's units, without a suffix."""
    return f"mapswipe-walg-{instance}-{verb}"


def timer_names(instance: str) -> list[str]:
    """Return the names of an instance's timers."""
    return [f"{unit_name(instance, verb)}.timer" for verb in VERBS]


def paths(instance: str) -> list[str]:
    """Return the paths of an instance's units."""
    kinds = ("service", "timer")
    return [os.path.join(UNIT_DIR, f"{unit_name(instance, verb)}.{kind}") for verb in VERBS for kind in kinds]


def texts(job: Job, reach: Reach, check_minutes: int, nice: int) -> dict[str, str]:
    """Return path -> text of an instance's units. Raises WalgError for a path that no unit can hold."""
    periods = {"check": check_minutes, "run": RUN_MINUTES}
    found = []
    for verb in VERBS:
        found += [service(job, verb, reach, nice if verb == "run" else 0), timer(job, verb, periods[verb])]
    return dict(zip(paths(job.instance), found))


def service(job: Job, verb: str, reach: Reach, nice: int = 0) -> str:
    """Return the text of a service that runs the job once."""
    what = {"check": "Look at the archive", "run": "Do what is due for the archive"}[verb]
    lines = [
        *_head(job.instance),
        "[Unit]",
        f"Description={what} of the PostgreSQL instance {job.instance}",
        # A check at boot is no alarm because the engine does not answer yet.
        f"After=network.target{' docker.service' if reach.enters else ''}",
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart={' '.join(map(_word, job.argv(verb)))}",
        f"User={job.user}",
        # The job has limits of its own, and ends its programs in order when it is told to end.
        "TimeoutStartSec=infinity",
        "TimeoutStopSec=90",
        "KillMode=mixed",
        # Another run does the same.
        "SuccessExitStatus=75",
        "UMask=0077",
        *([f"Nice={nice}", "IOSchedulingClass=best-effort", "IOSchedulingPriority=7"] if nice else []),
        _CLOSED,
        *_files(reach),
        *([] if reach.enters else [_CLOSED_HERE]),
    ]
    return "\n".join([*lines, ""])


def _files(reach: Reach) -> list[str]:
    """Return what of the file system the job sees, and can write."""
    shared = reach.below(_TEMPORARY)
    homes = "read-only" if reach.enters or reach.below(_HOMES) else "yes"
    writes = [*reach.writes, *(_TEMPORARY if shared else ())]
    return [
        f"ProtectSystem={'full' if reach.enters else 'strict'}",
        f"ProtectHome={homes}",
        f"PrivateTmp={'no' if shared else 'yes'}",
        *(
            f"ReadWritePaths=-{path}" if " " not in path else f'ReadWritePaths="-{path}"'
            for path in map(_plain, writes)
        ),
    ]


def timer(job: Job, verb: str, minutes: int) -> str:
    """Return the text of a timer that starts a service every so many minutes (1 to 60), and once at boot if that was missed.

    The job itself delays a base backup by chance, so that whoever starts it does not matter.
    """
    first = job.minute(verb, minutes)
    when = "*" if minutes == 1 else str(first) if minutes > 59 else f"{first}/{minutes}"
    lines = [
        *_head(job.instance),
        "[Unit]",
        f"Description=Start {unit_name(job.instance, verb)}.service",
        "",
        "[Timer]",
        f"OnCalendar=*-*-* *:{when}:00",
        "AccuracySec=10",
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return "\n".join([*lines, ""])


def _head(instance: str) -> list[str]:
    return [
        f"# Managed by the Ansible collection mapswipe.walg for the instance {instance}; a change here is overwritten.",
        "# For settings of your own: systemctl edit",
    ]


def _word(text: str) -> str:
    return f'"{_plain(text)}"' if " " in text else _plain(text)


def _plain(text: str) -> str:
    if not _PLAIN.fullmatch(text) or any(0xD800 <= ord(char) <= 0xDFFF for char in text):
        raise WalgError(
            f"{text!r} can't be used in a systemd unit: it contains a quote, a backslash, % or $, which systemd reads otherwise. Choose "
            "another path, or set walg_backup_scheduler: cron.",
            found=text,
        )
    return text
