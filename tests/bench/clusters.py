# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parts of the benchmark share: clusters with data, modules, and programs run as the owner of a cluster."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from support.gcs import BUCKET, Gcs
from support.sandbox import Cluster, Sandbox

_FOR_THE_NETWORK = ("HTTPS_PROXY", "SSL_CERT_FILE")
#: Rows of about 150 bytes, of which a third is not to be compressed: numbers, times, words that come again, digests.
_ROWS = """
INSERT INTO {table}
  SELECT g AS id, '2026-01-01 00:00:00+00'::timestamptz + g * interval '7 s' AS happened, (g::bigint * 7919 % 100003)::int AS number,
         md5(g::text) AS digest, repeat('word' || (g % 97), 8) AS words
  FROM generate_series({first}, {last}) g
"""
_TABLE = (
    "CREATE TABLE bench (id int, happened timestamptz, number int, digest text, words text) PARTITION BY RANGE (id)"
)
_PART = "CREATE TABLE {table} PARTITION OF bench FOR VALUES FROM ({first}) TO ({end})"
#: Tables of one cluster: half of the rows are in the first, as in databases with one large table among others.
_SMALLER = 12
_ROWS_A_MIB = 6900


class Spent(NamedTuple):
    """What a program took: seconds, MiB of memory at most, and seconds of CPU with those of the programs that it started."""

    seconds: float
    mib: float
    cpu: float


def fill(cluster: Cluster, mib: int) -> None:
    """Give a cluster about so much data, in several files: a single one is read and compressed by a single worker."""
    count = mib * _ROWS_A_MIB
    ends = [count // 2 + count * part // (2 * _SMALLER) for part in range(_SMALLER + 1)]
    cluster.sql(_TABLE)
    for part, (before, last) in enumerate(itertools.pairwise([0, *ends])):
        table, first = f"bench_{part}", before + 1
        cluster.sql(_PART.format(table=table, first=first, end=last + 1))
        cluster.sql(_ROWS.format(table=table, first=first, last=last))
    cluster.sql("CREATE TABLE bench_rest PARTITION OF bench FOR VALUES FROM (MINVALUE) TO (1)")
    cluster.sql("CHECKPOINT")


def module(sandbox: Sandbox, name: str, **options: Any) -> dict[str, Any]:
    """Run a module of the collection for the instance. Ends the benchmark where it fails."""
    answer = sandbox.module(name, {**sandbox.instance(), **options})
    if answer.get("failed"):
        raise SystemExit(f"{name}: {answer['msg']}")
    return answer


def as_owner(sandbox: Sandbox, argv: list[str], environment: Mapping[str, str], directory: Path) -> Spent:
    """Run a program as PostgreSQL would: its user, few variables, its directory. Output goes to a file."""
    who = pwd.getpwnam(sandbox.user)
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
    with open(sandbox.root / "program.log", "a+b") as log:
        began = log.tell()
        env = {"PATH": os.environ["PATH"], "HOME": who.pw_dir, "LANG": "C", **environment}
        start = time.monotonic()
        process = subprocess.Popen(argv, env=env, cwd=directory, stdout=log, stderr=log, **user)
        _pid, status, usage = os.wait4(process.pid, 0)
        took = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(began)
        said = log.read().decode(errors="replace")[-2000:] if process.returncode else ""
    if process.returncode:
        raise SystemExit(f"{argv} ended with {process.returncode}: {said}")
    return Spent(took, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)


def seconds(sandbox: Sandbox, argv: list[str], environment: Mapping[str, str], directory: Path) -> float:
    """Return how long such a program takes. What others have still to write to the disk is written before."""
    os.sync()
    return as_owner(sandbox, argv, environment, directory).seconds


@contextlib.contextmanager
def on_google(tools: dict[str, Any]) -> Iterator[tuple[Sandbox, dict[str, str], str]]:
    """Yield a sandbox beside a server of Google's API, WAL-G's settings for that with the key in a file, and a storage's URL."""
    sandbox = Sandbox(tools)
    try:
        directory = sandbox.root / "gcs"
        directory.mkdir()
        with Gcs(tools["gcs_server"], directory, BUCKET) as gcs:
            path = sandbox._own("key") / "key.json"
            path.write_text(gcs.key_file_content())
            settings = {**gcs.settings(), "GOOGLE_APPLICATION_CREDENTIALS": str(path)}
            yield sandbox, settings, f"gs://{BUCKET}/walg-folder"
    finally:
        sandbox.close()


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The part of the settings that a bare WAL-G wants in its environment."""
    return {name: settings[name] for name in _FOR_THE_NETWORK if name in settings}
