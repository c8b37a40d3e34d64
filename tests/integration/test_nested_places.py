# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a cluster where a base backup loses them: a tablespace inside the data directory, links among PostgreSQL's own files.

No base backup is taken of them. One that another tool took is restored with all rows, or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from locations import pg_majors
from support.majors import refusal, tools_for
from support.restoring import History, archived, backup, done, moved_away, refused, unharmed
from support.sandbox import Cluster, Sandbox

ROWS = 990


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    """A base backup by WAL-G alone of a cluster with a tablespace in its data directory, and rows after that."""
    made = archived(sandbox)
    cluster = made.cluster
    nested = cluster.data_dir / "nested"
    sandbox.run(["mkdir", str(nested)], user=sandbox.user)
    cluster.sql(f"CREATE TABLESPACE nested LOCATION '{nested}'")
    cluster.sql(
        f"CREATE TABLE n TABLESPACE nested AS SELECT g AS id, repeat('x', 500) AS x FROM generate_series(1, {ROWS}) g"
    )
    cluster.sql("CHECKPOINT")
    config = sandbox.host / "config" / "main.json"
    argv = [str(sandbox.host / "bin" / "wal-g"), "--config", str(config), "backup-push", str(cluster.data_dir)]
    there = {
        "PGHOST": str(cluster.socket_dir),
        "PGPORT": str(cluster.port),
        "PGUSER": "postgres",
        "HOME": str(sandbox.pg_dir),
    }
    pushed = sandbox.run(argv, user=sandbox.user, env={"PATH": "/usr/bin:/bin", **there})
    assert pushed.returncode == 0, pushed.stdout
    cluster.sql(f"INSERT INTO n SELECT g, 'y' FROM generate_series({ROWS + 1}, 1050) g")
    made.step()
    cluster.ship()
    return made


def test_no_base_backup_is_taken(sandbox: Sandbox, history: History) -> None:
    """Neither by the module nor by the play, which says so before it does anything; check mode says the same."""
    nested = str(history.cluster.data_dir / "nested")
    for check in (True, False):
        answer = sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0}, check)
        assert answer.get("failed"), answer
        assert nested in answer["msg"]
        assert "SET TABLESPACE" in answer["msg"]
    play = sandbox.play("mapswipe.walg.site", sandbox.variables(history.cluster))
    assert play.rc != 0
    assert nested in play.failure()
    assert play.changed() == []


def test_such_a_base_backup_is_restored_with_all_rows_in_another_place(sandbox: Sandbox, history: History) -> None:
    cluster = history.cluster
    rows = cluster.rows("n")
    assert len(rows) == 1050
    nested = str(cluster.data_dir / "nested")
    with unharmed(cluster):
        text = refused(sandbox, "same", stop_running=True)
    assert nested in text
    assert "walg_restore_tablespaces" in text
    done(sandbox, "apart", stop_running=True, tablespaces={nested: str(sandbox.pg_dir / "apart")})
    assert cluster.rows("n") == rows
    assert (sandbox.pg_dir / "apart").is_dir()


def test_links_among_the_own_files(sandbox: Sandbox, history: History) -> None:
    """A database's directory on another disk, by a link: refused at the backup. Real again, a base backup is taken."""
    cluster = history.cluster
    cluster.sql("CREATE DATABASE linked")
    oid = cluster.sql("SELECT oid FROM pg_database WHERE datname = 'linked'")
    path, elsewhere = cluster.data_dir / "base" / oid, sandbox.pg_dir / "elsewhere"
    cluster.stop()
    sandbox.run(["sh", "-c", f"mv {path} {elsewhere} && ln -s {elsewhere} {path}"], user=sandbox.user)
    cluster.start()
    answer = sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})
    assert answer.get("failed"), answer
    assert str(path) in answer["msg"]
    cluster.stop()
    sandbox.run(["sh", "-c", f"rm {path} && mv {elsewhere} {path}"], user=sandbox.user)
    cluster.start()
    assert sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})["changed"]


def test_settings_behind_a_link(sandbox: Sandbox, history: History) -> None:
    """postgresql.auto.conf kept elsewhere: its settings would be missing after a restore. The next ALTER SYSTEM makes it a file."""
    cluster = history.cluster
    path, elsewhere = cluster.data_dir / "postgresql.auto.conf", sandbox.pg_dir / "auto.conf"
    sandbox.run(["sh", "-c", f"mv {path} {elsewhere} && ln -s {elsewhere} {path}"], user=sandbox.user)
    answer = sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})
    assert f"{path} is a symbolic link" in answer["msg"], answer
    cluster.sql("ALTER SYSTEM SET work_mem = '6MB'")
    assert not path.is_symlink()
    assert sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})["changed"]


@pytest.mark.parametrize("name", [b"tab\tx", b"new\nline", b"latin1-\xe9"], ids=["tab", "line", "latin1"])
def test_a_tablespace_whose_name_is_no_text(sandbox: Sandbox, history: History, name: bytes) -> None:
    """PostgreSQL works with it; the record of a base backup could not name it. Said before one is taken."""
    cluster, plain = history.cluster, sandbox.pg_dir / "plain"
    odd = sandbox.pg_dir / os.fsdecode(name)
    sandbox.run(["mkdir", str(plain)], user=sandbox.user)
    cluster.sql(f"CREATE TABLESPACE odd LOCATION '{plain}'")
    link = cluster.data_dir / "pg_tblspc" / cluster.sql("SELECT oid FROM pg_tablespace WHERE spcname = 'odd'")
    with moved(cluster, link, plain, odd):
        answer = sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})
    assert "The name of the directory of the tablespace with OID" in answer["msg"], answer
    cluster.sql("DROP TABLESPACE odd")
    plain.rmdir()
    assert sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})["changed"]


@contextmanager
def moved(cluster: Cluster, link: Path, place: Path, other: Path) -> Iterator[None]:
    """A tablespace's directory lies elsewhere meanwhile, and its link leads there."""
    _move(cluster, link, place, other)
    try:
        yield
    finally:
        _move(cluster, link, other, place)


def _move(cluster: Cluster, link: Path, source: Path, target: Path) -> None:
    cluster.stop()
    source.rename(target)
    link.unlink()
    link.symlink_to(target)
    cluster.start()


def test_a_cluster_that_lacks_files_is_not_put_in_place(sandbox: Sandbox, history: History) -> None:
    """A file of a table was missing when the base backup was taken: recovery says nothing of it, and nothing is swapped."""
    cluster = history.cluster
    cluster.sql("CREATE TABLE gone AS SELECT 1 AS id; CHECKPOINT")
    path = cluster.data_dir / cluster.sql("SELECT pg_relation_filepath('gone')")
    with moved_away(path):
        assert sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})["changed"]
    cluster.ship()
    with unharmed(cluster):
        text = refused(sandbox, "less", target_lsn=cluster.sql("SELECT pg_current_wal_insert_lsn()"), stop_running=True)
    assert "gone (base/" in text
    assert "walg_restore_backup" in text


IN_PLACE = [major for major in pg_majors() if major >= 15 and not refusal(major)]


@pytest.mark.skipif(not IN_PLACE, reason="this WAL-G can back up no PostgreSQL that has tablespaces in place")
@pytest.mark.parametrize("major", IN_PLACE[:1] + IN_PLACE[1:][-1:] or [0], ids=lambda major: f"pg{major}")
def test_a_tablespace_in_pg_tblspc_itself(major: int) -> None:
    """It is backed up like any other directory, and comes back with all rows; rolled back, the old cluster has them."""
    sandbox = Sandbox(tools_for(major))
    try:
        history = archived(sandbox)
        cluster = history.cluster
        cluster.sql("SET allow_in_place_tablespaces = on;\nCREATE TABLESPACE inside LOCATION '';")
        cluster.sql(f"CREATE TABLE i TABLESPACE inside AS SELECT g AS id FROM generate_series(1, {ROWS}) g; CHECKPOINT")
        assert backup(sandbox)
        cluster.sql(f"INSERT INTO i SELECT g FROM generate_series({ROWS + 1}, 1050) g")
        cluster.ship()
        rows = cluster.rows("i")
        assert len(rows) == 1050
        done(sandbox, "inside", stop_running=True)
        assert cluster.rows("i") == rows
        done(sandbox, "inside", rollback=True, stop_running=True)
        assert cluster.rows("i") == rows
    finally:
        sandbox.close()
