# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters that a restore must not harm: one that shares a tablespace's directory, and one that is subscribed to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from .oddities import Place
from .sandbox import Cluster

_ROWS = 5000


@dataclass(frozen=True)
class Neighbour:
    """A running cluster of another major version with rows in the first tablespace's directory."""

    cluster: Cluster

    @classmethod
    def beside(cls, place: Place, bin_dir: Path) -> Neighbour:
        sandbox = place.cluster.sandbox
        cluster = sandbox.idle_cluster("neighbour")
        cluster.bin_dir = bin_dir
        cluster.create()
        cluster.start()
        cluster.sql(f"CREATE TABLESPACE shared LOCATION '{place.spaces[0]}'")
        cluster.sql(f"CREATE TABLE kept TABLESPACE shared AS SELECT g AS id FROM generate_series(1, {_ROWS}) g")
        return cls(cluster)

    def check(self) -> None:
        """It has all its rows, read from the disk."""
        assert self.cluster.sql("CHECKPOINT; SELECT count(*) FROM kept") == str(_ROWS)

    def check_after_restart(self) -> None:
        self.cluster.stop()
        self.cluster.start()
        self.check()


@dataclass
class Publisher:
    """A running cluster that publishes the table p, to which the one in question is subscribed."""

    cluster: Cluster
    written: int = 0

    @classmethod
    def of(cls, subscriber: Cluster) -> Publisher:
        cluster = subscriber.sandbox.cluster("publisher", wal_level="logical")
        for one in (cluster, subscriber):
            one.sql("CREATE TABLE p (id int PRIMARY KEY)")
        cluster.sql("CREATE PUBLICATION pub FOR TABLE p")
        connection = f"host={cluster.socket_dir} port={cluster.port} user=postgres dbname=postgres"
        subscriber.sql(f"CREATE SUBSCRIPTION sub CONNECTION '{connection}' PUBLICATION pub")
        made = cls(cluster)
        made.write()
        deadline = time.monotonic() + 30
        while subscriber.sql("SELECT count(*) FROM p") != "1":
            assert time.monotonic() < deadline, "the subscriber got no row"
            time.sleep(0.1)
        return made

    def write(self) -> None:
        self.written += 1
        self.cluster.sql(f"INSERT INTO p VALUES ({self.written})")

    def confirmed(self) -> str:
        """Return how far the slot's receiver has got, by its own word."""
        return self.cluster.sql("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'sub'")
