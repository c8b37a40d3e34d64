# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that recovers in a directory beside the real one: private socket, no TCP, archiving held.

PostgreSQL is started directly and not by pg_ctl: there is no time limit on a recovery. The cluster's own settings stand in a
private file, what makes them harmless goes as arguments, where it overrides what an old postgresql.auto.conf says.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import tempfile
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from .._archive import _recorded
from .._errors import WalgError
from .._host import _facts, _files
from .._host._files import read_conf, read_tail, write_atomic
from .._host._users import call_as
from .._postgres import _conf, _data_dir, _recovery, _server, _servers, _targets, _wal
from .._postgres._server import Server
from . import _recovery_settings
from ._own_settings import Own

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._host._process import Background, Runner
    from .._instance._record import Instance
    from .._postgres._cluster import Cluster

PORT = "5432"  # names the socket file only: the directory is private and there is no TCP
_STRAY_TIMEOUT = 30.0
_STOP_TIMEOUT = 600.0  # seconds for the last checkpoint
_PART = 10  # what waiting may add to a recovery's time: one part in so many
_LOG_BYTES = 256 * 1024
#: What PostgreSQL says when it can't be read during recovery, or stops since its limits are below the primary's.
_UNREADABLE = re.compile(
    r"hot standby is not possible|insufficient parameter settings|could not create semaphores|could not map anonymous shared memory"
)
_TELLING = re.compile(r"FATAL|PANIC|mapswipe\.walg|HINT")
#: What our own questions are answered meanwhile, and that archiving is held (_recovery.HELD).
_POLLED = re.compile(r"FATAL: +(the database system is |archive command failed)")
_REPLAYING = re.compile(r"(?:recovering|waiting for) ([0-9A-F]{24})")
_ASK = """
SELECT json_build_object('recovery', pg_is_in_recovery(), 'lsn', pg_last_wal_replay_lsn()::text,
  'time', pg_last_xact_replay_timestamp()::text, 'paused', CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END)
"""
_SUPERUSER = """
SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY rolname <> current_user, oid LIMIT 1
"""
_CUT_OFF = "UPDATE pg_subscription SET subenabled = false, subslotname = NULL"


class UnreadableError(WalgError):
    """The server can't be read during recovery; without that it would go on."""


#: How a recovery ends.
Ended = Literal["promoted", "following", "paused", "shut down"]


@dataclass
class RecoveryServer:
    """One such server. ``socket_dir`` is a short private directory: a socket's path has 107 bytes at most."""

    runner: Runner
    instance: Instance
    directory: str
    major: int
    socket_dir: str
    own: Own = field(default_factory=Own)  # the cluster's own settings
    process: Background | None = None
    readable: bool = False
    follow_until: int = 0  # LSN that a standby has to pass
    seen: dict[str, Any] | None = None  # where replay was when it was last asked

    @property
    def log(self) -> str:
        """The server's log, kept after the run."""
        return os.path.join(self.instance.state_dir, "recovery.log")

    def cluster(self) -> Cluster:
        """The cluster as this server serves it."""
        return replace(self.instance.cluster, data_dir=self.directory, socket_dir=self.socket_dir, port=PORT)

    def server(self) -> Server:
        """Return the client for questions to it."""
        return Server(self.runner, self.cluster())

    def prepare(self, recovery: _recovery.Recovery, wished: Mapping[str, str]) -> None:
        """Clear leftovers of the backup's time and write what makes PostgreSQL recover.

        ``wished``: settings of the request, which stay in the restored cluster.
        """
        conf = _conf.settings_text(_recovery_settings.kept(self.own))
        directories = self.directory, self.socket_dir, self.log
        call_as(self.instance.owner, _prepare, *directories, dict(recovery.files), conf, dict(wished))

    def start(self, recovery: _recovery.Recovery, limits: Mapping[str, int] | None) -> None:
        """Start it and return at once. ``limits``: it can be read during recovery; None: it can't."""
        looked = _data_dir.inspect(self.directory, self.instance.owner)
        place = _recovery_settings.ServerPlace(PORT, self.socket_dir, self.directory, looked.segment_size)
        harmless = _recovery_settings.overrides(self.major, place, self.own, limits, _facts.memory_left())
        settings = {**harmless, **recovery.settings}
        if call_as(self.instance.owner, _data_dir.in_place_tablespaces, self.directory):
            # Recovery ends at such a directory otherwise. Elsewhere it stays off: a tablespace that is missing must not be made up.
            settings["allow_in_place_tablespaces"] = "on"
        argv = [os.path.join(self.instance.cluster.bin_dir, "postgres"), "-D", self.directory]
        for name in sorted(settings):
            argv += ["-c", f"{name}={settings[name]}"]
        self.readable = limits is not None
        self.process = self.runner.start(argv, output=self.log, user=self.instance.owner, cwd=self.directory)

    def wait(self, action: str, target: _targets.Target, timeout: float) -> Ended:
        """Wait until it has promoted, paused, shut down, or follows the archive; returns which.

        Raises WalgError with the end of the log otherwise.
        """
        process = self._started()
        began = time.monotonic()
        while True:
            code = process.poll()
            if code is not None:
                if action == "shutdown" and code == 0 and _targets.proof(self.lines(), target):
                    return "shut down"
                self._explain_end(code, target)
            state = self._state(target, action)
            if state:
                return state
            spent = time.monotonic() - began
            if spent > timeout:
                raise WalgError(f"Recovery in {self.directory} did not end within {timeout:.0f} s.", log=self.tail())
            if self.runner.tick:
                self.runner.tick()
            time.sleep(min(max(spent / _PART, 0.05), 1.0))

    def _state(self, target: _targets.Target, action: str) -> Ended | None:
        answer = self.server().run_sql(_ASK)
        if answer.rc != 0 or not answer.stdout.strip():
            return None
        self.seen = dict(json.loads(answer.stdout))
        seen = self.seen
        if not seen["recovery"]:
            return "promoted"
        if action == "follow" and seen["lsn"] and _wal.parse_lsn(seen["lsn"]) > self.follow_until:
            return "following"
        if seen["paused"]:
            if _targets.proof(self.lines(), target):
                return "paused"
            if _UNREADABLE.search("\n".join(self.lines())):
                raise UnreadableError(f"Recovery in {self.directory} paused: {self.reason()}", log=self.tail())
        return None

    def _explain_end(self, code: int, target: _targets.Target) -> None:
        lines = self.lines()
        if self.readable and _UNREADABLE.search("\n".join(lines)):
            raise UnreadableError(f"PostgreSQL can't be read during this recovery: {self.reason()}", log=self.tail())
        if _targets.ended_early(lines):
            raise _targets.not_reached(target, *_targets.ended_at(lines), log=self.tail())
        raise WalgError(
            f"Recovery in {self.directory} stopped: PostgreSQL ended with {code}. {self.reason()}", log=self.tail()
        )

    def where(self) -> dict[str, Any]:
        """Say how far replay is, for whoever watches: by asking, else by the title of the process that replays."""
        found = {"replayed_lsn": self.seen["lsn"], "replayed_time": self.seen["time"]} if self.seen else {}
        segment = next((match.group(1) for match in map(_REPLAYING.search, self._titles()) if match), None)
        return {**found, **({"replaying": segment} if segment else {})}

    def _titles(self) -> list[str]:
        return _servers.titles_of_children(self.process.pid) if self.process else []

    def position(self) -> dict[str, Any]:
        """Say where it stands: identifier, timeline, replayed LSN, last replayed commit's time, ICU."""
        server = self.server()
        facts = server.facts()
        replayed = server.ask_json(_ASK)
        return {
            "system_identifier": facts.system_identifier,
            "timeline": facts.timeline,
            "replayed_lsn": replayed["lsn"],
            "last_commit": replayed["time"],
            "icu": server.ask(_server.ICU_VERSION),
        }

    def prove(self) -> dict[str, Any]:
        """Make it write, and say where it stands."""
        self.server().ask("SELECT txid_current()")  # assigns a transaction id: refused on a server that can't write
        return self.position()

    def subscriptions(self, *, cut_off: bool) -> list[dict[str, Any]]:
        """Return the cluster's subscriptions, in all of its databases. ``cut_off``: disable them, and have them forget their slots.

        A copy's would take the changes that are meant for the cluster it was made from, and dropped they would drop its slots.
        By the shared catalog: ALTER SUBSCRIPTION works in one database only, and some take no connections.
        """
        server = self.server()
        found = _recorded.subscriptions(server)
        if cut_off and found:
            role = server.ask(_SUPERUSER) or self.instance.cluster.user
            Server(self.runner, replace(self.cluster(), user=role)).ask(_CUT_OFF)
        return found

    def stop(self) -> None:
        """Stop it cleanly, so that the real start needs no recovery."""
        code = self._started().stop(signal.SIGINT, _STOP_TIMEOUT)
        looked = _data_dir.inspect(self.directory, self.instance.owner)
        if code != 0 or not looked.clean:
            raise WalgError(
                f"The recovered server in {self.directory} did not stop cleanly (exit {code}).", log=self.tail()
            )

    def _started(self) -> Background:
        if self.process is None:
            raise WalgError(f"No server was started in {self.directory}.")
        return self.process

    def kill(self) -> None:
        """End it whatever it does; for the way out of an error."""
        if self.process is not None and self.process.poll() is None:
            self.process.stop(signal.SIGQUIT, 10.0)

    def lines(self) -> list[str]:
        """Return the lines of its log, the last of them where it is long."""
        return list(call_as(self.instance.owner, read_tail, self.log, _LOG_BYTES).splitlines())

    def tail(self, lines: int = 40) -> list[str]:
        """Return the last lines of its log."""
        return self.lines()[-lines:]

    def reason(self) -> str:
        """Return the log's last lines that say why."""
        telling = [line for line in self.tail() if _TELLING.search(line) and not _POLLED.search(line)]
        return " | ".join(telling[-3:]) or f"See {self.log}."


def make_socket_dir(instance: Instance) -> str:
    """Make the private directory, as the owner."""
    return str(call_as(instance.owner, _mkdtemp))


def remove_directory(instance: Instance, path: str) -> None:
    """Remove a directory tree of ours, as the owner."""
    if path:
        call_as(instance.owner, _files.remove_tree, path)


def stop_stray(directory: str, binary: str) -> None:
    """End what a killed run left behind in ``directory``: WAL-G, a server, its wrappers. Nothing of it is kept."""
    names = ("postgres", "wal-fetch", os.path.basename(binary))
    began = time.monotonic()
    while time.monotonic() < began + _STRAY_TIMEOUT:
        left = _servers.workers_on(directory, names)
        if not left:
            return
        # QUIT lets PostgreSQL give its shared memory back.
        harsh = time.monotonic() > began + 5
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if harsh else signal.SIGQUIT)
        time.sleep(0.1)
    raise WalgError(
        f"Processes of a killed restore still work in {directory}: {_servers.workers_on(directory, names)}."
    )


def stop_left_running(directory: str, timeout: float = 120.0) -> None:
    """Stop the server that an earlier run left paused in ``directory``, gently; none is fine."""
    began = time.monotonic()
    told = False
    while True:
        servers = _servers.servers_on(directory)
        if not servers:
            return
        if time.monotonic() > began + timeout:
            raise WalgError(f"The paused server in {directory} (pid {servers}) does not stop; end it, then run again.")
        if not told:
            for pid in servers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            told = True
        time.sleep(0.1)


def _mkdtemp() -> str:
    return tempfile.mkdtemp(prefix="mapswipe-walg-", dir="/tmp")  # TMPDIR may be closed to this user, and is long


def _prepare(directory: str, private: str, log: str, files: dict[str, str], conf: str, wished: dict[str, str]) -> None:
    _files.remove_files(directory, _recovery.LEFTOVERS)
    auto_conf = os.path.join(directory, "postgresql.auto.conf")
    text = read_conf(auto_conf)
    wanted = _recovery.with_settings(_recovery.scrub(text or ""), wished)
    if wanted != (text or ""):
        write_atomic(auto_conf, wanted)
    write_atomic(os.path.join(private, "postgresql.conf"), conf)
    write_atomic(os.path.join(private, "pg_hba.conf"), "local all all trust\n")  # the directory is 0700
    write_atomic(os.path.join(private, "pg_ident.conf"), "")
    write_atomic(log, "")
    for name, content in files.items():
        write_atomic(os.path.join(directory, name), content)
