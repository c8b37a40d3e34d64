# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What walg-job does for an instance, and when: one JSON file beside its record.

The module walg_schedule writes it, the job and the status read it. It may hold addresses that are secrets (of webhooks), so it is as
closed as WAL-G's settings. A key that is not given means its default here.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _inside, _trust
from .._host._files import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

#: From whom base backups are taken: the primary; a standby if one runs, else the primary; whatever server is on this host.
SOURCES = ("primary", "standby", "this_host")
#: What happens when WAL can't be archived and pg_wal fills: tell, or give WAL up beyond a limit.
PRESSURES = ("alarm", "drop")


@dataclass(frozen=True)
class BackupRule:
    """When and how base backups are taken. Cron's fields; ``jitter`` in seconds, ``nice`` as in nice(1)."""

    hour: str = "2"
    minute: str = "0"
    weekday: str = "*"
    source: str = "primary"
    page_checksums: bool = True
    jitter: int = 0
    nice: int = 0


@dataclass(frozen=True)
class Retention:
    """What expire keeps; 0 means that this rule keeps nothing by itself. What any rule keeps, stays.

    ``days``: base backups that are younger. ``backups``: so many of the newest. ``weekly``, ``monthly``: the newest of each of so many
    weeks and months, without WAL after its end. ``minimum_backups``, ``minimum_days``: rails below all rules: so many base backups,
    and the newest that is at least so many days old, with all WAL since.
    """

    days: int = 14
    backups: int = 0
    weekly: int = 0
    monthly: int = 0
    minimum_backups: int = 2
    minimum_days: int = 7


@dataclass(frozen=True)
class Verification:
    """Every object is read back once within ``days`` (0: none is), at most at ``rate`` bytes a second (0: no limit)."""

    days: int = 30
    rate: int = 0


@dataclass(frozen=True)
class Hooks:
    """Who is told. ``failure_command``: words of a command; ``webhook``: gets JSON on failure; ``ping``: is fetched after success.

    ``timeout`` in seconds, for each.
    """

    failure_command: tuple[str, ...] = ()
    webhook: str = ""
    ping: str = ""
    timeout: int = 10


@dataclass(frozen=True)
class JobSpec:
    """All of it. ``check_minutes``: how often the archive's health is looked at; ``heartbeat``: whether a check writes a little WAL.

    ``pressure_limit``: bytes of waiting WAL beyond which it is given up where ``wal_pressure`` is drop (0: as much as is free).
    ``metrics_dir``: where the Prometheus textfile goes ("": nowhere).
    """

    backup: BackupRule | None = field(default_factory=BackupRule)
    retention: Retention | None = field(default_factory=Retention)
    verification: Verification = field(default_factory=Verification)
    hooks: Hooks = field(default_factory=Hooks)
    check_minutes: int = 5
    heartbeat: bool = True
    wal_pressure: str = "alarm"
    pressure_limit: int = 0
    metrics_dir: str = ""


_PARTS = {"backup": BackupRule, "retention": Retention, "verification": Verification, "hooks": Hooks}


def spec_path(config_dir: str, name: str) -> str:
    """Return the path of an instance's file."""
    return os.path.join(config_dir, f"{name}.job.json")


def render(spec: JobSpec) -> str:
    """Return the file's text."""
    return json.dumps(asdict(spec), indent=2, sort_keys=True) + "\n"


def parse(text: str, path: str) -> JobSpec:
    """Read a file's text. Raises WalgError when it is not one."""
    try:
        told = json.loads(text)
        parts = {name: made(part, told[name]) for name, part in _PARTS.items() if name in told}
        found: JobSpec = made(JobSpec, {**told, **parts})
    except (ValueError, TypeError, AttributeError) as exc:
        raise WalgError(f"{path} is damaged ({exc}): run the role mapswipe.walg.walg_backup, which writes it.") from exc
    return found


def made(kind: Any, told: Mapping[str, Any] | None) -> Any:
    """Make a part from what is given for it; None stays none. Raises TypeError or ValueError for what does not belong to it."""
    if told is None:
        return None
    defaults = {one.name: getattr(kind(), one.name) for one in fields(kind)}
    unknown = sorted(set(told) - set(defaults))
    if unknown:
        raise ValueError(f"{unknown[0]} is not known")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
    for name, value in values.items():
        wrong = isinstance(defaults[name], (int, str, bool)) and not isinstance(value, type(defaults[name]))
        if wrong or isinstance(value, bool) != isinstance(defaults[name], bool):
            raise ValueError(f"{name} can't be {value!r}")
    return kind(**values)


#: What was read outside of a container, by instance, or why it could not be.
_remembered: dict[str, JobSpec | WalgError] = {}


def remember(config_dir: str, name: str) -> None:
    """Read the file of an instance in a container before going inside, where it is not: load() answers with it then."""
    try:
        _remembered[name] = load(config_dir, name)
    except WalgError as exc:
        _remembered[name] = exc


def load(config_dir: str, name: str, owner: int = 0) -> JobSpec:
    """Return what an instance's job does; the defaults where no file is. Raises WalgError for a damaged one.

    ``owner``: the number of the user whose file it may be besides root's: the cluster's owner, unless the server is in a container.
    """
    known = _remembered.get(name) if _inside.current() else None
    if isinstance(known, WalgError):
        raise known
    if known is not None:
        return known
    path = spec_path(config_dir, name)
    text = read_text(path)
    if text is None:
        return JobSpec()
    _trust.refuse_loose(config_dir, "The job's file")
    _trust.refuse_loose(path, "The job's file", owner)
    return parse(text, path)
