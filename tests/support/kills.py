# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill -9 at random instants of a restore, of what follows it, and of its rollback: the module, its WAL-G, PostgreSQL.

An instant is a fraction of its phase's length, as it was last seen. What may be lost is nothing: production's path holds the old
rows or the new ones in whole, and the next run of the same request goes on, or begins anew. It is the next kill's, or comes to
the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .restoring import archived_steps, ask, beside, restore
from .sandbox import Sandbox

#: In the order of a life: what runs, its phase by the progress file's names ("plan" is before the first, "run" the whole of what
#: tells none), who is killed. "server" is the one beside, "production" the one in place, "startup" the server's process that replays.
CASES = tuple(
    (verb, phase, victim)
    for verb, phase, victims in (
        ("restore", "plan", ("module",)),
        ("restore", "fetch", ("module", "wal-g")),
        ("restore", "recover", ("module", "wal-g", "server", "startup")),
        ("restore", "stop beside", ("module", "server")),
        ("restore", "swap", ("production", "module")),
        ("restore", "start", ("module", "production")),
        ("archive", "run", ("module",)),
        ("push", "run", ("wal-g", "production")),
        ("backup", "run", ("module", "wal-g", "production")),
        ("roll back", "roll back", ("production", "module")),
        ("roll back", "start", ("module", "production")),
        ("pause", "recover", ("module", "server")),
        ("pause", "waits", ("server",)),
        ("discard", "run", ("module",)),
    )
    for victim in victims
)
MODULES = {"archive": "walg_archive", "backup": "walg_backup"}
#: What WAL-G was called for: a server's archiver has one at work as well, and one that fetches WAL has one that fetches ahead.
WORDS = {"fetch": "backup-fetch", "recover": "wal-fetch", "push": "wal-push", "backup": "backup-push"}


@dataclass(frozen=True)
class Kill:
    """``fraction``: how far into the phase; ``at_once``: the next run comes with no look between."""

    verb: str
    phase: str
    victim: str
    fraction: float
    at_once: bool


def kills_of(seed: int) -> list[Kill]:
    """Return one kill of each case: always the same for a seed."""
    dice = random.Random(seed)
    return [Kill(*case, round(dice.random(), 3), dice.random() < 0.5) for case in CASES]


class Range:
    """A cluster whose rows are known; restores to an earlier point, rollbacks, looks beside, one after another."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.history = archived_steps(sandbox, 1)
        self.cluster = self.history.cluster
        self.new = self.cluster.rows("t")
        self.lsn = self.cluster.sql("SELECT pg_current_wal_insert_lsn()")
        self.history.step()
        self.old = self.cluster.rows("t")
        self.cluster.ship()
        self.count = 0
        self.moved: set[str] = set()  # names of uploads that were cut off
        self.request = "kill-0"
        self.lengths: dict[tuple[str, str], float] = {}

    # --- one kill

    def kill(self, one: Kill) -> bool:
        """Bring the life to where the case can happen, and kill. False: the phase was over before the instant."""
        self._reach(one)
        with tempfile.TemporaryFile("w+") as said:
            module = self.start(one.verb, said)
            try:
                hit = self._kill(one, module)
            finally:
                code = module.wait(300)
            said.seek(0)
            text = next((line for line in said.read().splitlines() if line.startswith("{")), "{}")
        answer = json.loads(text)
        outcome = "killed" if code < 0 else str(answer.get("msg", "went on"))[:150]
        print(f"{one}: {'hit' if hit else 'missed'}; {outcome}", flush=True)  # shown where what follows fails
        assert hit or code == 0, answer
        if not one.at_once:
            self._look()
        return hit

    def _kill(self, one: Kill, module: subprocess.Popen[str]) -> bool:
        began = time.monotonic()
        if one.phase not in ("plan", "run", "waits"):
            self._await_phase(one.phase, module)
            self.lengths[one.verb, "plan"] = min(time.monotonic() - began, self.lengths.get((one.verb, "plan"), 2.0))
        if one.victim != "wal-g" or one.phase == "recover":
            time.sleep(one.fraction * self.lengths.get((one.verb, one.phase), 0.3))
        if one.victim == "module":
            alive = module.poll() is None
            module.kill()
            return alive
        work = self.work if one.verb in ("restore", "pause") and one.victim != "production" else self.cluster.data_dir
        deadline = time.monotonic() + 2  # some come and go
        while time.monotonic() < deadline and (module.poll() is None or one.verb in ("push", "pause")):
            for pid, title in self._workers(work):
                if self._is(one, pid, title):
                    return self._strike(one, pid)
            time.sleep(0.002)
        return False

    def _strike(self, one: Kill, pid: int) -> bool:
        if one.victim == "production":
            self.cluster.kill()
            deadline = time.monotonic() + 20
            while self.cluster.pid() == pid and time.monotonic() < deadline:
                time.sleep(0.05)  # until whoever is its parent by now has seen to it
            return True
        if one.victim == "wal-g" and one.phase != "recover":  # (there one comes after the other)
            takes = {"push": 0.04, "backup": 0.4, "restore": self.lengths.get(("restore", "fetch"), 0.3) / 2}
            time.sleep(one.fraction * self.lengths.get((one.verb, "wal-g"), takes[one.verb]))
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def _await_phase(self, phase: str, module: subprocess.Popen[str]) -> None:
        progress = self.sandbox.host / "state" / "main" / "progress.json"
        while module.poll() is None:
            told = json.loads(progress.read_text()) if progress.exists() else {}
            if told.get("pid") == module.pid and told["phase"] == phase:
                return
            time.sleep(0.002)

    @staticmethod
    def _is(one: Kill, pid: int, title: str) -> bool:
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            return False
        if one.victim == "wal-g":
            return name == "wal-g" and f" {WORDS.get(one.verb) or WORDS[one.phase]} " in title
        return name == "postgres" and (" startup" in title if one.victim == "startup" else " -D " in title)

    @staticmethod
    def _workers(directory: Path) -> Iterator[tuple[int, str]]:
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

    # --- what runs

    @property
    def work(self) -> Path:
        return self.cluster.data_dir.with_name(f"{self.cluster.data_dir.name}.restore-{self.request}")

    def options(self, verb: str) -> dict[str, Any]:
        """Return the module's options."""
        if verb in MODULES:
            return {"max_age": 0} if verb == "backup" else {}
        forth = {"target_lsn": self.lsn, "stop_running": True}
        more = {
            "pause": {**forth, "action": "pause"},
            "roll back": {"rollback": True, "stop_running": True},
            "discard": {"discard": True},
        }
        return {"request": self.request, **more.get(verb, forth)}

    def start(self, verb: str, said: IO[str]) -> subprocess.Popen[str]:
        """Start what a verb runs; its answer goes to a file."""
        name = MODULES.get(verb, "walg_restore")
        argv = self.sandbox.module_argv(name, {**self.sandbox.instance(), **self.options(verb)})
        if verb == "push":
            argv = [str(self.sandbox.pg_bin_dir / "psql"), "-X", "-h", str(self.cluster.socket_dir)]
            argv += ["-p", str(self.cluster.port), "-U", "postgres", "-d", "postgres"]
            argv += ["-c", "SELECT pg_logical_emit_message(false, 'test', 'kill')", "-c", "SELECT pg_switch_wal()"]
        environment = self.sandbox.environment(self.sandbox.control / "none")
        return subprocess.Popen(argv, stdout=said, stderr=said, env=environment, cwd=self.sandbox.root, text=True)

    # --- where the life stands

    def _where(self) -> str:
        """Return old (nothing was swapped), paused (a look beside waits), midway (in the swap), new, or back (half way back)."""
        marker = self.sandbox.marker()
        state = str(json.loads(marker.read_text())["state"]) if marker.exists() else "none"
        if state in ("none", "rolled back"):
            self.count += 1
            self.request = f"kill-{self.count}"
        return {
            "swapping": "midway",
            "starting": "midway",
            "done": "new",
            "rolling back": "back",
            "paused": "paused",
        }.get(state, "old")

    def _reach(self, one: Kill) -> None:
        """Finish what has to be finished before the case can happen; a server that was killed is started by its operator."""
        wanted = "old" if one.verb in ("restore", "pause") else "new"
        if one.verb == "discard" or one.phase == "waits":
            wanted = "paused"
        goes_on = {"restore": "midway", "roll back": "back"}.get(one.verb) if one.victim == "module" else None
        if goes_on and one.phase == "start" and self._where() == goes_on:
            return
        self.go_to(wanted)
        if not self.cluster.pid():
            self.cluster.start()

    def go_to(self, wanted: str) -> None:
        """Come from wherever the life stands to where nothing is half done."""
        while (state := self._where()) != wanted:
            if state == "old":
                self.finish("pause" if wanted == "paused" else "restore")
            else:
                self.finish({"paused": "discard", "midway": "restore"}.get(state, "roll back"))

    def finish(self, verb: str) -> None:
        """Let what was killed, or not yet begun, come to its end; look at the outcome."""
        began = time.monotonic()
        if verb == "push":
            self.ship()
            return
        if verb in MODULES:
            if not self.cluster.pid():
                self.cluster.start()
            answer = self.sandbox.module(MODULES[verb], {**self.sandbox.instance(), **self.options(verb)})
        else:
            answer = restore(self.sandbox, **self.options(verb))
        assert not answer.get("failed"), (verb, answer)
        self.lengths[verb, "run"] = time.monotonic() - began
        for phase, seconds in ((answer.get("restore") or {}).get("seconds") or {}).items():
            self.lengths[verb, phase] = seconds
        if verb == "pause":
            assert ask(self.sandbox, answer["restore"]["connect"], "SELECT count(*) FROM t") == str(len(self.new))
        if verb == "discard":
            assert not self.work.exists()
        if verb == "backup":
            self.lengths[verb, "wal-g"] = answer["seconds"]
            timeline = self.cluster.sql("SELECT timeline_id FROM pg_control_checkpoint()")
            assert str(answer["backup"]["timeline"]) == timeline, answer
        if verb in ("restore", "roll back", "discard", "pause"):
            assert self.cluster.rows("t") == (self.new if verb == "restore" else self.old), verb
        elif verb in MODULES:
            assert self.cluster.rows("t") == self.new

    def end(self) -> None:
        """Back to the old rows; archiving works, and beside them lies nothing but what rollbacks keep."""
        self.go_to("old")
        self.ship()
        assert all(".restore-kill-" in name for name in beside(self.cluster.data_dir)), beside(self.cluster.data_dir)
        for name in beside(self.cluster.data_dir):
            shutil.rmtree(self.cluster.data_dir.with_name(name))

    def ship(self) -> None:
        """Archive everything. Where an upload was cut off in the storage, do what wal-push's message says."""
        if not self.cluster.pid():
            self.cluster.start()
        archived = "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver"
        segment = self.cluster.sql(
            "SELECT pg_walfile_name(pg_logical_emit_message(false, 'test', 'ship')); SELECT pg_switch_wal()"
        )
        deadline = time.monotonic() + 60
        while self.cluster.sql(archived) < segment.splitlines()[0]:
            assert time.monotonic() < deadline, self.cluster.sql("SELECT * FROM pg_stat_archiver")
            self._move_away()
            time.sleep(0.05)

    def _move_away(self) -> None:
        logs = (self.cluster.log, self.sandbox.host / "log" / "main" / "server.log")
        told = "".join(log.read_text(errors="replace") for log in logs if log.exists())
        for name in (
            set(re.findall(r"the archive holds something else as ([0-9A-F]{24})\b.* move it away", told)) - self.moved
        ):
            self.moved.add(name)
            for found in (self.sandbox.storage_dir / "main" / "wal_005").glob(f"{name}.*"):
                found.rename(found.with_name(f"cut-off-{found.name}"))

    def _look(self) -> None:
        """Production's rows are the old or the new, in whole; the disk alone is asked where no server runs. No orphan works there."""
        data, deadline, rows = self.cluster.data_dir, time.monotonic() + 60, None
        while (
            True
        ):  # (what was told to start or to stop just then goes on with that; a server outlives its pid file a little)
            assert time.monotonic() < deadline, [title for _pid, title in self._workers(data)]
            if self.cluster.pid():
                with contextlib.suppress(AssertionError):  # it starts or stops just now
                    rows = self.cluster.rows("t")
                    break
            elif not any(re.search(r"postgres|pg_ctl|wal-g", title) for _pid, title in self._workers(data)):
                break
            time.sleep(0.05)
        if rows is not None:
            assert rows in (self.old, self.new)
            return
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
