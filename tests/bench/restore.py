# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long walg_restore takes beside WAL-G and PostgreSQL, and wal-fetch beside a bare `wal-g wal-fetch`.

    make bench                       a cluster of 1,000 MiB, 40 segments
    make bench MIB=100 FETCHES=10

Own time is that of the module without what other programs took: WAL-G, psql, and the server from its start beside to its
stop there; the start of Python and ansible-core is added. A table goes to the terminal and, after it, one line of JSON.
"""

from __future__ import annotations

import functools
import json
import os
import pwd
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "toolchain")]

from locations import link_root
from support.forked import ForkingSandbox, preload
from support.sandbox import Cluster, load_tools

Intervals = list[tuple[float, float]]


def noting(function: Callable[..., Any], log: Path, word: str) -> Callable[..., Any]:
    """Return the function, with begin and end of each call written down."""

    @functools.wraps(function)
    def noted(*arguments: Any, **options: Any) -> Any:
        began = time.monotonic()
        try:
            return function(*arguments, **options)
        finally:
            with log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps([word, began, time.monotonic()]) + "\n")

    return noted


def others(log: Path) -> Intervals:
    """Return when other programs worked: each run of one, and the server from its start to its stop."""
    found: Intervals = []
    started = 0.0
    for word, began, ended in map(json.loads, log.read_text().splitlines()):
        if word == "start":
            started = began
        else:
            found.append((started if word == "stop" else began, ended))
    return found


def length(intervals: Intervals) -> float:
    """Return how long they last together; what overlaps counts once."""
    total, reached = 0.0, 0.0
    for began, ended in sorted(intervals):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return total


def restore(sandbox: ForkingSandbox, cluster: Cluster) -> dict[str, Any]:
    """One restore of the latest state, data directory lost."""
    log = sandbox.root / "others.jsonl"
    log.touch()
    log.chmod(0o666)
    runner, beside = (
        preload(f"ansible_collections.mapswipe.walg.plugins.module_utils.{name}") for name in ("_process", "_beside")
    )
    runner.Runner.run = noting(runner.Runner.run, log, "run")
    beside.Beside.start = noting(beside.Beside.start, log, "start")
    beside.Beside.stop = noting(beside.Beside.stop, log, "stop")
    cluster.stop()
    cluster.lose()
    began = time.monotonic()
    answer = sandbox.module("walg_restore", {**sandbox.instance(), "request": "bench"})
    seconds = time.monotonic() - began
    if not answer.get("changed"):
        raise SystemExit(f"The restore failed: {answer}")
    began = time.monotonic()
    argv = [sandbox.python, "-c", "import ansible_collections.mapswipe.walg.plugins.modules.walg_restore"]
    subprocess.run(argv, check=True, env=sandbox.environment(sandbox.control / "none"))
    imports = time.monotonic() - began
    return {
        "seconds": seconds,
        "own": seconds - length(others(log)) + imports,
        "of that Python's start": imports,
        "phases": answer["restore"]["seconds"],
        "MiB": round(answer["restore"]["backup"]["uncompressed_size"] / 1024 / 1024),
    }


def fetches(sandbox: ForkingSandbox, count: int) -> dict[str, Any]:
    """The wrapper and WAL-G alone by turns, a segment each; medians in milliseconds."""
    config, state = sandbox.host / "config", sandbox.host / "state" / "main"
    archive = sandbox.storage_dir / "main"
    segment = min(path.name for path in (archive / "wal_005").iterdir() if len(path.name) < 30).partition(".")[0]
    backup = next((archive / "basebackups_005").glob("*.json")).name
    plan = state / "bench-plan.env"
    plan.write_text(f"LAST_SEGMENTS={segment}\nCONTROL_OBJECT=basebackups_005/{backup}\n")
    target = state / "bench-segment"
    record, settings = str(config / "main.env"), str(config / "main.json")
    ways = {
        "wrapper": [str(sandbox.host / "program" / "wal-fetch"), "recovery", record, str(plan), segment, str(target)],
        "bare": [str(sandbox.host / "bin" / "wal-g"), "--config", settings, "wal-fetch", segment, str(target)],
    }
    who = pwd.getpwnam(sandbox.user)
    user = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    environment = {"PATH": os.environ["PATH"], "HOME": "/", "PGDATA": str(sandbox.root / "pg" / "main")}
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _turn in range(count):
        for way, argv in ways.items():
            target.unlink(missing_ok=True)
            began = time.monotonic()
            subprocess.run(argv, check=True, env=environment, cwd=state, stderr=subprocess.DEVNULL, **user)
            took[way].append((time.monotonic() - began) * 1000)
    medians = {way: statistics.median(values) for way, values in took.items()}
    return {**medians, "over it": medians["wrapper"] - medians["bare"], "fetches": count}


def main() -> int:
    tools = load_tools()
    if Path(sys.prefix) != Path(tools["venv"]):  # the modules run in forks of this process, which needs ansible-core
        os.execv(tools["python"], [tools["python"], *sys.argv])
    sys.path.insert(0, str(link_root()))
    mib, count = int(os.environ.get("MIB") or 1000), int(os.environ.get("FETCHES") or 40)
    sandbox = ForkingSandbox(tools)
    try:
        cluster = sandbox.cluster("main", archive_mode="on", max_wal_size="4GB")
        cluster.sql(
            "CREATE TABLE t AS SELECT g AS id, md5(g::text) || repeat('x', 960) AS note "
            f"FROM generate_series(1, {mib} * 1000) g"
        )
        sandbox.configure(cluster)
        for name in ("walg_archive", "walg_backup"):
            answer = sandbox.module(name, sandbox.instance())
            if answer.get("failed"):
                raise SystemExit(f"{name}: {answer['msg']}")
        cluster.sql("INSERT INTO t SELECT g, 'later' FROM generate_series(-1000, -1) g")
        cluster.ship()
        fetched, restored = fetches(sandbox, count), restore(sandbox, cluster)
    finally:
        sandbox.close()
    print(f"walg_restore of {restored['MiB']} MiB: {restored['seconds']:.2f} s, its own {restored['own']:.2f} s")
    print(f"wal-fetch: {fetched['wrapper']:.1f} ms a segment, {fetched['over it']:.1f} ms over bare WAL-G's")
    print(json.dumps({"benchmark": "walg_restore", "restore": restored, "fetch": fetched}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
