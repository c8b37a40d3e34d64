# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long walg_backup_info takes on a large archive, and how much memory, beside one listing by WAL-G alone.

The archive is real enough for WAL-G: a file storage with a record for each base backup and an empty object for each
segment. Once without a gap, once with every second segment missing.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import figures

PART = "listing"
_ROUNDS = 3
SIZE = 16 * 1024 * 1024
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def library(name: str) -> Any:
    """Import a file of the collection's library, once its place is on the path."""
    return importlib.import_module(f"ansible_collections.mapswipe.walg.plugins.module_utils.{name}")


def segment(number: int) -> str:
    return f"00000001{number // 256:08X}{number % 256:08X}"


def make_archive(root: Path, backups: int, segments: int, holes: int) -> None:
    """Objects as WAL-G leaves them; every ``holes``-th segment is missing (0: none)."""
    wal, base = root / "wal_005", root / "basebackups_005"
    wal.mkdir(parents=True)
    for number in range(1, segments + 1):
        if not holes or number % holes:
            (wal / f"{segment(number)}.lz4").touch()
    for count in range(backups):
        number = 1 + count * segments // backups
        name, start = f"base_{segment(number)}", BEGIN + timedelta(hours=count)
        record = {
            "start_time": start.isoformat().replace("+00:00", "Z"),
            "finish_time": (start + timedelta(minutes=20)).isoformat().replace("+00:00", "Z"),
            "date_fmt": "%Y-%m-%dT%H:%M:%S.%fZ",
            "hostname": "db1",
            "data_dir": "/var/lib/postgresql/14/main",
            "pg_version": 140023,
            "start_lsn": number * SIZE + 40,
            "finish_lsn": number * SIZE + 256,
            "is_permanent": False,
            "system_identifier": 7310203040506070809,
            "uncompressed_size": 26541337,
            "compressed_size": 4823979,
        }
        (base / name).mkdir(parents=True)
        (base / name / "metadata.json").write_text(json.dumps(record))
        sentinel = {"LSN": record["start_lsn"], "FinishLSN": record["finish_lsn"], "PgVersion": 140023}
        (base / f"{name}_backup_stop_sentinel.json").write_text(json.dumps(sentinel))


def instance(directory: str, binary: str) -> Any:
    """Return an instance whose storage is the archive in a directory."""
    record, process = library("_instance._record"), library("_host._process")
    user = process.User.current().name
    cluster = record.Cluster("/data", "/bin", "/tmp", os_user=user, system_identifier="7310203040506070809")
    paths = {"config_dir": directory, "state_dir": directory, "log_dir": directory, "program_dir": directory}
    return record.Instance("main", binary=binary, storage=f"file://{directory}/archive", cluster=cluster, **paths)


def measure(directory: str, binary: str) -> dict[str, Any]:
    """In a process of its own: one look, its seconds, its memory, and WAL-G's."""
    flow = library("_archive._info")
    runner, runs = counted()
    before, cpu_before = time.monotonic(), time.process_time()
    answer = flow.read(runner, instance(directory, binary), datetime.now(UTC))
    seconds, cpu = time.monotonic() - before, time.process_time() - cpu_before
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    kib = {"library": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "WAL-G": children.ru_maxrss}
    return {
        "seconds": seconds,
        "CPU seconds": {"library": cpu, "WAL-G": children.ru_utime + children.ru_stime},
        "seconds in WAL-G": {" ".join(argv[3:6]): round(used, 3) for argv, used in runs},
        "MiB": {name: round(value / 1024) for name, value in kib.items()},
        "backups": len(answer["backups"]),
        "windows": len(answer["windows"]),
        "gaps": sum(len(one["gaps"]) for one in answer["timelines"]),
    }


def counted() -> tuple[Any, list[tuple[list[str], float]]]:
    """Return a Runner, and the list in which it notes what it ran and how long that took."""
    runner = library("_host._process").Runner()
    run, runs = runner.run, []

    def noting(argv: list[str], **options: Any) -> Any:
        result = run(argv, **options)
        runs.append((argv, result.seconds))
        return result

    runner.run = noting
    return runner, runs


def one_listing(directory: Path, binary: str) -> float:
    before = time.monotonic()
    argv = [binary, "--config", str(directory / "main.json"), "st", "ls", "wal_005"]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env={"HOME": "/", "PATH": os.environ["PATH"]})
    return time.monotonic() - before


@contextmanager
def archive(backups: int, segments: int, holes: int) -> Iterator[Path]:
    """Have a directory with such an archive, and WAL-G's settings for it, for the time of a block."""
    directory = Path(tempfile.mkdtemp(prefix="mapswipe-walg-bench-"))
    try:
        make_archive(directory / "archive", backups, segments, holes)
        (directory / "main.json").write_text(json.dumps({"WALG_FILE_PREFIX": str(directory / "archive")}))
        yield directory
    finally:
        shutil.rmtree(directory)


def apart(program: str, *arguments: str) -> dict[str, Any]:
    """Run a part of the benchmark in a process of its own, so that its memory can be told. Returns what it prints, as JSON."""
    argv = [sys.executable, str(Path(program).resolve()), *arguments]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found: dict[str, Any] = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True, env=env).stdout)
    return found


def _one(binary: str, backups: int, segments: int, holes: int) -> list[figures.Figure]:
    looks: list[dict[str, Any]] = []
    with archive(backups, segments, holes) as directory:

        def look() -> float:
            looks.append(apart(__file__, str(directory), binary))
            return float(looks[-1]["seconds"])

        pairs = figures.alternate(_ROUNDS, look, lambda: one_listing(directory, binary))
    what = f"{looks[-1]['backups']:,} base backups, {segments:,} segments, {looks[-1]['gaps']:,} gaps"
    return [
        figures.over(PART, f"walg_backup_info over one listing, {what}", pairs),
        figures.measure(PART, "what of it is not WAL-G's", [_own(one) for one in looks], 2.0),
        figures.measure(PART, "its own CPU time", [one["CPU seconds"]["library"] for one in looks]),
        figures.measure(PART, "its memory", [one["MiB"]["library"] for one in looks], 300, "MiB"),
    ]


def _own(look: Mapping[str, Any]) -> float:
    """WAL-G lists the WAL twice: once for its gaps, once for when it came."""
    return float(look["seconds"]) - sum(look["seconds in WAL-G"].values())


def run(tools: dict[str, Any], sizes: Mapping[str, int]) -> list[figures.Figure]:
    """Without gaps, and with as many as there can be."""
    binary = str(tools["walg_binary"])
    return [line for holes in (0, 2) for line in _one(binary, sizes["backups"], sizes["segments"], holes)]


if __name__ == "__main__":  # a process of its own, so that its memory can be told
    print(json.dumps(measure(sys.argv[1], sys.argv[2])))
