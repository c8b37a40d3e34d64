# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All places of the cluster lie in a directory of root's, where its owner can rename nothing: root does, and that alone.

What is restored, kept and made again belongs to the owner. (What others may try with it: tests/attacks.)
"""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

import pytest
from support.restoring import (
    History,
    archived_apart,
    below_roots,
    done,
    killed_in_swap,
    planned,
    refused,
    restore,
    running,
)
from support.sandbox import Cluster, Sandbox


@pytest.fixture(scope="module")
def above(sandbox: Sandbox) -> Path:
    return below_roots(sandbox)


@pytest.fixture(scope="module")
def history(sandbox: Sandbox, above: Path) -> History:
    return archived_apart(sandbox, 2, above)


def everything(cluster: Cluster) -> tuple[list[str], ...]:
    return tuple(cluster.rows(table) for table in ("t", "s0", "s1"))


def others(sandbox: Sandbox, above: Path) -> list[str]:
    """Return the names in root's directory that are not the owner's private directories."""
    uid = pwd.getpwnam(sandbox.user).pw_uid
    found = {path.name: path.lstat() for path in above.iterdir()}
    return [name for name, one in found.items() if (one.st_uid, one.st_mode & 0o777) != (uid, 0o700)]


def test_restored_killed_and_rolled_back(sandbox: Sandbox, history: History, above: Path) -> None:
    cluster = history.cluster
    new, lsn = everything(cluster), cluster.sql("SELECT pg_current_wal_insert_lsn()")
    cluster.sql("INSERT INTO s0 VALUES (102); INSERT INTO s1 VALUES (102)")
    history.step()
    old, was = everything(cluster), sorted(os.listdir(above))
    assert killed_in_swap(sandbox, "dies", "before", target_lsn=lsn, stop_running=True)
    while killed_in_swap(sandbox, "dies", "after", target_lsn=lsn):
        assert running(sandbox) == set()
    assert everything(cluster) == new
    assert (cluster.data_dir / "pg_wal").resolve() == above / "wal"
    assert others(sandbox, above) == []
    assert killed_in_swap(sandbox, "dies", "before", rollback=True, stop_running=True)
    while killed_in_swap(sandbox, "dies", "after", rollback=True):
        pass
    assert everything(cluster) == old
    left = {f"{name}.restore-dies" for name in ("data", "wal", "space0", "space1")}
    assert set(os.listdir(above)) - set(was) == left
    assert others(sandbox, above) == []


def test_paused_and_discarded(sandbox: Sandbox, history: History, above: Path) -> None:
    cluster = history.cluster
    was, before = everything(cluster), sorted(os.listdir(above))
    done(sandbox, "paused", target_lsn=cluster.sql("SELECT pg_current_wal_insert_lsn()"), action="pause")
    assert others(sandbox, above) == []
    done(sandbox, "paused", discard=True)
    assert everything(cluster) == was
    assert sorted(os.listdir(above)) == before


def test_overwritten(sandbox: Sandbox, history: History, above: Path) -> None:
    """The old cluster's own last WAL is kept while there is nothing else, beside it."""
    cluster = history.cluster
    history.step()
    was, before = everything(cluster), sorted(os.listdir(above))
    done(sandbox, "over", overwrite=cluster.system_identifier(), stop_running=True)
    assert everything(cluster) == was
    assert sorted(os.listdir(above)) == before
    assert others(sandbox, above) == []


def test_lost(sandbox: Sandbox, history: History, above: Path) -> None:
    """A new host: root makes only the directories that the play names, and says so in check mode."""
    cluster = history.cluster
    cluster.ship()
    was = everything(cluster)
    cluster.kill()
    for name in ("data", "wal", "space0", "space1"):
        shutil.rmtree(above / name)
    before = sorted(os.listdir(above))
    for check in (True, False):
        text = refused(sandbox, "lost", check)
        assert f"{above / 'space0'} (pg_tblspc/" in text
        assert "does not exist" in text
        assert "walg_restore_tablespaces: {" in text
    assert sorted(os.listdir(above)) == before
    named = {str(above / name): str(above / name) for name in ("space0", "space1")}
    planned(sandbox, "lost", tablespaces=named, wal_dir=str(above / "wal"))
    done(sandbox, "lost", tablespaces=named, wal_dir=str(above / "wal"))
    assert everything(cluster) == was
    assert others(sandbox, above) == []
    assert (cluster.data_dir / "pg_wal").resolve() == above / "wal"
    assert restore(sandbox, "lost", tablespaces=named, wal_dir=str(above / "wal"))["changed"] is False
