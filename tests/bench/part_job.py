# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the job adds to WAL-G's own backup-push and deletion, what a check costs, and a plan of retention and a page of many.

The plan is made from a listing of as many objects as the part `listing` has, by a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import clusters
import figures
import part_listing
from support import reported
from support.sandbox import Cluster, Sandbox

PART = "job"
_MOST_MIB = 200  # with more, the spread of backup-push hides what is measured
_CHECKS = 10
_HOSTS, _ON_PAGE = 50, 400
_KEEP = 2


def run(tools: dict[str, Any], sizes: Mapping[str, int]) -> list[figures.Figure]:
    """A host with a job; a listing; a page."""
    sandbox = Sandbox(tools)
    try:
        found = _on_a_host(sandbox, min(sizes["mib"], _MOST_MIB), sizes["rounds"])
    finally:
        sandbox.close()
    found += _planning(str(tools["walg_binary"]), sizes["backups"], sizes["segments"])
    return [*found, _page()]


def _on_a_host(sandbox: Sandbox, mib: int, rounds: int) -> list[figures.Figure]:
    cluster = sandbox.cluster("main")
    clusters.fill(cluster, mib)
    sandbox.storage("main")
    rules = {"walg_backup_keep_days": 0, "walg_backup_minimum": _KEEP, "walg_backup_minimum_days": 0}
    done = sandbox.play("mapswipe.walg.site", {**sandbox.variables(cluster), **rules})
    if done.rc:
        raise SystemExit(done.failure())
    job, bare = _Job(sandbox, cluster), _Bare(sandbox, cluster)
    for _number in range(_KEEP):  # so that each later one has one to delete
        job.run("backup", "--max-age", "0")
        bare.backup()
    job.run("expire", "--confirm")

    def ours() -> float:
        return job.run("backup", "--max-age", "0").seconds + job.run("expire", "--confirm").seconds

    pairs = figures.alternate(rounds, ours, lambda: bare.backup() + bare.delete())
    checks = [job.run("check") for _number in range(_CHECKS)]
    return [
        figures.over(PART, f"backup and expire over backup-push and delete, {mib} MiB", pairs, 2.0),
        figures.measure(PART, "check, CPU time with all that it starts", [one.cpu for one in checks], 0.5),
        figures.measure(PART, "check, from start to end", [one.seconds for one in checks]),
    ]


class _Job:
    """The installed program, as cron calls it."""

    def __init__(self, sandbox: Sandbox, cluster: Cluster) -> None:
        self.sandbox, self.cluster = sandbox, cluster

    def run(self, verb: str, *words: str) -> clusters.Spent:
        program, config = self.sandbox.host / "program" / "walg-job", self.sandbox.host / "config"
        os.sync()
        return clusters.as_owner(
            self.sandbox, [str(program), verb, "--config-dir", str(config), *words], {}, self.cluster.data_dir
        )


class _Bare:
    """WAL-G with the same settings, on a prefix of its own."""

    def __init__(self, sandbox: Sandbox, cluster: Cluster) -> None:
        self.sandbox, self.cluster = sandbox, cluster
        told = json.loads((sandbox.host / "config" / "main.json").read_text())
        told["WALG_FILE_PREFIX"] = str(sandbox._own("bare"))
        config = sandbox._own("bare-config") / "bare.json"
        config.write_text(json.dumps(told))
        config.chmod(0o644)
        self.argv = [str(sandbox.walg), "--config", str(config)]

    def _run(self, *words: str) -> float:
        return clusters.seconds(self.sandbox, [*self.argv, *words], {}, self.cluster.data_dir)

    def backup(self) -> float:
        return self._run("backup-push", str(self.cluster.data_dir), "--full")

    def delete(self) -> float:
        return self._run("delete", "retain", "FULL", str(_KEEP), "--confirm")


def _planning(binary: str, backups: int, segments: int) -> list[figures.Figure]:
    with part_listing.archive(backups, segments, 0) as directory:
        looks = [part_listing.apart(__file__, str(directory), binary) for _round in range(3)]
    what = f"plan of retention, {backups:,} base backups, {segments:,} segments, {looks[-1]['deleted']:,} of them to go"
    return [
        figures.measure(PART, f"{what}, CPU time over WAL-G's", [one["seconds"] for one in looks], 2.0),
        figures.measure(PART, "its memory", [one["MiB"] for one in looks], 300, "MiB"),
    ]


def _plan(directory: str, binary: str) -> dict[str, Any]:
    """In a process of its own: list, plan; its seconds of CPU without WAL-G's, and its memory."""
    library = part_listing.library
    began = time.process_time()
    walg = library("_walg._client").Walg.of(
        library("_host._process").Runner(), part_listing.instance(directory, binary)
    )
    look, rules = library("_backup._retention_look"), library("_backup._retention")
    wal, files = look.objects(walg)
    listed = walg.backups()
    found = walg.archive(part_listing.SIZE, listed)
    known = library("_backup._keep").Known(listed, found, [1])
    policy = library("_instance._job_spec").Retention(weekly=8, monthly=12)
    last = part_listing.BEGIN + timedelta(hours=len(listed))
    plan = rules.plan(policy, known, wal, files, last)
    seconds = time.process_time() - began
    mib = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return {"seconds": seconds, "MiB": mib, "deleted": len(plan.drop)}


def _page() -> figures.Figure:
    page = part_listing.library("_report._page")
    items = [{"facts": reported.facts(_ON_PAGE, hole=True), "name": f"db{number}"} for number in range(_HOSTS)]
    samples = []
    for _round in range(3):
        began = time.monotonic()
        page.page(items, datetime.now(UTC))
        samples.append(time.monotonic() - began)
    return figures.measure(PART, f"page of {_HOSTS} hosts with {_ON_PAGE} base backups each", samples, 3.0)


if __name__ == "__main__":  # a process of its own, so that its memory can be told
    print(json.dumps(_plan(sys.argv[1], sys.argv[2])))
