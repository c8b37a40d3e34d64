# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What real clusters have and tidy ones don't, drawn at random for a seed, and how it is made."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .sandbox import Cluster, Sandbox

NAMES = (
    *(f"segments of {mib} MiB" for mib in (1, 4, 16, 32, 64)),
    *("one tablespace", "two tablespaces", "shared tablespace", "nested tablespace"),
    *("pg_wal is a mount", "WAL on a mount", "tablespace is a mount"),
    *("subscriber", "disabled subscription", "origins", "preloaded", "raised limits"),
    *("settings in conf", "settings in auto", "settings in include"),
)
_CLONE_NEWNS = 0x20000  # of sched.h
_RAISED = {
    "max_connections": "150",
    "max_worker_processes": "12",
    "max_locks_per_transaction": "100",
    "max_prepared_transactions": "7",
}


@dataclass(frozen=True)
class Oddities:
    """``mount``: what is a mount point; ``subscriber``: kind of subscription; ``settings_in``: where the odd settings stand."""

    segment_mib: int = 16
    tablespaces: int = 0
    shared: bool = False
    nested: bool = False
    mount: str = ""
    subscriber: str = ""
    origins: int = 0
    preload: str = ""
    raised: bool = False
    settings_in: str = "conf"

    def names(self) -> list[str]:
        """Return the oddities as they are counted."""
        spaces = ("", "one tablespace", "two tablespaces")[self.tablespaces]
        flags = {
            "shared tablespace": self.shared,
            "nested tablespace": self.nested,
            "origins": self.origins,
            "preloaded": self.preload,
            "raised limits": self.raised,
        }
        given = [f"segments of {self.segment_mib} MiB", spaces, self.mount, self.subscriber]
        given += [name for name, there in flags.items() if there]
        return [name for name in (*given, f"settings in {self.settings_in}") if name]

    def settings(self) -> dict[str, str]:
        """Return what stands in the cluster's configuration for it."""
        found = dict(_RAISED) if self.raised else {}
        if self.preload:
            found["shared_preload_libraries"] = self.preload
        if self.origins:
            found["max_replication_slots"] = "40"
        return found


def oddities_of(seed: int, *, major: int, root: bool, neighbour: bool) -> Oddities:
    """Return what a seed draws on a machine where one is ``root`` or not, and has a ``neighbour`` of another major or not."""
    draw = random.Random(f"odd {seed}")
    mib = draw.choice([1, 1, 4, 16, 32, 64]) if major >= 11 else 16
    where = draw.choice(["conf", "auto", "include"])
    if draw.random() < 0.06:
        return Oddities(mib, nested=True, settings_in=where)
    spaces = draw.choice([0, 0, 1, 1, 2])
    mounts = ["", "", "pg_wal is a mount", "WAL on a mount", *(["tablespace is a mount"] if spaces else [])]
    return Oddities(
        mib,
        spaces,
        shared=bool(spaces) and neighbour and draw.random() < 0.5,
        mount=draw.choice(mounts) if root else "",
        subscriber=draw.choice(["", "", "subscriber", "disabled subscription"]),
        origins=draw.choice([0, 0, 3, 15]),
        preload=draw.choice(["", "pg_stat_statements", "pg_stat_statements,auto_explain"]),
        raised=draw.random() < 0.5,
        settings_in=where,
    )


@dataclass
class Place:
    """Directories of one cluster outside of its data directory, and its mounts. Mounts are seen by this process and its children only."""

    cluster: Cluster
    odd: Oddities

    @property
    def spaces(self) -> list[Path]:
        inside = self.cluster.data_dir if self.odd.nested else self.apart
        return [inside / f"space{number}" for number in range(max(self.odd.tablespaces, self.odd.nested))]

    @property
    def apart(self) -> Path:
        return self.cluster.sandbox.pg_dir / "apart"

    @property
    def wal(self) -> Path:
        return self.apart / "volume" / "wal"

    def make(self) -> None:
        """Make the directories of a stopped cluster."""
        for path in (self.apart, *self.spaces):
            self._run("mkdir", "-p", str(path), user=self.cluster.sandbox.user)
        pg_wal = self.cluster.data_dir / "pg_wal"
        if self.odd.mount == "tablespace is a mount":
            mount(self.spaces[0])
        elif self.odd.mount == "pg_wal is a mount":
            mount(pg_wal)
        elif self.odd.mount == "WAL on a mount":
            self._run("mkdir", "-p", str(self.wal.parent), user=self.cluster.sandbox.user)
            mount(self.wal.parent)
            self._run("mv", str(pg_wal), str(self.wal))
            self._run("ln", "-s", str(self.wal), str(pg_wal), user=self.cluster.sandbox.user)

    def lose(self) -> None:
        """All disks are gone but for what the neighbour has; a new machine has empty directories, no mount in PGDATA."""
        self.cluster.kill()
        unmount_below(self.cluster.data_dir)
        self._run("rm", "-rf", str(self.cluster.data_dir), str(self.wal))
        for space in self.spaces:
            self._run("rm", "-rf", *map(str, space.glob(f"PG_{self.cluster.sandbox.major()}_*")))

    def _run(self, *argv: str, user: str = "") -> None:
        done = self.cluster.sandbox.run(list(argv), user=user or None)
        assert done.returncode == 0, done.stdout


def mounts_of_its_own() -> bool:
    """Give this process and its children mounts that nobody else sees; False where that is not allowed."""
    if os.geteuid() != 0:
        return False
    if ctypes.CDLL(None).unshare(_CLONE_NEWNS) != 0:
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"], check=False, capture_output=True).returncode == 0


def mount(path: Path) -> None:
    """Make a directory a mount point, on the same disk: the device number does not tell."""
    subprocess.run(["mount", "--bind", str(path), str(path)], check=True)


def unmount_below(path: Path) -> None:
    """Unmount what is mounted below a directory: a mount moves along with the directory above it."""
    found = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(found):
        if point.startswith(f"{path}/"):
            subprocess.run(["umount", "--lazy", point], check=True)


def create(sandbox: Sandbox, odd: Oddities, base: dict[str, str]) -> tuple[Cluster, Place]:
    """Create and start a cluster with these oddities; ``base``: its ordinary settings."""
    cluster = sandbox.idle_cluster("main")
    size = {"min_wal_size": f"{2 * odd.segment_mib}MB", "max_wal_size": f"{8 * odd.segment_mib}MB"}
    initdb = [f"--wal-segsize={odd.segment_mib}"] if sandbox.major() >= 11 else []
    given = odd.settings()
    cluster.create(initdb, **base, **size, **(given if odd.settings_in == "conf" else {}))
    if odd.settings_in == "include":
        text = "".join(f"{name} = '{value}'\n" for name, value in given.items())
        (cluster.data_dir / "odd.conf").write_text(text)
        with (cluster.data_dir / "postgresql.conf").open("a", encoding="utf-8") as stream:
            stream.write("include 'odd.conf'\n")
    place = Place(cluster, odd)
    place.make()
    cluster.start()
    if odd.settings_in == "auto":
        for name, value in given.items():
            cluster.sql(f"ALTER SYSTEM SET {name} = {value if ',' in value else repr(value)}")
        cluster.stop()
        cluster.start()
    for number, space in enumerate(place.spaces):
        cluster.sql(f"CREATE TABLESPACE space{number} LOCATION '{space}'")
    for number in range(odd.origins):
        cluster.sql(f"SELECT pg_replication_origin_create('origin_{number}')")
        cluster.sql(f"SELECT pg_replication_origin_advance('origin_{number}', '0/{number + 1:X}0')")
    return cluster, place
