# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of walg_backup and walg_restore is their own, and whether WAL-G is slower inside them than bare.

Own is what is left of a module's run, its Python's start included, without the times in which WAL-G, PostgreSQL or psql ran
(noting.py). Of the server that recovers beside: from its start until its log says that it is ready, and its stop.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import clusters
import figures
from support.sandbox import Cluster, Sandbox

PART = "own_time"
_NOTING = Path(__file__).resolve().parent / "noting.py"
_READY = re.compile(r"^(\S+ \S+) \w+ .*database system is ready to accept connections", re.MULTILINE)
Spans = list[tuple[float, float]]


class Run:
    """One run of a module, with what it started."""

    def __init__(self, sandbox: Sandbox, name: str, options: Mapping[str, Any]) -> None:
        log = sandbox.root / "programs.jsonl"
        log.write_text("")
        log.chmod(0o666)
        python, source, arguments = sandbox.module_argv(name, {**sandbox.instance(), **options})
        os.sync()  # or WAL-G pays for what was written before
        began = time.time()
        done = sandbox.run(
            [python, str(_NOTING), str(log), source, arguments], env=sandbox.environment(sandbox.control / "none")
        )
        self.seconds = time.time() - began
        self.answer = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
        if not self.answer.get("changed"):
            raise SystemExit(f"{name} did nothing: {self.answer}")
        self.programs = [json.loads(line) for line in log.read_text().splitlines()]
        recovered = sandbox.host / "state" / "main" / "recovery.log"
        self.recovery_log = recovered.read_text() if recovered.exists() else ""

    def others(self) -> Spans:
        """When programs of others worked."""
        spans = []
        for argv, began, ended in self.programs:
            beside = argv[0].endswith("/postgres") and "-D" in argv
            spans.append((began, self._ready(ended) if beside else ended))
        return spans

    def _ready(self, ended: float) -> float:
        match = _READY.search(self.recovery_log)
        return datetime.fromisoformat(f"{match.group(1)}+00:00").timestamp() if match else ended

    def own(self) -> float:
        return self.seconds - length(self.others())

    def walg(self, command: str) -> float:
        """How long one command of WAL-G took."""
        return sum(ended - began for argv, began, ended in self.programs if command in argv)


def length(spans: Spans) -> float:
    """Return how long they last together; what overlaps counts once."""
    total, reached = 0.0, 0.0
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return total


def run(tools: dict[str, Any], sizes: Mapping[str, int]) -> list[figures.Figure]:
    """Some rounds of backups, then of restores."""
    sandbox = Sandbox(tools)
    try:
        cluster = sandbox.cluster("main", archive_mode="on", max_wal_size="4GB")
        clusters.fill(cluster, sizes["mib"])
        sandbox.configure(cluster)
        clusters.module(sandbox, "walg_archive")
        bare = _Bare(sandbox, cluster)
        rounds, names = min(sizes["rounds"], 5), []
        backups: list[Run] = []
        restores: list[Run] = []

        def back_up() -> float:
            backups.append(Run(sandbox, "walg_backup", {"max_age": 0, "full": True}))
            names.append(backups[-1].answer["backup"]["name"])
            return backups[-1].walg("backup-push")

        def restore() -> float:
            cluster.sql("INSERT INTO bench (id) SELECT -g FROM generate_series(1, 1000) g")
            cluster.ship()
            cluster.stop()
            cluster.lose()
            restores.append(Run(sandbox, "walg_restore", {"request": f"bench-{len(restores)}"}))
            return restores[-1].walg("backup-fetch")

        pushes = figures.alternate(rounds, back_up, bare.push)
        fetches = figures.alternate(rounds, restore, lambda: bare.fetch(names[-1]))
        start = _start(sandbox)
    finally:
        sandbox.close()
    mib = round(backups[-1].answer["backup"]["uncompressed_size"] / 1024 / 1024)
    return [
        figures.measure(PART, f"walg_backup's own, {mib} MiB", [one.own() for one in backups], 2.0),
        figures.ratio(PART, "backup-push inside it beside bare WAL-G", pushes, 1.03),
        figures.measure(PART, f"walg_restore's own, {mib} MiB", [one.own() for one in restores], 2.0),
        figures.ratio(PART, "backup-fetch inside it beside bare WAL-G", fetches, 1.03),
        figures.measure(PART, "walg_restore from start to end", [one.seconds for one in restores]),
        figures.measure(PART, "start of Python and imports, in both", [start]),
    ]


class _Bare:
    """WAL-G with the same settings, without the modules."""

    def __init__(self, sandbox: Sandbox, cluster: Cluster) -> None:
        self.sandbox, self.cluster = sandbox, cluster
        self.argv = [str(sandbox.host / "bin" / "wal-g"), "--config", str(sandbox.host / "config" / "main.json")]

    def push(self) -> float:
        data_dir = self.cluster.data_dir
        return clusters.seconds(self.sandbox, [*self.argv, "backup-push", str(data_dir), "--full"], {}, data_dir)

    def fetch(self, name: str) -> float:
        target = self.sandbox.pg_dir / "bare"
        took = clusters.seconds(self.sandbox, [*self.argv, "backup-fetch", str(target), name], {}, self.sandbox.pg_dir)
        shutil.rmtree(target)
        return took


def _start(sandbox: Sandbox) -> float:
    argv = [sandbox.python, "-c", "import ansible_collections.mapswipe.walg.plugins.modules.walg_restore"]
    began = time.monotonic()
    subprocess.run(argv, check=True, env=sandbox.environment(sandbox.control / "none"))
    return time.monotonic() - began
