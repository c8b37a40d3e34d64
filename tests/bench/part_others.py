# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup and restore of the same data with lz4: WAL-G through the collection beside Debian's pgBackRest and Barman.

Each has a copy of the cluster and an archive on the same disk, and does in turn what contenders.py says; caches are warm, servers
run with fsync off. What is compared ends at the same point; the promises differ:

- backup: the base backup and its WAL are stored. pgBackRest verifies page checksums and syncs what it stores, Barman with its
  pg_basebackup too; WAL-G on file storage does neither by default. walg_backup looks into the storage for the WAL.
- files: the data directory is laid out, by WAL-G's backup-fetch alone. pgBackRest and WAL-G sync it; pgBackRest compares each file
  with its checksum; Barman copies its archive first, and the WAL too.
- recovered: from the command until the server takes writes. Of ours that is all of walg_restore: it looks for what may be in the way,
  recovers beside, proves what was recovered, and swaps.

WAL-G works with what the collection chooses for the host (docs/tuning.md). pgBackRest has one process, and one for
each core. Barman has pg_basebackup, then tar and lz4.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import clusters
import figures
import others
from contenders import MEASURES, Contender, Ours
from contenders_debian import Barman, PgBackRest
from locations import ToolError
from support.sandbox import Cluster, Sandbox

PART = "others"


def run(tools: dict[str, Any], sizes: Mapping[str, int]) -> list[figures.Figure]:
    """As many rounds as wanted; a tool that can't be had, or doesn't work here, has a line with the reason."""
    found: list[figures.Figure] = []
    folders: dict[str, Path] = {}
    os.umask(0o022)
    for name in others.NAMES:
        try:
            folders[name] = others.ensure(name)
        except ToolError as error:
            found.append(_absent(name, error))
    if not folders:
        return found
    sandbox = Sandbox(tools)
    try:
        source = _source(sandbox, sizes["mib"])
        mib = round(int(source.sql("SELECT pg_database_size('postgres')")) / 1024 / 1024)
        source.stop()
        ours = Ours(source)
        beside = [one for name, folder in folders.items() for one in _contenders(name, folder, source)]
        found += _play(ours, beside, sizes["rounds"])
    finally:
        sandbox.close()
    return [*found, *_compared(ours, [one for one in beside if one.samples["backup"]], mib)]


def _source(sandbox: Sandbox, mib: int) -> Cluster:
    """The cluster that the others are copied from. Nothing of it is archived yet, and reading it writes nothing."""
    cluster = sandbox.idle_cluster("main")
    cluster.create(archive_mode="on", max_wal_size="256MB", autovacuum="off")
    cluster.start("-c", "archive_command=/bin/true")
    clusters.fill(cluster, mib)
    cluster.sql("VACUUM (FREEZE, ANALYZE) bench")
    return cluster


def _copied(source: Cluster, name: str) -> Cluster:
    made = source.sandbox.idle_cluster(name)
    source.sandbox.run(["cp", "-a", str(source.data_dir), str(made.data_dir)], user=source.sandbox.user)
    with open(made.data_dir / "postgresql.conf", "a", encoding="utf-8") as stream:
        stream.write(f"unix_socket_directories = '{made.socket_dir}'\nport = {made.port}\n")
    return made


def _contenders(name: str, folder: Path, source: Cluster) -> list[Contender]:
    label = f"{name} {others.version(name)}"
    if name == "Barman":
        return [Barman(label, _copied(source, "barman"), folder)]
    made: list[Contender] = []
    for count in sorted({1, os.cpu_count() or 1}):
        cluster = _copied(source, f"pgbackrest{count}")
        made.append(PgBackRest(f"{label}, process-max={count}", cluster, folder, count))
    return made


def _play(ours: Ours, beside: list[Contender], rounds: int) -> list[figures.Figure]:
    """All in turn, each second round from the last to the first; who fails is out. Of ours that ends the part."""
    found = []
    order: list[Contender] = [ours, *beside]
    for turn in range(-1, rounds):
        for one in order[::-1] if turn % 2 else order[:]:
            try:
                one.prepare() if turn < 0 else one.round(turn)
            except (SystemExit, AssertionError) as error:
                if one is ours:
                    raise
                one.cluster.kill()
                one.samples["backup"].clear()
                order.remove(one)
                found.append(_absent(one.label, error))
    return found


def _compared(ours: Ours, beside: list[Contender], mib: int) -> list[figures.Figure]:
    what = {
        "backup": f"walg_backup of {mib:,} MiB",
        "stored": "stored, lz4,",
        "files": "files of a restore: backup-fetch in walg_restore",
        "recovered": "restored and recovered: all of walg_restore",
    }
    lines = []
    for name in MEASURES:
        for one in beside:
            pairs = list(zip(ours.samples[name], one.samples[name], strict=True))
            unit = "MiB" if name == "stored" else "s"
            lines.append(figures.ratio(PART, f"{what[name]} beside {one.label}", pairs, unit=unit))
    return [*lines, figures.measure(PART, "backup-push in walg_backup", ours.pushes)]


def _absent(name: str, error: BaseException) -> figures.Figure:
    """The line of a message that tells most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("E: ", "ERROR", "WARN")) or "FAILED" in line]
    return figures.absent(PART, name, (telling or lines[-1:] or ["no reason told"])[0][:100])
