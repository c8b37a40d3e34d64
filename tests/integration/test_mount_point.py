# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A data directory that is a mount point can't be renamed: its entries are moved, the old ones are kept inside.

Left out (conftest.py) where nothing can be mounted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.restoring import History, archived, backup, done, killed_in_swap, planned, refused, restore, unharmed
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
    # What WAL-G has fetched ahead for the restores before takes more or less room.
    filler.write_bytes(b"\0" * (shutil.disk_usage(history.cluster.data_dir).free - (300 << 20)))
    try:
        with unharmed(history.cluster):
            assert "Too little room" in refused(sandbox, "full", target_xid=history.steps[1]["xid"], stop_running=True)
    finally:
        filler.unlink()


def test_what_its_owner_can_not_move_stays(sandbox: Sandbox, history: History) -> None:
    """A storage's snapshots and root's directories: in the mount point they stay where they are, and the swap goes through.

    Named to be overwritten, a cluster with such a directory is not removed by half.
    """
    cluster, data = history.cluster, history.cluster.data_dir
    before, lsn = history.numbers(), history.steps[1]["lsn"]
    (data / "lost+found").mkdir(mode=0o700)
    for name in (".snapshot", "of-root"):
        (data / name / "hourly.0").mkdir(parents=True)
        (data / name / "hourly.0" / "file").write_text("kept")
    options = {"target_lsn": lsn, "stop_running": True}
    assert any(
        f"left as it is there: {data}/.snapshot, {data}/of-root" in note
        for note in planned(sandbox, "snapshots", **options)["notes"]
    )
    done(sandbox, "snapshots", **options)
    assert history.numbers() == [0, 1]
    assert (data / ".snapshot" / "hourly.0" / "file").read_text() == "kept"
    done(sandbox, "snapshots", rollback=True, stop_running=True)
    assert history.numbers() == before
    shutil.rmtree(data / ".snapshot")
    shutil.move(data / "of-root", data / "base" / "of-root")
    with unharmed(cluster):
        text = refused(sandbox, "by-half", overwrite=cluster.system_identifier(), **options)
        assert f"can't remove {data}/base/of-root" in text
    shutil.rmtree(data / "base" / "of-root")
    (data / "lost+found").rmdir()
    (data / "pg_stat").rename(data / "stat")
    (data / "pg_stat").mkdir(mode=0o755)
    with unharmed(cluster):
        assert f"{data}/pg_stat is in {data} (data directory), and its owner may not write to it" in refused(
            sandbox, "closed", **options
        )
    (data / "pg_stat").rmdir()
    (data / "stat").rename(data / "pg_stat")


# --- mounted inside the data directory --------------------------------------------------------------------------------


def mounted(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def unmounted(path: Path) -> None:
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture(scope="module")
def volumes(make_sandbox: Callable[..., Sandbox]) -> Iterator[tuple[Sandbox, History]]:
    """pg_wal is a volume inside a plain data directory, postgresql.conf a file that is bound from elsewhere, pg_stat_tmp in memory."""
    sandbox = make_sandbox()
    made = archived(sandbox)
    cluster = made.cluster
    data, config = cluster.data_dir, sandbox.pg_dir / "postgresql.conf"
    cluster.stop()
    sandbox.run(
        ["sh", "-c", f"cp -a {data}/postgresql.conf {config} && mv {data}/pg_wal {data}.wal"], user=sandbox.user
    )
    for name, size in (("pg_wal", "2g"), ("pg_stat_tmp", "10m")):
        sandbox.run(["mkdir", "-p", str(data / name)], user=sandbox.user)
        mounted("-t", "tmpfs", "-o", f"size={size},mode=0700", "none", str(data / name))
        shutil.chown(data / name, sandbox.user)
    sandbox.run(["sh", "-c", f"mv {data}.wal/* {data}/pg_wal && rm -r {data}.wal"], user=sandbox.user)
    mounted("--bind", str(config), str(data / "postgresql.conf"))
    cluster.start()
    made.step()
    backup(sandbox)
    made.step()
    cluster.ship()
    yield sandbox, made
    cluster.stop()
    for name in ("postgresql.conf", "pg_stat_tmp", "pg_wal"):
        unmounted(data / name)


def test_volumes_inside_keep_their_places(volumes: tuple[Sandbox, History]) -> None:
    """The rows of the target with WAL on its volume; what stays is named; the kept cluster is led to its WAL; back, the old rows."""
    sandbox, history = volumes
    data = history.cluster.data_dir
    before, lsn = history.numbers(), history.steps[1]["lsn"]
    devices = [(data / name).stat().st_dev for name in ("pg_wal", "pg_stat_tmp", "postgresql.conf")]
    (data / "postgresql.conf").open("a").write("# the host's own\n")
    told = planned(sandbox, "volumes", target_lsn=lsn, stop_running=True)
    assert any(str(data / "postgresql.conf") in note for note in told["notes"])
    found = done(sandbox, "volumes", target_lsn=lsn, stop_running=True)
    assert history.numbers() == [0, 1]
    assert [(data / name).stat().st_dev for name in ("pg_wal", "pg_stat_tmp", "postgresql.conf")] == devices
    assert not (data / "pg_wal").is_symlink()
    assert "# the host's own" in (data / "postgresql.conf").read_text()
    kept = Path(found["kept_as"])
    assert (kept / "pg_wal").resolve() == data / "pg_wal" / INSIDE / "before-volumes"
    assert not (data / INSIDE / "restore-volumes").exists()
    history.cluster.ship()
    done(sandbox, "volumes", rollback=True, stop_running=True)
    assert history.numbers() == before
    history.cluster.ship()


def test_killed_with_volumes_inside(volumes: tuple[Sandbox, History]) -> None:
    sandbox, history = volumes
    before, lsn = history.numbers(), history.steps[1]["lsn"]
    for number in (3, 9):
        assert killed_in_swap(sandbox, "dying", "after", number, target_lsn=lsn, stop_running=True)
        assert not (history.cluster.data_dir / "PG_VERSION").exists()
    done(sandbox, "dying", target_lsn=lsn)
    assert history.numbers() == [0, 1]
    assert killed_in_swap(sandbox, "dying", "after", 9, rollback=True, stop_running=True)
    done(sandbox, "dying", rollback=True)
    assert history.numbers() == before


@pytest.mark.parametrize("name", ["base", "pg_xact", "base/1", "pg_wal/archive_status", "postgresql.auto.conf"])
def test_what_has_to_move_and_is_mounted_is_refused(volumes: tuple[Sandbox, History], name: str) -> None:
    """A bind of the same device, which os.path.ismount does not see, a single file, or deep below: before the fetch, by name."""
    sandbox, history = volumes
    path = history.cluster.data_dir / name
    mounted("--bind", str(path), str(path))
    try:
        with unharmed(history.cluster):
            text = refused(sandbox, "mounted", target_lsn=history.steps[1]["lsn"], stop_running=True)
        assert f"{path} is mounted inside" in text
        assert not (history.cluster.data_dir / INSIDE / "restore-mounted").exists()
    finally:
        unmounted(path)
