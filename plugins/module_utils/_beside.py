# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that recovers in a directory beside the real one: private socket, no TCP, archiving held. Private.

PostgreSQL is started directly and not by pg_ctl: there is no time limit on a recovery, and every setting goes as one
argument, where it wins over what an old postgresql.auto.conf says.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from . import _data_dir, _recovery
from ._errors import WalgError
from ._files import write_atomic
from ._postgres import Server
from ._process import call_as

if TYPE_CHECKING:
    from ._instance import Cluster, Instance
    from ._process import Background, Runner

_PORT = "5432"  # names the socket file only: the directory is private and there is no TCP
_STRAY_TIMEOUT = 30.0
_STOP_TIMEOUT = 600.0  # seconds for the last checkpoint


@dataclass
class Beside:
    """One such server. ``socket_dir`` is a short private directory: a socket's path has 107 bytes at most."""

    runner: Runner
    instance: Instance
    directory: str
    major: int
    socket_dir: str
    process: Background | None = None

    @property
    def log(self) -> str:
        """The server's log, kept after the run."""
        return os.path.join(self.instance.state_dir, "recovery.log")

    def cluster(self) -> Cluster:
        """The cluster as this server serves it."""
        return replace(self.instance.cluster, data_dir=self.directory, socket_dir=self.socket_dir, port=_PORT)

    def prepare(self, recovery: _recovery.Recovery) -> None:
        """Clear leftovers of the backup's time and write what makes PostgreSQL recover."""
        call_as(
            self.instance.cluster.owner(), _prepare, self.directory, self.socket_dir, self.log, dict(recovery.files)
        )

    def start(self, recovery: _recovery.Recovery) -> None:
        """Start it and return at once."""
        settings = {
            **_recovery.beside_settings(self.major, _PORT, self.socket_dir, self.socket_dir),
            **recovery.settings,
        }
        argv = [os.path.join(self.instance.cluster.bin_dir, "postgres"), "-D", self.directory]
        for name in sorted(settings):
            argv += ["-c", f"{name}={settings[name]}"]
        self.process = self.runner.start(argv, output=self.log, user=self.instance.cluster.owner(), cwd=self.directory)

    def wait_recovered(self, timeout: float) -> None:
        """Wait until recovery is over and the server writes. Raises WalgError with the end of the log when it stops."""
        process = self._started()
        server = Server(self.runner, self.cluster())
        deadline = time.monotonic() + timeout
        pause = 0.1
        while True:
            code = process.poll()
            if code is not None:
                raise WalgError(
                    f"Recovery in {self.directory} stopped: PostgreSQL ended with {code}. {self.reason()}",
                    log=self.tail(),
                )
            answer = server.run_sql("SELECT pg_is_in_recovery()")
            if answer.rc == 0 and answer.stdout.strip() == "f":
                return
            if time.monotonic() > deadline:
                raise WalgError(f"Recovery in {self.directory} did not end within {timeout:.0f} s.", log=self.tail())
            if self.runner.tick:
                self.runner.tick()
            time.sleep(pause)
            pause = min(pause * 1.5, 1.0)

    def prove(self) -> dict[str, Any]:
        """Make it write, and say where it stands: identifier, timeline, replayed LSN, last replayed commit's time."""
        server = Server(self.runner, self.cluster())
        server.ask("SELECT txid_current()")  # assigns a transaction id: refused on a server that can't write
        facts = server.facts()
        replayed = server.ask_json(
            "SELECT json_build_object('lsn', pg_last_wal_replay_lsn()::text, 'commit', pg_last_xact_replay_timestamp()::text)"
        )
        return {
            "system_identifier": facts.system_identifier,
            "timeline": facts.timeline,
            "replayed_lsn": replayed["lsn"],
            "last_commit": replayed["commit"],
        }

    def stop(self) -> None:
        """Stop it cleanly, so that the real start needs no recovery."""
        code = self._started().stop(signal.SIGINT, _STOP_TIMEOUT)
        looked = _data_dir.look(self.directory, self.instance.cluster.owner())
        if code != 0 or not looked.clean:
            raise WalgError(
                f"The recovered server in {self.directory} did not stop cleanly (exit {code}).", log=self.tail()
            )
        call_as(self.instance.cluster.owner(), remove_files, self.directory, _recovery.LEFTOVERS)

    def _started(self) -> Background:
        if self.process is None:
            raise WalgError(f"No server was started in {self.directory}.")
        return self.process

    def kill(self) -> None:
        """End it whatever it does; for the way out of an error."""
        if self.process is not None and self.process.poll() is None:
            self.process.stop(signal.SIGQUIT, 10.0)

    def tail(self, lines: int = 40) -> list[str]:
        """Return the last lines of its log."""
        text = call_as(self.instance.cluster.owner(), _read_tail, self.log)
        return list(text.splitlines()[-lines:])

    def reason(self) -> str:
        """Return the log's last line that says why."""
        telling = [line for line in self.tail() if "FATAL" in line or "PANIC" in line or "mapswipe.walg" in line]
        return " | ".join(telling[-3:]) or f"See {self.log}."


def make_socket_dir(instance: Instance) -> str:
    """Make the private directory, as the owner."""
    return str(call_as(instance.cluster.owner(), _mkdtemp))


def remove_directory(instance: Instance, path: str) -> None:
    """Remove a directory tree of ours, as the owner."""
    if path:
        call_as(instance.cluster.owner(), remove_tree, path)


def stop_stray(directory: str, binary: str) -> None:
    """End what a killed run left behind in ``directory``: WAL-G, a server, its wrappers. Nothing of it is kept."""
    names = ("postgres", "wal-fetch", os.path.basename(binary))
    began = time.monotonic()
    while time.monotonic() < began + _STRAY_TIMEOUT:
        left = _data_dir.workers_on(directory, names)
        if not left:
            return
        # QUIT lets PostgreSQL give its shared memory back.
        harsh = time.monotonic() > began + 5
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if harsh else signal.SIGQUIT)
        time.sleep(0.1)
    raise WalgError(
        f"Processes of a killed restore still work in {directory}: {_data_dir.workers_on(directory, names)}."
    )


def _mkdtemp() -> str:
    return tempfile.mkdtemp(prefix="mapswipe-walg-", dir="/tmp")  # TMPDIR may be closed to this user, and is long


def remove_tree(path: str) -> None:
    """Remove a directory tree if it exists."""
    if os.path.lexists(path):
        shutil.rmtree(path)


def remove_files(directory: str, names: tuple[str, ...]) -> None:
    """Remove files by name where they exist."""
    for name in names:
        path = os.path.join(directory, name)
        if os.path.lexists(path):
            os.unlink(path)


def _prepare(directory: str, private: str, log: str, files: dict[str, str]) -> None:
    remove_files(directory, _recovery.LEFTOVERS)
    write_atomic(os.path.join(private, "postgresql.conf"), "")
    write_atomic(os.path.join(private, "pg_hba.conf"), "local all all trust\n")  # the directory is 0700
    write_atomic(os.path.join(private, "pg_ident.conf"), "")
    write_atomic(log, "")
    for name, content in files.items():
        write_atomic(os.path.join(directory, name), content)


def _read_tail(path: str) -> str:
    with open(path, "rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 16384))
        return stream.read().decode("utf-8", "replace")
