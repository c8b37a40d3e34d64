# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""wal-push and wal-fetch beside the bare commands of WAL-G, a segment each, on files and on Google's API on loopback."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import clusters
import figures
from support.sandbox import Sandbox

PART = "wrappers"
_LIMIT = 5.0  # ms


def run(tools: dict[str, Any], sizes: Mapping[str, int]) -> list[figures.Figure]:
    """Both storages, the second with half as many segments."""
    found = []
    sandbox = Sandbox(tools)
    try:
        found += _on(sandbox, "file://", sandbox.storage("main"), {}, sizes["fetches"])
    finally:
        sandbox.close()
    with clusters.on_google(tools) as (sandbox, settings, storage):
        found += _on(sandbox, "gs://", storage, settings, sizes["fetches"] // 2)
    return found


def _on(sandbox: Sandbox, kind: str, storage: str, settings: dict[str, str], count: int) -> list[figures.Figure]:
    cluster = sandbox.cluster("main", archive_mode="on")
    # A prefetching child of WAL-G would go on in the background, beside the next measure.
    sandbox.configure(cluster, storage, {**settings, "WALG_DOWNLOAD_CONCURRENCY": "1"})
    clusters.module(sandbox, "walg_archive")
    cluster.ship()
    names = _segments(sandbox, 2 * count + 2)
    record, configuration = (str(sandbox.host / "config" / f"main.{end}") for end in ("env", "json"))
    program, binary = sandbox.host / "program", str(sandbox.host / "bin" / "wal-g")
    environment = {**clusters.environment(settings), "PGDATA": str(cluster.data_dir)}
    plan = sandbox.pg_dir / "plan.env"
    plan.write_text("LAST_SEGMENTS=''\nCONTROL_OBJECT=none\n")

    def timed(argv: Callable[[str], list[str]]) -> Callable[[], float]:
        def once() -> float:
            began = time.monotonic()
            clusters.as_owner(sandbox, argv(next(turn)), environment, cluster.data_dir)
            return time.monotonic() - began

        return once

    def push(name: str) -> list[str]:
        return [str(program / "wal-push"), record, f"pg_wal/{name}"]

    def bare_push(name: str) -> list[str]:
        return [binary, "--config", configuration, "wal-push", f"pg_wal/{name}"]

    def fetch(name: str) -> list[str]:
        return [str(program / "wal-fetch"), "recovery", record, str(plan), name, f"fetched-{name}"]

    def bare_fetch(name: str) -> list[str]:
        return [binary, "--config", configuration, "wal-fetch", name, f"fetched-{name}"]

    results = []
    for what, ours, beside in (("push", push, bare_push), ("fetch", fetch, bare_fetch)):
        turn = iter(names)
        timed(ours)(), timed(beside)()  # the first push asks whose archive it is
        pairs = figures.alternate(count, timed(ours), timed(beside))
        results.append(figures.over(PART, f"wal-{what} of a segment over bare WAL-G, {kind}", pairs, _LIMIT, "ms"))
    return results


def _segments(sandbox: Sandbox, count: int) -> list[str]:
    """Copies of a real segment under names that its server will not come to."""
    directory = sandbox.clusters[0].data_dir / "pg_wal"
    source = min(path for path in directory.iterdir() if len(path.name) == 24)
    owner = source.stat()
    names = [f"000000010000A000{number:08X}" for number in range(count)]
    for name in names:
        _copy(source, directory / name)
        os.chown(directory / name, owner.st_uid, owner.st_gid)
    return names


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o600)
