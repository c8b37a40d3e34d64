# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with the job on it, and who is told: what the tests of the job look at."""

from __future__ import annotations

import http.server
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.mapswipe.walg.plugins.module_utils._host import _proc
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Background, Result, Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from support import expiring
from support.restoring import archived
from support.sandbox import Cluster, Sandbox


@dataclass
class Receiver:
    """A chat system's webhook and a monitor's ping, on loopback."""

    address: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    pings: list[str] = field(default_factory=list)
    seconds: float = 0.0  # that it takes to answer


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Have a receiver for the time of a block."""
    made = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            time.sleep(made.seconds)
            made.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def do_GET(self) -> None:
            made.pings.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Be silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


def hook_of(sandbox: Sandbox) -> Path:
    """Make a failure command, which keeps what it is told in the sandbox."""
    hook, told = sandbox.host / "hook", sandbox.pg_dir / "told"
    hook.write_text(f"#!/bin/sh\ncat >>{told}\n")
    hook.chmod(0o755)
    return hook


@dataclass
class Host:
    """A configured host, its cluster and who is told."""

    sandbox: Sandbox
    cluster: Cluster
    receiver: Receiver

    @property
    def storage(self) -> Path:
        return self.sandbox.storage_dir / "main"

    @property
    def state(self) -> Path:
        return self.sandbox.host / "state" / "main"

    def argv(self, *words: str) -> list[str]:
        """Return how cron calls the job."""
        program, config = self.sandbox.host / "program" / "walg-job", self.sandbox.host / "config"
        return [str(program), words[0], "--config-dir", str(config), *words[1:]]

    def job(self, *words: str) -> Result:
        """Run the job as cron does."""
        done = Runner().run(self.argv(*words), user=User.by_name(self.sandbox.user), timeout=600)
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def begun(self, *words: str) -> Background:
        """Start the job and leave it running."""
        output = str(self.sandbox.pg_dir / "job.out")
        return Runner().start(self.argv(*words), output=output, user=User.by_name(self.sandbox.user))

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.state / "facts.json").read_text())
        return found

    def restorable(self) -> str:
        """What the facts of the last check say."""
        return str(self.facts()["verdict"]["restorable"])

    def codes(self) -> set[str]:
        """What needs attention by the last check."""
        return {one["code"] for one in self.facts()["verdict"]["reasons"] if one["level"] != "info"}

    def seen(self) -> tuple[str, set[str]]:
        """What somebody sees who asks now: restorable or not, and what needs attention."""
        verdict = json.loads(self.job("status", "--json").stdout)["verdict"]
        return str(verdict["restorable"]), {one["code"] for one in verdict["reasons"] if one["level"] != "info"}

    def metric(self, name: str, **labels: str) -> float | None:
        """Return a sample of the metrics file; None where there is none."""
        found = ['walg_instance="main"', *(f'{key}="{value}"' for key, value in labels.items())]
        start = f"{name}{{{','.join(found)}}} "
        lines = (self.state / "metrics.prom").read_text().splitlines()
        values = [float(line.removeprefix(start)) for line in lines if line.startswith(start)]
        return values[0] if values else None

    def runs(self, verb: str) -> list[dict[str, Any]]:
        lines = (self.state / "history.jsonl").read_text().splitlines()
        return [run for run in map(json.loads, lines) if run["verb"] == verb]

    def told(self) -> list[dict[str, Any]]:
        """What the failure command was told."""
        path = self.sandbox.pg_dir / "told"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def segments(self) -> list[Path]:
        return sorted(one for one in (self.storage / "wal_005").iterdir() if len(one.name.split(".")[0]) == 24)

    def backups(self) -> list[str]:
        """The names of the base backups that have a record, in the order of their names."""
        return sorted(expiring.backups(self.storage))


def ready(
    sandbox: Sandbox,
    receiver: Receiver,
    *,
    storage: str = "",
    walg: dict[str, str] | None = None,
    configured: dict[str, Any] | None = None,
    initdb: Sequence[str] = (),
    schedule: dict[str, Any] | None = None,
) -> Host:
    """Return a host on which all is well, made by the modules alone: a cluster that archives, a base backup, the job's file."""
    history = archived(sandbox, storage, walg, configured, initdb)
    options = {
        **sandbox.instance(),
        "cron_dir": str(sandbox.host / "cron"),
        "metrics_dir": "",
        "hooks": {
            "failure_command": [str(hook_of(sandbox))],
            "webhook": receiver.address,
            "ping": f"{receiver.address}/ping",
        },
        **(schedule or {}),
    }
    (sandbox.host / "cron").mkdir(exist_ok=True)
    assert sandbox.module("walg_schedule", options)["changed"]
    return Host(sandbox, history.cluster, receiver)


def below(pid: int) -> list[int]:
    """Return the processes that a process has started, and theirs."""
    return [found for child in _proc.children(pid) for found in (child, *below(child))]


def lives(pid: int) -> bool:
    """Say whether a process runs; a dead one that nobody has collected does not."""
    return _proc.stat(pid)[:1] not in ([], ["Z"])


def killed(process: Background, number: int = signal.SIGKILL) -> list[int]:
    """Kill the job alone, as the kernel does for want of memory, or by another signal. Returns what it had started."""
    children = below(process.pid)
    os.kill(process.pid, number)
    process.process.wait()
    return children
