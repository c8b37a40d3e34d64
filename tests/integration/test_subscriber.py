# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores of a cluster that subscribes: a copy takes nothing that is meant for its source; the source itself goes on."""

from __future__ import annotations

import time
from typing import Any

import pytest
from support.restoring import History, archived, backup, done, until
from support.sandbox import Cluster, Sandbox

ROWS = 20
SLOTS = "SELECT string_agg(slot_name || ' ' || confirmed_flush_lsn || ' ' || active, ',' ORDER BY slot_name) FROM pg_replication_slots"
SUBSCRIPTIONS = "SELECT string_agg(subname || ' ' || subenabled, ',' ORDER BY subname) FROM pg_subscription"


@pytest.fixture(scope="module")
def publisher(sandbox: Sandbox) -> Cluster:
    made = sandbox.cluster("publisher", wal_level="logical")
    made.sql("CREATE TABLE s (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE s; INSERT INTO s VALUES (0)")
    return made


@pytest.fixture(scope="module")
def subscriber(sandbox: Sandbox, publisher: Cluster) -> History:
    """Two subscriptions, one of them in a database that takes no connections by now."""
    made = archived(sandbox)
    cluster = made.cluster
    address = f"host={publisher.socket_dir} port={publisher.port} dbname=postgres user=postgres password=geheim"
    cluster.sql("CREATE DATABASE closed")
    for database, name in (("postgres", "taken"), ("closed", "taken_too")):
        cluster.sql(
            f"\\c {database}\nCREATE TABLE s (id int PRIMARY KEY);\n"
            f"CREATE SUBSCRIPTION {name} CONNECTION '{address}' PUBLICATION p;"
        )
    until(lambda: count(cluster) == 1 and count(cluster, "closed") == 1)
    cluster.sql("UPDATE pg_database SET datallowconn = false WHERE datname = 'closed'")
    backup(sandbox)
    made.step()
    cluster.ship()
    return made


def count(cluster: Cluster, database: str = "postgres") -> int:
    return int(cluster.sql(f"\\c {database}\nSELECT count(*) FROM s"))


def copied(sandbox: Sandbox, name: str, **options: Any) -> tuple[Cluster, dict[str, Any]]:
    """Restore main's archive as a copy of another name, and start it."""
    copy = sandbox.idle_cluster(name)
    sandbox.configure(copy, f"file://{sandbox.storage_dir}/main", service="none")
    answer = sandbox.module("walg_restore", {**sandbox.instance(name), "request": name, "archive": "none", **options})
    assert answer.get("changed"), answer
    copy.start("-p", str(copy.port), "-k", str(copy.socket_dir))
    return copy, dict(answer["restore"])


def test_a_copy_takes_nothing_from_its_source(sandbox: Sandbox, publisher: Cluster, subscriber: History) -> None:
    original = subscriber.cluster
    original.stop()
    publisher.sql(f"INSERT INTO s SELECT g FROM generate_series(1, {ROWS - 1}) g")
    until(lambda: " true" not in publisher.sql(SLOTS))
    slots = publisher.sql(SLOTS)
    copy, found = copied(sandbox, "copy")
    time.sleep(3)  # a worker would have come by now
    assert publisher.sql(SLOTS) == slots
    assert (count(copy), copy.sql(SUBSCRIPTIONS)) == (1, "taken false,taken_too false")
    (note,) = [one for one in found["notes"] if "ubscription" in one]
    assert "taken (database postgres)" in note
    assert "taken_too (database closed)" in note
    assert "geheim" not in str(found)
    copy.sql("DROP SUBSCRIPTION taken")  # takes no slot of the publisher's with it
    assert publisher.sql(SLOTS) == slots
    copy.stop()
    original.start()
    until(lambda: count(original) == ROWS)
    original.sql("UPDATE pg_database SET datallowconn = true WHERE datname = 'closed'")
    until(lambda: count(original, "closed") == ROWS)
    assert original.sql(SUBSCRIPTIONS) == "taken true,taken_too true"


def test_the_cluster_itself_goes_on(sandbox: Sandbox, publisher: Cluster, subscriber: History) -> None:
    """Restored in its own place, it takes up where it stood: what it had taken is in its WAL, and the rest comes from its slots."""
    cluster = subscriber.cluster
    publisher.sql(f"INSERT INTO s VALUES ({ROWS})")
    until(lambda: count(cluster) == ROWS + 1)
    found = done(sandbox, "itself", stop_running=True)
    assert [one for one in found["notes"] if "taken (database postgres)" in one]
    assert cluster.sql(SUBSCRIPTIONS) == "taken true,taken_too true"
    publisher.sql(f"INSERT INTO s VALUES ({ROWS + 1})")
    until(lambda: count(cluster) == ROWS + 2 and count(cluster, "closed") == ROWS + 2)
