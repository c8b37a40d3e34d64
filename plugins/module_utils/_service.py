# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who starts and stops a cluster's server: what a manager started, that manager stops. Private to this collection.

Written as one word or word:argument in ``walg_pg_service``:
``systemd:UNIT``, ``pg_ctl``, ``command:/path`` (called with start or stop), ``none`` (nobody we may call).
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import _data_dir
from ._errors import WalgError
from ._postgres import Server, wait_until

if TYPE_CHECKING:
    from ._instance import Cluster
    from ._process import Result, Runner

KINDS = ("systemd", "pg_ctl", "command", "none")
_UNIT = re.compile(r"/([^/]+\.service)$")


def parse(text: str) -> tuple[str, str]:
    """Split a service word into kind and argument. Raises WalgError on an unknown one."""
    kind, _colon, argument = text.partition(":")
    if kind not in KINDS:
        raise WalgError(f"Unknown service {text!r}; wanted systemd:UNIT, pg_ctl, command:/path or none.")
    if (kind in ("systemd", "command")) != bool(argument):
        raise WalgError(
            f"Service {text!r}: systemd and command take an argument (systemd:UNIT, command:/path), the others none."
        )
    if kind == "command" and not os.path.isabs(argument):
        raise WalgError(f"Service {text!r}: the command has to be an absolute path.")
    return kind, argument


def detect(runner: Runner, pid: int) -> str:
    """Return the service word for a running postmaster: the systemd unit whose main process it is, else pg_ctl.

    The control group alone does not prove it: a server started by hand from a unit's shell lies in that unit's group.
    """
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as stream:
            paths = [line.strip().split(":", 2)[2] for line in stream]
    except (OSError, IndexError):
        return "pg_ctl"
    for path in paths:
        match = _UNIT.search(path)
        if not match or not os.path.isdir("/run/systemd/system"):
            continue
        shown = runner.run(["systemctl", "show", "-p", "MainPID", "--value", match.group(1)], timeout=30)
        if shown.rc == 0 and shown.stdout.strip() == str(pid):
            return f"systemd:{match.group(1)}"
    return "pg_ctl"


@dataclass(frozen=True)
class Service:
    """Start and stop one cluster's server. ``log``: where pg_ctl sends the server's output."""

    runner: Runner
    cluster: Cluster
    log: str
    timeout: float = 300.0

    def start(self) -> None:
        """Start the server through its manager and wait until it takes connections. Raises WalgError."""
        kind, argument = parse(self.cluster.service or "pg_ctl")
        if kind == "systemd":
            self._check(self.runner.run(["systemctl", "start", argument], timeout=self.timeout), "start")
        elif kind == "command":
            self._check(self.runner.run([argument, "start"], user=None, timeout=self.timeout), "start")
        elif kind == "pg_ctl":
            self._check(self._pg_ctl(["-W", "-l", self.log, *self._options(), "start"]), "start")
        else:
            raise WalgError(
                f"Nobody is named who starts the server on {self.cluster.data_dir}: set walg_pg_service, or start it yourself."
            )
        self.wait_ready()

    def stop(self) -> None:
        """Stop the server through its manager, in fast mode and never harder. Raises WalgError."""
        kind, argument = parse(self.cluster.service or "pg_ctl")
        if kind == "systemd":
            self._check(self.runner.run(["systemctl", "stop", argument], timeout=self.timeout), "stop")
        elif kind == "command":
            self._check(self.runner.run([argument, "stop"], timeout=self.timeout), "stop")
        elif kind == "pg_ctl":
            self._check(self._pg_ctl(["-m", "fast", "-w", "-t", str(int(self.timeout)), "stop"]), "stop")
        else:
            raise WalgError(
                f"Nobody is named who stops the server on {self.cluster.data_dir}: set walg_pg_service, or stop it yourself."
            )

    def restart(self) -> None:
        """Stop and start; the options of a pg_ctl start are kept."""
        found = _data_dir.look(self.cluster.data_dir, self.cluster.owner())
        options = found.start_options or self.cluster.start_options
        service = replace(self, cluster=replace(self.cluster, start_options=options))
        service.stop()
        service.start()

    def wait_ready(self) -> None:
        """Wait until the server takes connections. Raises WalgError with the end of its log."""
        server = Server(self.runner, self.cluster)
        if not wait_until(server.ready, self.timeout):
            raise WalgError(
                f"The server on {self.cluster.data_dir} was started, but takes no connections at "
                f"{self.cluster.socket_dir}:{self.cluster.port} after {self.timeout:.0f} s. Read its log: {self.log}"
            )

    def _options(self) -> list[str]:
        return ["-o", self.cluster.start_options] if self.cluster.start_options else []

    def _pg_ctl(self, arguments: list[str]) -> Result:
        # pg_ctl hands -o to a shell; the options come from PostgreSQL's own postmaster.opts or are quoted by us.
        argv = [os.path.join(self.cluster.bin_dir, "pg_ctl"), "-D", self.cluster.data_dir, *arguments]
        return self.runner.run(argv, user=self.cluster.owner(), timeout=self.timeout + 30, cwd="/")

    def _check(self, result: Result, verb: str) -> None:
        if result.rc != 0 or result.timed_out:
            trouble = "ran out of time" if result.timed_out else f"ended with {result.rc}: {result.last_line()}"
            raise WalgError(
                f"Cannot {verb} the server on {self.cluster.data_dir}: `{shlex.join(result.argv)}` {trouble}",
                **result.fields(),
            )
