# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories that a cluster shares with others: of a tablespace's directory only the cluster's own entry is moved.

A cluster of another major version has its files in the same directory and runs on all the while.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from locations import pg_major, pg_majors
from support.majors import tools_for
from support.restoring import History, archived, backup, done, killed_in_swap, refused, running
from support.sandbox import Cluster, Sandbox

ROWS = 50_000
OTHER = max((major for major in pg_majors() if major < pg_major()), default=pg_major() + 1)


@pytest.fixture(scope="module")
def shared(sandbox: Sandbox) -> Path:
    path = sandbox.pg_dir / "shared"
    sandbox.run(["mkdir", str(path)], user=sandbox.user)
    return path


@pytest.fixture(scope="module")
def neighbour(sandbox: Sandbox, shared: Path) -> Cluster:
    """A cluster of another major version, with rows in the shared directory."""
    cluster = sandbox.idle_cluster("neighbour")
    cluster.bin_dir = Path(tools_for(OTHER)["pg_bin_dir"])
    cluster.create()
    cluster.start()
    cluster.sql(f"CREATE TABLESPACE shared LOCATION '{shared}'")
    cluster.sql(f"CREATE TABLE n TABLESPACE shared AS SELECT g AS id FROM generate_series(1, {ROWS}) g")
    cluster.sql("CHECKPOINT")
    return cluster


@pytest.fixture(scope="module")
def history(sandbox: Sandbox, shared: Path, neighbour: Cluster) -> History:
    made = archived(sandbox)
    made.cluster.sql(f"CREATE TABLESPACE shared LOCATION '{shared}'")
    made.cluster.sql("CREATE TABLE s TABLESPACE shared AS SELECT g AS id FROM generate_series(1, 100) g")
    for name in ("notes", "lost+found"):
        sandbox.run(["mkdir", str(shared / name)], user=sandbox.user)
        (shared / name / "file").write_text("somebody's")
    made.step()
    backup(sandbox)
    made.step()
    made.cluster.sql("INSERT INTO s VALUES (101)")
    made.cluster.ship()
    return made


@pytest.fixture(autouse=True)
def neighbour_is_unharmed(neighbour: Cluster, history: History, shared: Path) -> Iterator[None]:
    """The same server with all of its rows, and all of them after its restart; what else lies there has not moved."""
    pid, inode = neighbour.pid(), (shared / "notes").stat().st_ino
    (entry,) = (path for path in shared.iterdir() if path.name.startswith(f"PG_{OTHER}_"))
    was = entry.stat().st_ino
    yield
    assert neighbour.pid() == pid
    assert neighbour.sql("SELECT count(*) FROM n") == str(ROWS)
    assert (entry.stat().st_ino, (shared / "notes").stat().st_ino) == (was, inode)
    assert (shared / "lost+found" / "file").read_text() == "somebody's"
    neighbour.stop()
    neighbour.start()
    assert neighbour.sql("SELECT count(*) FROM n") == str(ROWS)


def entries(path: Path, major: int) -> list[str]:
    return [name for name in os.listdir(path) if name.startswith(f"PG_{major}_")]


def test_restored_and_rolled_back_beside_a_running_neighbour(sandbox: Sandbox, history: History, shared: Path) -> None:
    cluster = history.cluster
    new, lsn = cluster.rows("s"), cluster.sql("SELECT pg_current_wal_insert_lsn()")
    cluster.sql("INSERT INTO s VALUES (102)")
    old = cluster.rows("s")
    found = done(sandbox, "shared", target_lsn=lsn, stop_running=True)
    assert cluster.rows("s") == new
    (place,) = found["places"]
    kept = Path(place["kept_as"])
    assert os.listdir(kept) == entries(shared, sandbox.major())
    assert (Path(found["kept_as"]) / place["link"]).resolve() == kept, "the kept cluster holds together"
    assert not (sandbox.pg_dir / "shared.restore-shared").exists()
    done(sandbox, "shared", rollback=True, stop_running=True)
    assert cluster.rows("s") == old
    assert not kept.exists()


def test_killed_at_every_step(sandbox: Sandbox, history: History) -> None:
    cluster = history.cluster
    new, lsn = cluster.rows("s"), cluster.sql("SELECT pg_current_wal_insert_lsn()")
    cluster.sql("INSERT INTO s VALUES (103)")
    old = cluster.rows("s")
    assert killed_in_swap(sandbox, "dies", "before", target_lsn=lsn, stop_running=True)
    while killed_in_swap(sandbox, "dies", "after", target_lsn=lsn):
        assert str(cluster.data_dir) not in running(sandbox)
    assert cluster.rows("s") == new
    assert killed_in_swap(sandbox, "dies", "before", rollback=True, stop_running=True)
    while killed_in_swap(sandbox, "dies", "after", rollback=True):
        pass
    assert cluster.rows("s") == old


def test_discarded(sandbox: Sandbox, history: History, shared: Path) -> None:
    cluster = history.cluster
    was, before = cluster.rows("s"), sorted(os.listdir(shared))
    done(sandbox, "paused", target_lsn=cluster.sql("SELECT pg_current_wal_insert_lsn()"), action="pause")
    done(sandbox, "paused", discard=True)
    assert cluster.rows("s") == was
    assert sorted(os.listdir(shared)) == before


def test_an_entry_that_is_not_the_old_clusters_is_in_the_way(sandbox: Sandbox, history: History, shared: Path) -> None:
    """The lost cluster's own is left in the shared directory, and nothing tells whose it is."""
    cluster = history.cluster
    cluster.ship()
    was = cluster.rows("s")
    cluster.lose()
    (entry,) = entries(shared, sandbox.major())
    text = refused(sandbox, "lost")
    assert entry in text
    assert "walg_restore_tablespaces" in text
    sandbox.run(["mv", str(shared / entry), str(sandbox.pg_dir / "moved")], user=sandbox.user)
    done(sandbox, "lost")
    assert cluster.rows("s") == was


def test_overwritten(sandbox: Sandbox, history: History) -> None:
    """The old cluster is removed before the restore: of the shared directory its own entry."""
    cluster = history.cluster
    was = cluster.rows("s")
    done(sandbox, "over", overwrite=cluster.system_identifier(), stop_running=True)
    assert cluster.rows("s") == was
