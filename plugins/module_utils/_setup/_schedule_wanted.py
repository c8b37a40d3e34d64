# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an instance's job should be scheduled on this host, for a server here or in a container."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._backup import _retention_state, _schedule, _timer
from .._host import _files, _trust
from .._host._users import User, call_as
from .._instance import _directories, _job_spec
from .._walg._settings import Settings
from . import _metrics_link

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._container._placed import Placed
    from .._instance._record import Instance


@dataclass(frozen=True)
class Wanted:
    """What should be there. ``metrics``: the file that a link leads to, "" where the job itself writes where node_exporter looks.

    ``link_dir``: where the link is, if that is not where the job writes (``metrics_dir``). ``plan_shown``: whether a play has shown
    what these rules of retention would delete first; what a container has noted of that is not asked here.
    """

    job: _schedule.Job
    spec: _job_spec.JobSpec
    spec_owner: User
    scheduler: str  # cron or timer
    cron_dir: str
    reach: _timer.Reach
    metrics: str = ""
    link_dir: str = ""
    warnings: list[str] = field(default_factory=list)
    plan_shown: bool = False


def of_host(instance: Instance, spec: _job_spec.JobSpec, params: Mapping[str, Any]) -> Wanted:
    """Return what should be there for a server on this host. ``params``: the options of walg_schedule."""
    user = instance.cluster.os_user
    job = _schedule.Job(instance.name, user, instance.program_dir, instance.config_dir, socket.gethostname())
    placed = replace(spec, metrics_dir=_metrics_link.directory_of(spec.metrics_dir))
    settings = Settings.read(_files.read_text(instance.settings_file)).values
    return Wanted(
        job,
        placed,
        instance.owner,
        params["scheduler"],
        params["cron_dir"],
        reach_of(instance, settings, spec),
        instance.files.metrics,
        plan_shown=call_as(instance.owner, _plan_shown, instance, spec),
    )


def _plan_shown(instance: Instance, spec: _job_spec.JobSpec) -> bool:
    return spec.retention is None or _retention_state.was_shown(instance, spec.retention)


def of_container(placed: Placed, spec: _job_spec.JobSpec, params: Mapping[str, Any]) -> Wanted:
    """Return the same for a server in a container: root starts the job on the machine, and writes the metrics, which are in the kit."""
    config_dir = params["config_dir"]
    job = _schedule.Job(placed.instance, "root", placed.program_dir, config_dir, socket.gethostname())
    reads = [config_dir, placed.program_dir, placed.project_dir, placed.kit, sys.executable]
    reads += spec.hooks.failure_command[:1]
    directory = _metrics_link.directory_of(spec.metrics_dir)
    warnings, link_dir, metrics = [], "", ""
    if spec.metrics_dir == "auto" and directory and _trust.is_loose(directory):
        if os.stat(directory).st_uid in (0, os.geteuid()):
            warnings, directory = [_metrics_link.NOT_ROOTS.format(directory)], ""
        else:  # root writes into its own, and the link is made with the rights of the directory's owner
            link_dir, directory = directory, os.path.dirname(_directories.of_instance(placed.instance, {})["state_dir"])
            metrics = _metrics_link.link_path(directory, placed.instance)
    reach = _timer.Reach(_real(reads), _real([placed.kit, directory]), enters=True)
    placed_spec = replace(spec, metrics_dir=directory)
    return Wanted(
        job,
        placed_spec,
        User.current(),
        params["scheduler"],
        params["cron_dir"],
        reach,
        metrics,
        link_dir,
        warnings,
    )


def reach_of(instance: Instance, settings: Mapping[str, str], spec: _job_spec.JobSpec) -> _timer.Reach:
    """Return the paths that a job on this host needs. ``settings``: WAL-G's, some of which name files."""
    cluster, prefix = instance.cluster, settings.get("WALG_FILE_PREFIX", "")
    named = [value for value in (*settings.values(), *instance.environment.values()) if value.startswith("/")]
    reads = [instance.config_dir, instance.program_dir, instance.binary, sys.executable]
    reads += [cluster.data_dir, cluster.socket_dir, instance.owner.home, *named, *spec.hooks.failure_command[:1]]
    writes = [instance.state_dir, instance.log_dir, *([prefix] if prefix else [])]
    return _timer.Reach(_real(reads), _real(writes))


def _real(found: list[str]) -> tuple[str, ...]:
    """Return paths without links in them, since systemd closes the directories that they lead to."""
    return tuple(dict.fromkeys(os.path.realpath(path) for path in found if path.startswith("/")))
