# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill -9 at random instants of a restore and of its rollback: its module, its WAL-G, its PostgreSQL.

An instant is a fraction of its phase's length, measured in a whole run before. What may be lost is nothing: production's
path holds the old rows or the new ones in whole, and the next run of the same request finishes or begins anew.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .restoring import archived_steps, beside, done, restore
from .sandbox import Sandbox

#: The phases of a restore, by the progress file's names, and who works in them. "plan" comes before the first.
CASES = (
    *(("module", phase) for phase in ("plan", "fetch", "recover", "stop beside", "swap", "start", "roll back")),
    ("wal-g", "fetch"),
    ("wal-g", "recover"),
    ("postmaster", "recover"),
    ("postmaster", "stop beside"),
    ("startup", "recover"),
)


@dataclass(frozen=True)
class Kill:
    """Who is killed, in which phase, and how far into it (a fraction of its length)."""

    victim: str
    phase: str
    fraction: float


def kills_of(seed: int) -> list[Kill]:
    """Return one kill of each case, in an order of its own: always the same for a seed."""
    dice = random.Random(seed)
    found = [Kill(victim, phase, round(dice.random(), 3)) for victim, phase in CASES]
    dice.shuffle(found)
    return found


class Range:
    """A cluster whose rows are known, restored to an earlier point and rolled back again, time after time."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.history = archived_steps(sandbox, 2)
        self.cluster = self.history.cluster
        self.new = self.cluster.rows("t")
        self.lsn = self.cluster.sql("SELECT pg_current_wal_insert_lsn()")
        self.history.step()
        self.old = self.cluster.rows("t")
        self.cluster.ship()
        self.count = 0
        began = time.monotonic()
        seconds = done(sandbox, "measured", **self.options())["seconds"]
        whole = time.monotonic() - began
        self.lengths = {**seconds, "plan": max(0.0, whole - sum(seconds.values()))}
        self.lengths["roll back"] = done(sandbox, "measured", rollback=True, stop_running=True)["seconds"]["roll back"]
        self._clear()

    def options(self) -> dict[str, Any]:
        return {"target_lsn": self.lsn, "stop_running": True}

    def kill(self, one: Kill) -> bool:
        """Kill once and look; then let the next runs finish, and go back. False: the phase was over before the instant."""
        self.count += 1
        request, back = f"kill-{self.count}", one.phase == "roll back"
        if back:
            done(self.sandbox, request, **self.options())
        options = {"rollback": True, "stop_running": True} if back else self.options()
        hit = self._run_and_kill(request, options, one)
        print(f"{one}: {'hit' if hit else 'missed'}", flush=True)  # shown where what follows fails
        self._look()
        answer = restore(self.sandbox, request, **options)
        assert not answer.get("failed"), answer
        if not back:
            assert self.cluster.rows("t") == self.new
            answer = restore(self.sandbox, request, rollback=True, stop_running=True)
            assert not answer.get("failed"), answer
        assert self.cluster.rows("t") == self.old
        assert beside(self.cluster.data_dir) == [f"main.restore-{request}"]
        self.cluster.ship()
        self._clear()
        return hit

    def _run_and_kill(self, request: str, options: dict[str, Any], one: Kill) -> bool:
        progress = self.sandbox.host / "state" / "main" / "progress.json"
        argv = self.sandbox.module_argv("walg_restore", {**self.sandbox.instance(), "request": request, **options})
        environment = self.sandbox.environment(self.sandbox.control / "none")
        with open(os.devnull, "wb") as null:
            module = subprocess.Popen(argv, stdout=null, stderr=null, env=environment, cwd=self.sandbox.root)
        try:
            while one.phase != "plan" and module.poll() is None:
                told = json.loads(progress.read_text())
                if told["pid"] == module.pid and told["phase"] == one.phase:
                    break
                time.sleep(0.002)
            time.sleep(one.fraction * self.lengths[one.phase])
            return self._strike(one.victim, module)
        finally:
            module.wait(120)

    def _strike(self, victim: str, module: subprocess.Popen[bytes]) -> bool:
        if victim == "module":
            alive = module.poll() is None
            module.kill()
            return alive
        work = f"{self.cluster.data_dir}.restore-kill-{self.count}"
        deadline = time.monotonic() + 2  # those in recovery come and go
        while time.monotonic() < deadline and module.poll() is None:
            found = [pid for pid, title in self._workers(work) if self._is(victim, pid, title)]
            for pid in found[:1]:
                os.kill(pid, signal.SIGKILL)
                return True
            time.sleep(0.002)
        return False

    @staticmethod
    def _is(victim: str, pid: int, title: str) -> bool:
        name = Path(f"/proc/{pid}/comm").read_text().strip() if Path(f"/proc/{pid}").exists() else ""
        if victim == "wal-g":
            return name == "wal-g"
        return name == "postgres" and (" startup" in title if victim == "startup" else "-D" in title)

    @staticmethod
    def _workers(directory: str) -> Iterator[tuple[int, str]]:
        """Give the processes that work in a directory or were called with it."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    title = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                    place = os.readlink(entry / "cwd")
                except OSError:
                    continue
                if f"{place}/".startswith(f"{directory}/") or f" {directory} " in f"{title} ":
                    yield int(entry.name), title

    def _look(self) -> None:
        """Production's rows are the old or the new, in whole; the disk alone is asked where no server runs. No orphan works there."""
        data = self.cluster.data_dir
        deadline = time.monotonic() + 60
        while self.cluster.pid():
            try:
                rows = self.cluster.rows("t")
            except AssertionError:  # it starts or stops just now
                assert time.monotonic() < deadline
                time.sleep(0.2)
                continue
            assert rows in (self.old, self.new)
            return
        strangers = [title for _pid, title in self._workers(str(data)) if "postgres" in title or "wal-g" in title]
        assert not strangers, strangers
        if not data.exists():  # between two steps of the swap: both are beside it, for the next run to finish
            assert beside(data), "neither"
            return
        copy = self.sandbox.idle_cluster(f"copy{self.count}")
        made = self.sandbox.run(["cp", "-a", str(data), str(copy.data_dir)])
        assert made.returncode == 0, made.stdout
        (copy.data_dir / "postmaster.pid").unlink(missing_ok=True)
        copy.start("-c", "archive_mode=off", "-c", f"port={copy.port}", "-k", str(copy.socket_dir))
        try:
            assert copy.rows("t") in (self.old, self.new)
        finally:
            copy.stop("immediate")
            shutil.rmtree(copy.data_dir)
            self.sandbox.clusters.remove(copy)

    def _clear(self) -> None:
        for name in beside(self.cluster.data_dir):
            shutil.rmtree(self.cluster.data_dir.with_name(name))
