# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What "nothing changed" means, and what must never be seen: snapshots of a host, and secrets looked for everywhere."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any, Self

from support.sandbox import Cluster, Sandbox

#: Files that describe a run rather than the host.
_VOLATILE = ("postmaster.pid", "pg_stat_tmp", "pg_wal", "pg_logical")


def files(root: Path) -> dict[str, tuple[int, int, str]]:
    """Return mode, mtime and digest of every file below a directory."""
    found = {}
    for path in sorted(root.rglob("*")):
        state = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(root))] = (state.st_mode, state.st_mtime_ns, digest)
    return found


def kept(root: Path) -> dict[str, tuple[int, int, str]]:
    """Return the same of files alone: a directory changes with each new one."""
    return {name: state for name, state in files(root).items() if (root / name).is_file()}


def snapshot(sandbox: Sandbox, cluster: Cluster, storage: Path) -> dict[str, Any]:
    """Return everything that a run which changes nothing leaves as it is."""
    settings = cluster.sql("SELECT name, setting, source, sourcefile FROM pg_settings ORDER BY name")
    configuration = {
        path.name: (path.stat().st_mtime_ns, path.read_text())
        for path in cluster.data_dir.iterdir()
        if path.suffix == ".conf"
    }
    return {
        "host": files(sandbox.host),
        "storage": files(storage),
        "settings": settings,
        "configuration": configuration,
        "started": cluster.sql("SELECT pg_postmaster_start_time()"),
    }


class ProcessWatch:
    """Samples every command line on the machine while a block runs."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.is_set():
            for entry in os.listdir("/proc"):
                if entry.isdigit():
                    try:
                        self.seen.add(
                            Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                        )
                    except OSError:
                        continue
            time.sleep(0.01)


class Syslog:
    """The system's log socket for the time of a block; to be used only where none is there."""

    def __init__(self, path: str = "/dev/log") -> None:
        self.path, self.text = path, ""
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        os.chmod(self.path, 0o666)
        self._socket.settimeout(0.2)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()
        os.unlink(self.path)

    def _read(self) -> None:
        while not self._over.is_set():
            try:
                self.text += self._socket.recv(65536).decode("utf-8", "replace") + "\n"
            except TimeoutError:
                continue
