# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's start without a service manager and without a shell: pg_ctl hands directory, log and options to one."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

from .._errors import WalgError
from . import _launch

if TYPE_CHECKING:
    from .._host._process import Runner
    from ._cluster import Cluster

#: What a shell expands or ends at between double quotes, which is where pg_ctl puts a name.
_EXPANDED = re.compile(r"[\"$`\\\n]")


def start(runner: Runner, cluster: Cluster, log: str, launch: _launch.Launch | None) -> None:
    """Start a server the way it was started; whether it comes up is another question. Raises WalgError."""
    owner, directory = cluster.owner(), {"PGDATA": cluster.start_dir or cluster.data_dir}  # pg_ctl sets it, too
    cwd = _launch.cwd_of(cluster.start_environment) or "/"
    if launch and launch.environment:
        env = {**directory, **launch.environment}
        runner.launch(_words(cluster), output=log, user=owner, env=env, bare=True, cwd=cwd)
        return
    # Its own language and not ours: empty means unset, and a locale that we bring would be recorded as its own afterwards.
    env = {"LANG": "", "LC_ALL": "", **directory, **_launch.variables(cluster.start_environment)}
    runner.launch(_words(cluster), output=log, user=owner, env=env, cwd=cwd)


def command(cluster: Cluster, log: str) -> str:
    """Return a command for a person that starts the server the way it was."""
    cwd = _launch.cwd_of(cluster.start_environment)
    shown = f"cd {shlex.quote(cwd)} && " if cwd else ""
    shown += f"{cluster.start_environment} " if cluster.start_environment else ""
    directory = cluster.start_dir or cluster.data_dir
    if _EXPANDED.search(directory + log):
        return f"{shown}nohup {shlex.join(_words(cluster))} </dev/null >>{shlex.quote(log)} 2>&1 &"
    options = ["-o", cluster.start_options] if cluster.start_options else []
    program = os.path.join(cluster.bin_dir, "pg_ctl")
    return shown + shlex.join([program, "-D", directory, "-W", "-l", log, *options, "start"])


def refuse_expanded(cluster: Cluster) -> None:
    """Raise WalgError where a manager that starts the server by pg_ctl would start another one, or run what a name says."""
    manager = cluster.service
    if manager.startswith(("pg_ctlcluster:", "systemd:postgresql@")) and _EXPANDED.search(cluster.data_dir):
        raise WalgError(
            f"The name of the data directory {cluster.data_dir!r} has a character that a shell expands, and {manager} starts the server "
            "through one (pg_ctl). Give the directory another name, or set walg_pg_service to pg_ctl, which is done without a shell here.",
            found=cluster.data_dir,
        )


def _words(cluster: Cluster) -> list[str]:
    program = os.path.join(cluster.bin_dir, "postgres")
    return [program, "-D", cluster.start_dir or cluster.data_dir, *shlex.split(cluster.start_options)]
