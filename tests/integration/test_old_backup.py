# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a base backup may hold that would change where recovery ends, and an archive that this WAL-G can't read.

Nothing may be lost: what was asked for is reached and nothing of another day stays in force; or the restore fails and names what
it could not read, production is the same, and the same request succeeds when it can be read again.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.forked import ForkingSandbox
from support.restoring import History, archived, backup, beside, done, refused, running, segments, unharmed
from support.sandbox import Sandbox

SANDBOX = ForkingSandbox
SIGNALS = ("standby.signal", "recovery.signal")


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    """The newest base backup is as one of a standby that was once restored to a point, by WAL-G up to 3.0.0."""
    made = archived(sandbox)
    cluster, modern = made.cluster, sandbox.major() >= 12
    made.step()
    old = {
        "recovery_target_time": "2020-01-01 00:00:00+00",  # of another kind: PostgreSQL refuses two
        "recovery_target_action": "shutdown",
        "recovery_target_inclusive": "off",
        "recovery_target_timeline": "1",
        "restore_command": "false",
        "primary_conninfo": "host=/nowhere",
    }
    for name, value in old.items() if modern else ():
        cluster.sql(f"ALTER SYSTEM SET {name} = '{value}'")
    for name in (*SIGNALS, "recovery.done"):
        (cluster.data_dir / name).touch()
        shutil.chown(cluster.data_dir / name, sandbox.user)
    backup(sandbox)
    for name in (*SIGNALS, "recovery.done"):
        (cluster.data_dir / name).unlink()
    made.ship(3)
    return made


@contextmanager
def compressed_otherwise(path: Path) -> Iterator[None]:
    """The object has the name of a compression that this WAL-G does not know."""
    other = path.with_suffix(".zz")
    path.rename(other)
    try:
        yield
    finally:
        other.rename(path)


def test_wal_in_a_compression_that_is_not_known(sandbox: Sandbox, history: History) -> None:
    """The segment of the last row but one: WAL-G says of it what it says at the end of an archive."""
    cluster, victim = history.cluster, segments(history.cluster)[-2]
    name = victim.name.split(".")[0]
    with unharmed(cluster), compressed_otherwise(victim):
        text = refused(sandbox, "unknown", target_xid=history.steps[-1]["xid"], stop_running=True)
    assert name in text
    assert "end of the archive" not in text
    assert running(sandbox) == {str(cluster.data_dir)}


def test_a_base_backup_in_a_compression_that_is_not_known(sandbox: Sandbox, history: History) -> None:
    cluster = history.cluster
    parts = sorted((sandbox.storage_dir / "main" / "basebackups_005").glob("*/tar_partitions/part_*"))
    with unharmed(cluster), compressed_otherwise(parts[-1]):
        text = refused(
            sandbox, "unknown", target_xid=history.steps[-1]["xid"], stop_running=True, fetch_stall_timeout=5
        )
    assert re.search(r"Fetching the base backup .*(ended with|was ended)", text)
    assert parts[-1].with_suffix(".zz").name in text
    assert beside(cluster.data_dir) == []


def test_an_archive_of_nobody_and_one_of_another_cluster(sandbox: Sandbox, history: History) -> None:
    """Right settings but for the prefix: known before the first change."""
    cluster, state = history.cluster, sandbox.marker()
    other = sandbox.cluster("other", archive_mode="on")
    sandbox.configure(other)
    assert sandbox.module("walg_archive", sandbox.instance("other"))["changed"]
    assert sandbox.module("walg_backup", {**sandbox.instance("other"), "max_age": 0})["changed"]
    other.stop()
    state.unlink(missing_ok=True)
    config = sandbox.host / "config" / "main.json"
    good = config.read_text()
    for prefix, word in (("other", other_identifier(sandbox)), ("empty", "holds no base backup")):
        sandbox.storage(prefix)
        config.write_text(good.replace(f"{sandbox.storage_dir}/main", f"{sandbox.storage_dir}/{prefix}"))
        try:
            with unharmed(cluster):
                assert word in refused(sandbox, "foreign", stop_running=True)
        finally:
            config.write_text(good)
        assert (beside(cluster.data_dir), state.exists()) == ([], False)


def other_identifier(sandbox: Sandbox) -> str:
    """Return what the other cluster's base backup says of its system identifier."""
    listed = sandbox.module("walg_backup_info", sandbox.instance("other"))
    return str(listed["backups"][0]["system_identifier"])


def test_what_was_asked_for_is_reached_and_nothing_old_is_in_force(sandbox: Sandbox, history: History) -> None:
    cluster, count = history.cluster, len(history.steps) - 1
    done(sandbox, "reached", target_xid=history.steps[count - 1]["xid"], stop_running=True)
    assert history.numbers() == list(range(count))
    assert cluster.sql("SELECT pg_is_in_recovery()") == "f"
    assert [name for name in (*SIGNALS, "recovery.done", "recovery.conf") if (cluster.data_dir / name).exists()] == []
    if sandbox.major() >= 12:
        asked = "SELECT count(*) FROM pg_settings WHERE name ~ '^(recovery_target|restore_command|primary_conninfo)' "
        assert cluster.sql(f"{asked} AND setting <> boot_val") == "0"
    text = (cluster.data_dir / "postgresql.auto.conf").read_text()
    assert not re.search("recovery_target|restore_command|primary_conninfo", text)
    cluster.stop()
    cluster.start()
    assert history.numbers() == list(range(count))
