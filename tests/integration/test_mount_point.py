# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A data directory that is a mount point can't be renamed: its entries are moved, the old ones are kept inside.

Left out (conftest.py) where nothing can be mounted.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from support.restoring import History, archived, backup, done, killed_in_swap, refused, restore, unharmed
from support.sandbox import Cluster, Sandbox

INSIDE = ".mapswipe-walg/pgsql_tmp"


class OnTmpfs:
    """A cluster's directory becomes a file system of its own, and is left so until the sandbox closes."""

    def __init__(self, cluster: Cluster) -> None:
        self.path = cluster.data_dir
        aside = self.path.with_name("moving")
        cluster.stop()
        self.path.rename(aside)
        self.path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g,mode=0700", "none", str(self.path)], check=True)
        subprocess.run(["cp", "-a", f"{aside}/.", str(self.path)], check=True)
        subprocess.run(["rm", "-rf", str(aside)], check=True)
        cluster.start()

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> Iterator[History]:
    made = archived(sandbox)
    mounted = OnTmpfs(made.cluster)
    made.step()
    made.cluster.ship()
    yield made
    made.cluster.stop()
    mounted.unmount()


def test_entries_are_swapped_and_come_back(sandbox: Sandbox, history: History) -> None:
    """The rows of the target in the same file system, the old cluster inside it; rolled back, the old rows."""
    cluster = history.cluster
    lsn = history.steps[1]["lsn"]
    history.step()
    before = history.numbers()
    device = cluster.data_dir.stat().st_dev
    found = done(sandbox, "mounted", target_lsn=lsn, stop_running=True)
    assert found["kept_as"] == str(cluster.data_dir / INSIDE / "before-mounted")
    assert os.path.ismount(cluster.data_dir)
    assert cluster.data_dir.stat().st_dev == device
    assert history.numbers() == [0, 1]
    assert restore(sandbox, "mounted", target_lsn=lsn)["changed"] is False
    taken = backup(sandbox)
    kept = sum(path.stat().st_size for path in (cluster.data_dir / INSIDE).rglob("*") if path.is_file())
    live = sum(path.stat().st_size for path in (cluster.data_dir / "base").rglob("*") if path.is_file())
    assert kept > live
    assert taken["uncompressed_size"] < live + kept, "the old cluster is not in the next base backup"
    done(sandbox, "mounted", rollback=True, stop_running=True)
    assert history.numbers() == before
    assert (cluster.data_dir / INSIDE / "restore-mounted" / "PG_VERSION").exists()
    assert not (cluster.data_dir / INSIDE / "before-mounted").exists()
    cluster.ship()


def test_killed_between_entries(sandbox: Sandbox, history: History) -> None:
    """Half of the entries moved: nothing can start there, and the next run has the rows; back likewise."""
    cluster = history.cluster
    before = history.numbers()
    lsn = history.steps[1]["lsn"]
    assert killed_in_swap(sandbox, "halves", "after", 5, target_lsn=lsn, stop_running=True)
    assert not (cluster.data_dir / "PG_VERSION").exists()
    assert killed_in_swap(sandbox, "halves", "before", 30, target_lsn=lsn)
    done(sandbox, "halves", target_lsn=lsn)
    assert history.numbers() == [0, 1]
    assert killed_in_swap(sandbox, "halves", "after", 5, rollback=True, stop_running=True)
    assert not (cluster.data_dir / "PG_VERSION").exists()
    done(sandbox, "halves", rollback=True)
    assert history.numbers() == before


def test_a_full_disk_is_known_before_the_first_change(sandbox: Sandbox, history: History) -> None:
    filler = history.cluster.data_dir / ".mapswipe-walg" / "filler"
    filler.write_bytes(b"\0" * (700 << 20))
    try:
        with unharmed(history.cluster):
            assert "Too little room" in refused(sandbox, "full", target_xid=history.steps[1]["xid"], stop_running=True)
    finally:
        filler.unlink()
