# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who starts and stops a cluster's server: what a manager started, that manager stops.

Written as one word or word:argument in ``walg_pg_service``:
``systemd:UNIT``, ``pg_ctlcluster:VERSION/NAME`` (Debian without systemd), ``pg_ctl``, ``command:/path`` (called with
start or stop), ``none`` (nobody we may call). What runs in a container that is worked in from outside is ``container``: found, never given.

A restore holds the manager off while it works: ``hold``, then ``stop``, and ``start``, which ends the hold. One that a killed run
left is taken over by the next run's and ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _inside, _trust
from .._host._files import read_tail, write_atomic
from .._host._users import call_as
from .._host._waiting import wait_until
from . import _by_hand, _data_dir, _debian, _launch, _servers, _supervisor
from ._server import Server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._host._process import Result, Runner
    from ._cluster import Cluster

KINDS = ("systemd", "pg_ctlcluster", "pg_ctl", "command", "container", "none")
_WITH_ARGUMENT = ("systemd", "pg_ctlcluster", "command")
_CLUSTER = re.compile(rf"([0-9]+)/({_debian.NAME})\Z", re.ASCII)
_IDENTITY = """
SELECT json_build_object('data_directory', current_setting('data_directory'),
  'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
  'started', extract(epoch FROM pg_postmaster_start_time()))
"""
_CLOCK_SLACK, _START_SLACK = 5.0, 600.0  # seconds between the start in a pid file and the one that the server tells
_LOG_LINES, _LOG_BYTES = 10, 64 * 1024
_UNITS = "/run/systemd/system"
_GONE = 10.0  # seconds after which a server that vanished while starting is given up, and for a stop to show

#: Restart=no alone would not do: another unit or a package's upgrade may start this one. The condition is the file itself:
#: `systemctl status` names it, and its removal is enough to end the hold.
_DROP_IN = """\
# The Ansible collection mapswipe.walg restores this cluster and holds its unit meanwhile. The restore removes this file,
# also when it fails; after one that was killed, run it again, or remove this file and run: systemctl daemon-reload
[Unit]
AssertPathExists=!{path}
[Service]
Restart=no
"""


def parse(text: str) -> tuple[str, str]:
    """Split a service word into kind and argument. Raises WalgError on an unknown one."""
    kind, _colon, argument = text.partition(":")
    if kind not in KINDS:
        raise WalgError(
            f"Unknown service {text!r}; expected systemd:UNIT, pg_ctlcluster:VERSION/NAME, pg_ctl, command:/path or none."
        )
    if (kind in _WITH_ARGUMENT) != bool(argument):
        raise WalgError(
            f"Service {text!r}: systemd, pg_ctlcluster and command take an argument (systemd:UNIT, "
            "pg_ctlcluster:VERSION/NAME, command:/path), the others none."
        )
    if kind == "command" and not os.path.isabs(argument):
        raise WalgError(f"Service {text!r}: the command must be an absolute path.")
    if kind == "systemd" and ("/" in argument or argument.startswith("-")):
        raise WalgError(f"Service {text!r}: expected the name of a unit, such as postgresql@13-main.service.")
    if kind == "pg_ctlcluster" and not _CLUSTER.match(argument):
        raise WalgError(f"Service {text!r}: expected version and name as pg_lsclusters shows them, such as 13/main.")
    return kind, argument


def detect(runner: Runner, pid: int) -> str:
    """Return the service word for a running postmaster: its systemd unit, none if it is supervised otherwise, or pg_ctl."""
    if _inside.current():
        return "container"
    unit = _supervisor.unit_of(runner, pid)
    if unit:
        return f"systemd:{unit}"
    return "none" if _supervisor.supervisor(pid) else "pg_ctl"


def hold_file(unit: str) -> str:
    """Return the drop-in that holds a unit; it does not outlive the boot."""
    return os.path.join(_UNITS, f"{unit}.d", "90-mapswipe-walg-restore.conf")


@dataclass(frozen=True)
class Service:
    """Start and stop one cluster's server. ``log``: where pg_ctl sends the server's output.

    ``timeout`` (seconds) bounds the manager's calls and the wait for a server that is not in recovery; a recovery at
    start is waited for up to ``recovery_timeout``.
    """

    runner: Runner
    cluster: Cluster
    log: str
    timeout: float = 300.0
    recovery_timeout: float = 86400.0
    launch: _launch.Launch | None = None  # how the server was started by hand, all of its variables included

    @property
    def managed(self) -> bool:
        """Somebody is named who starts and stops it. Where nobody is, a restore ends with a stopped server."""
        return self._kind()[0] not in ("none", "container")

    @property
    def in_container(self) -> bool:
        """The container is started and stopped from outside."""
        return self._kind()[0] == "container"

    def start(self) -> None:
        """Start the server through its manager and wait until it takes connections. Ends a hold. Raises WalgError."""
        if self.in_container:
            _inside.ask("start")
            return
        try:
            self._start()
        except WalgError as exc:
            exc.msg += self._end_of_log()
            raise

    def _start(self) -> None:
        kind, argument = self._kind()
        if kind == "none":
            raise WalgError(
                f"Don't know how to start the server on {self.cluster.data_dir}: start it yourself, or set walg_pg_service."
            )
        self.release()
        if kind == "systemd":
            # A server that crashed again and again has used up its unit's right to start.
            self.runner.run(["systemctl", "reset-failed", argument], timeout=30)
            result = self.runner.run(["systemctl", "start", argument], timeout=self.timeout)
        elif kind == "pg_ctlcluster":
            _debian.make_socket_dir()
            result = self._pg_ctlcluster(argument, "start")
        elif kind == "command":
            result = self._call(argument, "start")
        else:
            result = None
            _by_hand.start(self.runner, self.cluster, self._log_file(), self.launch)
        # A manager that gives up waiting leaves the server in its recovery.
        if result and _failed(result) and not _servers.servers_on(self.cluster.data_dir):
            self._fail(result, "start")
        self.wait_ready()
        if kind == "systemd" and not wait_until(lambda: self._active(argument), _GONE):
            raise WalgError(
                f"The server on {self.cluster.data_dir} runs, but the unit {argument} is not active: somebody else started it. "
                f"Stop it and run: systemctl start {argument}"
            )

    def stop(self) -> None:
        """Stop the server through its manager, in fast mode and never harder. Raises WalgError."""
        if self.in_container:
            _inside.ask("stop")
            return
        kind, argument = self._kind()
        told = _servers.servers_on(self.cluster.data_dir) if kind == "pg_ctl" else []
        if kind == "systemd":
            result = self.runner.run(["systemctl", "stop", argument], timeout=self.timeout)
        elif kind == "pg_ctlcluster":
            result = self._pg_ctlcluster(argument, "stop", "-m", "fast")
        elif kind == "command":
            result = self._call(argument, "stop")
        elif kind == "pg_ctl":
            result = self._pg_ctl(["-m", "fast", "-w", "-t", str(int(self.timeout)), "stop"])
        else:
            self.refuse_unstoppable(_servers.servers_on(self.cluster.data_dir))
            raise WalgError(_nobody_stops(self.cluster.data_dir, ""))
        not_running = kind == "pg_ctlcluster" and result.rc == 2  # pg_ctlcluster(1)
        if kind == "pg_ctl":
            # It fails where the server came to its end meanwhile, by the stop of a killed run for instance.
            left = _servers.servers_on(self.cluster.data_dir)
            not_running = not left
            if _failed(result) and left and told and not set(told) & set(left):  # it waits for any server's end
                raise WalgError(
                    f"Somebody started the server on {self.cluster.data_dir} again (process {', '.join(map(str, left))}) while "
                    f"`{shlex.join(result.argv)}` waited for its end. Stop what starts it, then run again.",
                    pids=left,
                )
        if _failed(result) and not not_running:
            self._fail(result, "stop")
        if not wait_until(lambda: not _servers.servers_on(self.cluster.data_dir), _GONE):
            pids = ", ".join(map(str, _servers.servers_on(self.cluster.data_dir)))
            raise WalgError(
                f"`{shlex.join(result.argv)}` ended well, but a server (process {pids}) still runs on {self.cluster.data_dir}: "
                "somebody else started it. Stop it, or correct walg_pg_service."
            )

    def restart(self) -> None:
        """Stop and start; what was started by hand is started that way again. In a container, this process ends with it."""
        if self.in_container:
            _inside.ask("restart")
            return
        service = self.as_started()
        service.stop()
        service._start_stopped("restart")

    def as_started(self, config_file: str = "") -> Service:
        """Return the service that starts this cluster the way its running server was started. Raises WalgError if that can't be told.

        ``config_file``: as the server itself says it.
        """
        found = _data_dir.inspect(self.cluster.data_dir, self.cluster.owner())
        if self._kind()[0] != "pg_ctl" or not found.pid:
            return replace(
                self, cluster=replace(self.cluster, start_options=found.start_options or self.cluster.start_options)
            )
        launch = _launch.of(
            found.pid, self.cluster.data_dir, self.cluster.owner(), config_file or self._asked_config_file()
        )
        return replace(self, cluster=_launch.recorded(self.cluster, launch), launch=launch)

    def _asked_config_file(self) -> str:
        answer = Server(self.runner, self.cluster).run_sql("SHOW config_file")
        return answer.stdout.strip() if answer.rc == 0 else ""

    def _start_stopped(self, verb: str) -> None:
        """Start what we have stopped; where that fails, production is down, and the message must be enough to bring it up."""
        try:
            self._start()
        except WalgError as exc:
            if self._ended():
                exc.msg += (
                    f" Production on {self.cluster.data_dir} is down: it was stopped for a {verb}, and started as before by\n  "
                    f"{_by_hand.command(self.cluster, self._log_file())}"
                )
            exc.msg += self._end_of_log()
            raise

    def _ended(self) -> bool:
        """Say whether a server that we start by hand came to its end."""
        return self._kind()[0] == "pg_ctl" and not _servers.servers_on(self.cluster.data_dir)

    def _end_of_log(self) -> str:
        """Return what a server that we started by hand wrote before its end; empty while it runs, or if others keep its log."""
        if not self._ended():
            return ""
        tail = call_as(self.cluster.owner(), _last_lines, self._log_file())
        return f"\nThe last lines of its log {self._log_file()}:\n{tail}"

    def _log_file(self) -> str:
        return self.launch.log if self.launch and self.launch.log else self.log

    def refuse_unstoppable(self, pids: Sequence[int]) -> None:
        """Raise WalgError if these servers run and we can't stop them for good. For a plan that would stop them."""
        self.refuse_manager()
        kind, argument = self._kind()
        if not pids:
            return
        if kind in ("none", "pg_ctl", "pg_ctlcluster"):
            why = next((text for text in map(_supervisor.supervisor, pids) if text), "")
            if why or kind == "none":
                raise WalgError(_nobody_stops(self.cluster.data_dir, why), pids=list(pids))
        elif kind == "systemd" and not _servers.orphans(pids):
            main = _supervisor.main_process(self.runner, argument)
            if main not in pids:
                raise WalgError(
                    f"The server on {self.cluster.data_dir} (process {', '.join(map(str, pids))}) is not that of the unit "
                    f"{argument} (main process {main or 'none'}), so stopping the unit would not stop it. Correct walg_pg_service, "
                    "or stop the server and start it by its unit.",
                    pids=list(pids),
                )

    def refuse_manager(self) -> None:
        """Raise WalgError if whoever is named to start and stop the server is not to be called."""
        kind, argument = self._kind()
        _by_hand.refuse_expanded(self.cluster)
        if kind == "command":
            _trust.refuse_loose(argument, "The program of walg_pg_service")

    def hold(self) -> None:
        """Keep the manager from starting the server by itself: ``Restart=``, another unit, a package's upgrade.

        Only systemd does such things to a server that it was told to stop, or that was killed. Raises WalgError.
        """
        kind, unit = self._kind()
        if kind != "systemd":
            return
        path = hold_file(unit)
        if os.geteuid() != 0:
            policy = _supervisor.unit_property(self.runner, unit, "Restart")
            if policy in ("", "no"):
                return
            raise WalgError(
                f"The unit {unit} has Restart={policy}: systemd could start the server in the midst of the restore, and only "
                "root can hold it off. Run the play as root (become)."
            )
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_atomic(path, _DROP_IN.format(path=path), 0o644)
        except OSError as exc:
            raise WalgError(f"Cannot hold the unit {unit} off: {path}: {exc.strerror}") from exc
        reloaded = self.runner.run(["systemctl", "daemon-reload"], timeout=self.timeout)
        if _failed(reloaded):
            self.release()
            self._fail(reloaded, "hold off the unit of")

    def release(self) -> None:
        """End a hold, ours or one that a killed run left."""
        kind, unit = self._kind()
        path = hold_file(unit)
        if kind != "systemd" or os.geteuid() != 0 or not os.path.lexists(path):
            return
        os.unlink(path)
        with contextlib.suppress(OSError):  # somebody else's drop-ins stay
            os.rmdir(os.path.dirname(path))
        self.runner.run(["systemctl", "daemon-reload"], timeout=self.timeout)

    def wait_ready(self) -> None:
        """Wait until the server takes connections, through its recovery if it has one. Raises WalgError."""
        server, cluster = Server(self.runner, self.cluster), self.cluster
        began = time.monotonic()
        deadline, last = began + self.timeout, began + self.recovery_timeout
        # A program of somebody's own may return before the server is there; the other managers do not.
        patience = self.timeout if self._kind()[0] in ("command", "container") else min(self.timeout, _GONE)
        came, seen, pause = False, began, 0.1
        while not (server.ready() and not self._other()):
            looked, now = _data_dir.inspect(cluster.data_dir, cluster.owner()), time.monotonic()
            if looked.pid:
                came, seen, patience = True, now, _GONE
            if looked.status == "starting" and now < last:
                deadline = now + self.timeout
            if looked.pid and looked.port not in ("", cluster.port):
                raise self._elsewhere(looked)
            if now > seen + patience:
                fate = "ended again" if came else "did not come up"
                told = f"The server on {cluster.data_dir} was started and {fate}. Read its log{self._log()}."
                raise WalgError(told + self._other_answers())
            if now >= deadline:
                if looked.socket_dir not in ("", cluster.socket_dir):
                    raise self._elsewhere(looked)
                raise WalgError(
                    f"The server on {cluster.data_dir} is {looked.status or 'there'}, but takes no connections at "
                    f"{cluster.socket_dir}:{cluster.port} after {now - began:.0f} s. Read its log{self._log()}.{self._other_answers()}"
                )
            if self.runner.tick:
                self.runner.tick()
            time.sleep(pause)
            pause = min(pause * 1.5, 1.0)

    def _other_answers(self) -> str:
        other = self._other()
        return f" At {self.cluster.socket_dir}:{self.cluster.port} {other} answers instead." if other else ""

    def _other(self) -> str:
        """Say who answers where our server should, if it is another one; empty if it is ours or nobody answers."""
        cluster = self.cluster
        answer = Server(self.runner, cluster).run_sql(_IDENTITY)
        if answer.rc != 0 or answer.timed_out:
            return ""
        told, owner = json.loads(answer.stdout), cluster.owner()
        who = f"the server on {told['data_directory']} (system identifier {told['system_identifier']})"
        if told["system_identifier"] != _data_dir.inspect(cluster.data_dir, owner).system_identifier:
            return who
        started = float(call_as(owner, _data_dir.pid_file_start, cluster.data_dir))
        if started and not -_CLOCK_SLACK <= told["started"] - started <= _START_SLACK:
            return f"{who}, which is not the one of {cluster.data_dir}/postmaster.pid,"
        # A program of somebody's own may start it where its process is not seen from here.
        seen = self._kind()[0] == "command" or _servers.servers_on(cluster.data_dir)
        return "" if seen else f"{who}, none of whose processes works in {cluster.data_dir},"

    def _elsewhere(self, looked: _data_dir.DataDir) -> WalgError:
        """Its own configuration says where it listens; that of a restored cluster came with it."""
        told = f"{self.cluster.port} in {self.cluster.socket_dir}"
        return WalgError(
            f"The server on {self.cluster.data_dir} was started, and listens on port {looked.port} in "
            f"{looked.socket_dir or 'no directory'}, but this instance is configured for {told}. Correct walg_pg_port and "
            "walg_pg_socket_dir, or leave them out while it runs, and run the same command again.",
            found={"port": looked.port, "socket_dir": looked.socket_dir},
        )

    def _kind(self) -> tuple[str, str]:
        return parse(self.cluster.service or "pg_ctl")

    def _active(self, unit: str) -> bool:
        return self.runner.run(["systemctl", "is-active", unit], timeout=30).stdout.strip() == "active"

    def _log(self) -> str:
        """Where the server's log is, as far as we know."""
        kind, argument = self._kind()
        if kind == "pg_ctlcluster":
            return f" (/var/log/postgresql/postgresql-{argument.replace('/', '-')}.log)"
        if kind == "systemd":
            return f" (journalctl -u {argument}, /var/log/postgresql)"
        if kind == "container":
            return ": that of its container"
        return f": {self._log_file()}" if kind == "pg_ctl" else ""

    def _pg_ctl(self, arguments: list[str]) -> Result:
        argv = [os.path.join(self.cluster.bin_dir, "pg_ctl"), "-D", self.cluster.data_dir, *arguments]
        return self.runner.run(argv, user=self.cluster.owner(), timeout=self.timeout + 30, cwd="/")

    def _pg_ctlcluster(self, argument: str, *words: str) -> Result:
        """As the owner: what it reads and makes is in that user's directories."""
        argv = ["pg_ctlcluster", *argument.split("/"), *words]
        return self.runner.run(argv, user=self.cluster.owner(), timeout=self.timeout)

    def _call(self, program: str, verb: str) -> Result:
        _trust.refuse_loose(program, "The program of walg_pg_service")
        return self.runner.run([program, verb], timeout=self.timeout)

    def _fail(self, result: Result, verb: str) -> None:
        trouble = "ran out of time" if result.timed_out else f"ended with {result.rc}: {result.last_line()}"
        raise WalgError(
            f"Cannot {verb} the server on {self.cluster.data_dir}: `{shlex.join(result.argv)}` {trouble}",
            **result.fields(),
        )


def _failed(result: Result) -> bool:
    return result.rc != 0 or result.timed_out


def _nobody_stops(data_dir: str, why: str) -> str:
    reason = why or "walg_pg_service is none"
    return (
        f"Don't know how to stop the server on {data_dir}: {reason}. Stop it yourself, or set walg_pg_service: command:/path, a "
        "program that is called with `stop` and `start` and keeps the server down in between. If the server is its container's "
        "main process, stop the container from outside, and restore in another one that mounts the same volume."
    )


def _last_lines(path: str) -> str:
    """Return the last lines of a log, as far as it is there."""
    try:
        text = read_tail(path, _LOG_BYTES)
    except (OSError, WalgError) as exc:
        return f"({exc})"
    return "\n".join(text.splitlines()[-_LOG_LINES:])
