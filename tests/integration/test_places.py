# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's parts outside of its data directory: tablespaces kept or elsewhere, WAL in a directory of its own; and back."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.observe import files
from support.restoring import History, archived_apart, beside, done, refused, restore, unharmed
from support.sandbox import Cluster, Sandbox


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    return archived_apart(sandbox, 2)


@pytest.fixture(scope="module")
def apart_dir(sandbox: Sandbox) -> Path:
    return sandbox.pg_dir / "apart"


def everything(cluster: Cluster) -> tuple[list[str], ...]:
    return tuple(cluster.rows(table) for table in ("t", "s0", "s1"))


def location(cluster: Cluster, name: str) -> str:
    return cluster.sql(f"SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = '{name}'")


def test_tablespaces_and_wal_stay_where_they_were(sandbox: Sandbox, history: History, apart_dir: Path) -> None:
    """The new rows in the same places; the old parts kept beside, and not written to any more; rolled back, the old rows."""
    cluster = history.cluster
    new = everything(cluster)
    lsn = cluster.sql("SELECT pg_current_wal_insert_lsn()")
    cluster.sql("INSERT INTO s0 VALUES (102); INSERT INTO s1 VALUES (102)")
    history.step()
    old = everything(cluster)
    found = done(sandbox, "kept", target_lsn=lsn, stop_running=True)
    assert everything(cluster) == new
    assert (cluster.data_dir / "pg_wal").resolve() == apart_dir / "wal"
    assert location(cluster, "space0") == str(apart_dir / "space0")
    kept = {place["link"]: Path(place["kept_as"]) for place in found["places"]}
    assert sorted(path.name for path in kept.values()) == [
        "space0.before-kept",
        "space1.before-kept",
        "wal.before-kept",
    ]
    was = {link: files(path) for link, path in kept.items()}
    cluster.sql("INSERT INTO s0 VALUES (103); INSERT INTO s1 VALUES (103); CHECKPOINT")
    cluster.ship()
    assert {link: files(path) for link, path in kept.items()} == was
    before = Path(found["kept_as"])
    for link, path in kept.items():
        assert (before / link).resolve() == path, "the kept cluster holds together"
    done(sandbox, "kept", rollback=True, stop_running=True)
    assert everything(cluster) == old
    assert (cluster.data_dir / "pg_wal").resolve() == apart_dir / "wal"
    assert location(cluster, "space1") == str(apart_dir / "space1")
    cluster.sql("INSERT INTO s1 VALUES (104)")
    cluster.ship()


def test_a_tablespace_and_wal_go_elsewhere(sandbox: Sandbox, history: History, apart_dir: Path) -> None:
    """One tablespace by its old location, WAL by option; the old ones lie where they lay, untouched; and rolled back they are used."""
    cluster = history.cluster
    old = everything(cluster)
    elsewhere = sandbox.pg_dir / "elsewhere"
    sandbox.run(["mkdir", str(elsewhere)], user=sandbox.user)
    cluster.ship()
    done(
        sandbox,
        "remapped",
        stop_running=True,
        tablespaces={str(apart_dir / "space0"): str(elsewhere / "space0")},
        wal_dir=str(elsewhere / "wal"),
    )
    was = files(apart_dir / "space0"), files(apart_dir / "wal")
    assert everything(cluster) == old
    assert location(cluster, "space0") == str(elsewhere / "space0")
    assert location(cluster, "space1") == str(apart_dir / "space1")
    assert (cluster.data_dir / "pg_wal").resolve() == elsewhere / "wal"
    cluster.sql("INSERT INTO s0 VALUES (105); CHECKPOINT")
    cluster.ship()
    assert (files(apart_dir / "space0"), files(apart_dir / "wal")) == was
    done(sandbox, "remapped", rollback=True, stop_running=True)
    assert everything(cluster) == old
    assert location(cluster, "space0") == str(apart_dir / "space0")
    assert (cluster.data_dir / "pg_wal").resolve() == apart_dir / "wal"


def test_a_tablespace_that_the_backup_does_not_have(sandbox: Sandbox, history: History) -> None:
    with unharmed(history.cluster):
        text = refused(sandbox, "unknown", stop_running=True, tablespaces={"4711": str(sandbox.pg_dir / "nowhere")})
    assert "4711" in text
    assert str(sandbox.pg_dir / "apart" / "space0") in text


def test_a_base_backup_from_before_a_tablespace(sandbox: Sandbox, history: History, apart_dir: Path) -> None:
    """Replay would make the tablespace again in the directory that the running cluster uses, and clear it first: refused."""
    was = sorted(files(apart_dir / "space0"))
    with unharmed(history.cluster):
        text = refused(sandbox, "before-it", stop_running=True, target_lsn=history.steps[1]["lsn"])
    assert str(apart_dir / "space0") in text
    assert "walg_restore_backup" in text
    assert sorted(files(apart_dir / "space0")) == was


def test_a_clone_does_not_touch_its_source(sandbox: Sandbox, history: History, apart_dir: Path) -> None:
    """On the same host, while the source runs: its tablespaces are in use, so the clone needs other places, and is told so.

    One that is newer than every base backup can't be given another place: replay makes it where it was, so it has to be empty there.
    """
    source, late = history.cluster, sandbox.pg_dir / "late"
    sandbox.run(["mkdir", str(late)], user=sandbox.user)
    for statement in (f"CREATE TABLESPACE late LOCATION '{late}'", "CREATE TABLE l TABLESPACE late AS SELECT 1 AS id"):
        source.sql(statement)
    source.ship()
    clone = sandbox.idle_cluster("clone")
    sandbox.configure(clone, f"file://{sandbox.storage_dir}/main", service="none")
    options = {"instance": "clone", "config_dir": str(sandbox.host / "config"), "request": "clone", "archive": "none"}
    was = sorted(os.listdir(apart_dir))
    with unharmed(source):
        answer = sandbox.module("walg_restore", options)
        assert f"could make it again at {late}" in answer["msg"]
        assert source.rows("l") == ["(1)"]
    for statement in ("DROP TABLE l", "DROP TABLESPACE late"):
        source.sql(statement)
    source.ship()
    with unharmed(source):
        answer = sandbox.module("walg_restore", options)
        assert answer.get("failed"), answer
        assert str(apart_dir / "space0") in answer["msg"]
        assert "walg_restore_tablespaces" in answer["msg"]
        assert not clone.data_dir.exists()
        copies = sandbox.pg_dir / "copies"
        sandbox.run(["mkdir", str(copies)], user=sandbox.user)
        places = {str(apart_dir / name): str(copies / name) for name in ("space0", "space1")}
        answer = sandbox.module("walg_restore", {**options, "tablespaces": places})
        assert answer.get("changed"), chr(10).join([str(answer["msg"]), *map(str, answer.get("log", [])[-14:])])
        assert not answer.get("failed"), answer
        clone.start("-p", str(clone.port), "-k", str(clone.socket_dir))
        assert everything(clone) == everything(source)
        clone.sql("INSERT INTO s0 VALUES (200)")
        clone.stop()
    assert sorted(os.listdir(apart_dir)) == was
    assert beside(clone.data_dir) == []


def test_a_lost_cluster_with_tablespaces_comes_back(sandbox: Sandbox, history: History, apart_dir: Path) -> None:
    """All directories are gone, their parents are there: everything is made again, WAL in its directory where that is asked for."""
    cluster = history.cluster
    late = sandbox.pg_dir / "late"  # newer than every base backup
    cluster.sql(f"CREATE TABLESPACE late LOCATION '{late}'")
    for statement in ("INSERT INTO s0 VALUES (106)", "CREATE TABLE l TABLESPACE late AS SELECT 7 AS id"):
        cluster.sql(statement)
    cluster.ship()
    rows = everything(cluster)
    cluster.lose()
    shutil.rmtree(next(late.iterdir()))
    shutil.rmtree(apart_dir / "space0")
    shutil.rmtree(apart_dir / "space1")
    shutil.rmtree(apart_dir / "wal")
    found = done(sandbox, "lost", wal_dir=str(apart_dir / "wal"))
    assert list(found["made_again"].values()) == [str(late)]
    assert (everything(cluster), cluster.rows("l")) == (rows, ["(7)"])
    assert (cluster.data_dir / "pg_wal").resolve() == apart_dir / "wal"
    assert restore(sandbox, "lost")["changed"] is False
