# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's life, one committed row a step, and restores of it: what is known of the rows is kept outside of the cluster."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.sandbox import SUPPORT, Cluster, Sandbox


@dataclass
class History:
    """Each step is one transaction that adds one row to the table t."""

    cluster: Cluster
    steps: list[dict[str, str]] = field(default_factory=list)

    def step(self) -> dict[str, str]:
        """Commit one row; return its transaction id, and time and LSN after its commit and before the next."""
        number = len(self.steps)
        xid = self.cluster.sql(f"BEGIN; INSERT INTO t VALUES ({number}); SELECT txid_current(); COMMIT")
        lsn, time = self.cluster.sql(
            "SELECT pg_sleep(0.02); SELECT pg_current_wal_insert_lsn() || ' ' || to_char(clock_timestamp() AT TIME ZONE 'UTC', "
            '\'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\'); SELECT pg_sleep(0.02)'
        ).split()
        self.steps.append({"rows": str(number + 1), "xid": xid, "lsn": lsn, "time": time})
        return self.steps[-1]

    def ship(self, steps: int) -> None:
        """Take steps, each in a segment of its own that is archived."""
        for _turn in range(steps):
            self.step()
            self.cluster.ship()

    def named(self, name: str) -> dict[str, str]:
        """Make a restore point after one more step."""
        step = self.step()
        self.cluster.sql(f"SELECT pg_create_restore_point('{name}')")
        return step

    def numbers(self) -> list[int]:
        """Return the rows that the cluster has now, in order."""
        return sorted(int(row.strip("()")) for row in self.cluster.rows("t"))


def archived(
    sandbox: Sandbox,
    storage: str = "",
    walg: dict[str, str] | None = None,
    configured: Mapping[str, Any] | None = None,
    initdb: Sequence[str] = (),
    data_dir: Path | None = None,
    **settings: str,
) -> History:
    """Return the history of a new cluster that is archived; it has its table and a base backup after one step.

    ``walg``: settings of WAL-G, ``configured``: other options of walg_config, ``initdb``: more arguments for that,
    ``data_dir``: an empty directory of the database user's; ``settings``: those of PostgreSQL.
    """
    cluster = sandbox.idle_cluster("main")
    cluster.data_dir = data_dir or cluster.data_dir
    cluster.create(initdb, archive_mode="on", **settings)
    cluster.start()
    sandbox.configure(cluster, storage, walg, **(configured or {}))
    assert sandbox.module("walg_archive", sandbox.instance())["changed"]
    cluster.sql("CREATE TABLE t (id int PRIMARY KEY)")
    history = History(cluster)
    history.step()
    backup(sandbox)
    return history


def archived_steps(sandbox: Sandbox, steps: int) -> History:
    """As archived, with more steps after the base backup, each in a segment of its own."""
    history = archived(sandbox)
    history.ship(steps)
    return history


def backup(sandbox: Sandbox) -> dict[str, Any]:
    """Take a base backup."""
    answer = sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})
    assert answer.get("changed"), answer
    return dict(answer["backup"])


def restore(sandbox: Sandbox, request: str, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module; return its answer."""
    return sandbox.module("walg_restore", {**sandbox.instance(), "request": request, **options}, check)


def done(sandbox: Sandbox, request: str, **options: Any) -> dict[str, Any]:
    """Run the module, which has to change something and to succeed; return what it says of the restore."""
    answer = restore(sandbox, request, **options)
    assert answer.get("changed"), answer
    assert not answer.get("failed"), answer
    return dict(answer["restore"])


def planned(sandbox: Sandbox, request: str, **options: Any) -> dict[str, Any]:
    """Run the module in check mode; return the plan."""
    answer = restore(sandbox, request, check=True, **options)
    assert not answer.get("failed"), answer
    return dict(answer["restore"])


def refused(sandbox: Sandbox, request: str, check: bool = False, **options: Any) -> str:
    """Run the module, which has to fail; return its message."""
    answer = restore(sandbox, request, check, **options)
    assert answer.get("failed"), answer
    return str(answer["msg"])


def killed_in_swap(sandbox: Sandbox, request: str, when: str, number: int = 1, **options: Any) -> bool:
    """Run the module and kill it with -9 ``when`` (before or after) that step of its swap; False if it came to its end."""
    argv = sandbox.module_argv("walg_restore", {**sandbox.instance(), "request": request, **options})
    argv[1:1] = [str(SUPPORT / "killed_module.py"), when, str(number)]
    ended = sandbox.run(argv, env=sandbox.environment(sandbox.control / "none"))
    if ended.returncode == -signal.SIGKILL:
        return True
    assert ended.returncode == 0, ended.stdout
    return False


def beside(directory: Path) -> list[str]:
    """Return the names of what restores left beside a directory, old ones that are kept included."""
    found = directory.parent.glob(f"{directory.name}.*")
    return sorted(path.name for path in found if path.is_dir())


def running(sandbox: Sandbox) -> set[str]:
    """Return the directories on which servers run."""
    found = set()
    for pid in sandbox.servers():
        with suppress(FileNotFoundError):  # a backend that has ended meanwhile
            found.add(os.readlink(f"/proc/{pid}/cwd"))
    return found


def segments(cluster: Cluster) -> list[Path]:
    """Return the archived segments of the cluster's timeline, in order."""
    timeline = cluster.sql("SELECT timeline_id FROM pg_control_checkpoint()")
    return sorted(
        (cluster.sandbox.storage_dir / cluster.name / "wal_005").glob(f"{int(timeline):08X}" + "?" * 16 + ".lz4")
    )


def ask(sandbox: Sandbox, connect: str, sql: str) -> str:
    """Ask the server that the module's answer says how to connect to; return its answer, or what psql said."""
    argv = [str(sandbox.pg_bin_dir / "psql"), *connect.split()[1:], "-XAtqw", "-d", "postgres", "-c", sql]
    return sandbox.run(argv, user=sandbox.user).stdout.strip()


def apart(cluster: Cluster, place: Path, tablespaces: int = 1) -> dict[str, Path]:
    """Lay WAL and tablespaces of a cluster outside of its data directory, with a table s in the first; return name -> directory."""
    sandbox = cluster.sandbox
    made = {"wal": place / "wal", **{f"space{number}": place / f"space{number}" for number in range(tablespaces)}}
    cluster.stop()
    sandbox.run(["mkdir", "-p", *(str(path) for path in made.values())], user=sandbox.user)
    old = cluster.data_dir / "pg_wal"
    sandbox.run(
        ["sh", "-c", f"mv {old}/* {made['wal']} && rmdir {old} && ln -s {made['wal']} {old}"], user=sandbox.user
    )
    cluster.start()
    for number in range(tablespaces):
        cluster.sql(f"CREATE TABLESPACE space{number} LOCATION '{made[f'space{number}']}'")
        cluster.sql(f"CREATE TABLE s{number} TABLESPACE space{number} AS SELECT g AS id FROM generate_series(1, 100) g")
    return made


def below_roots(sandbox: Sandbox) -> Path:
    """Return a directory of root's with those of the database user's in it: data, wal, space0 and space1, which only root can rename."""
    above = sandbox.root / "roots"
    above.mkdir()
    entry = pwd.getpwnam(sandbox.user)
    for name in ("data", "wal", "space0", "space1"):
        (above / name).mkdir(mode=0o700)
        os.chown(above / name, entry.pw_uid, entry.pw_gid)
    return above


def archived_apart(sandbox: Sandbox, tablespaces: int = 1, above: Path | None = None) -> History:
    """As archived, with the parts of apart below pg_dir/apart in its newest base backup, and rows after that in t and s0.

    ``above``: what below_roots made; all of the cluster lies there instead.
    """
    made = archived(sandbox, data_dir=above and above / "data")
    apart(made.cluster, above or sandbox.pg_dir / "apart", tablespaces)
    made.step()
    backup(sandbox)
    made.step()
    made.cluster.sql("INSERT INTO s0 VALUES (101)")
    made.cluster.ship()
    return made


@contextmanager
def unharmed(cluster: Cluster) -> Iterator[None]:
    """The server goes on all the while: the same one, with the same rows, and takes writes before and after."""
    started = cluster.sql("SELECT pg_postmaster_start_time()")
    rows = cluster.rows("t")
    identity = (cluster.data_dir / "PG_VERSION").stat().st_ino
    yield
    assert cluster.sql("SELECT pg_postmaster_start_time()") == started
    assert cluster.rows("t") == rows
    assert (cluster.data_dir / "PG_VERSION").stat().st_ino == identity
    cluster.sql("BEGIN; CREATE TABLE written (); DROP TABLE written; COMMIT")


@contextmanager
def restarted_with(cluster: Cluster, *options: str) -> Iterator[None]:
    """The server runs with these options on its command line for the time of a block, and without them afterwards."""
    cluster.stop()
    cluster.start(*options)
    try:
        yield
    finally:
        cluster.stop()
        cluster.start()


@contextmanager
def moved_away(path: Path) -> Iterator[Path]:
    """Something is elsewhere for the time of a block; gives where."""
    aside = path.with_name(f"{path.name}.away")
    path.rename(aside)
    try:
        yield aside
    finally:
        if path.is_dir():
            subprocess.run(["rm", "-rf", str(path)], check=True)
        aside.rename(path)


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something to be so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.2)
