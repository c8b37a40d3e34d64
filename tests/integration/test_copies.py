# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores beside a primary that goes on: standbys that follow its archive, and copies that can't write to it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from support.observe import files
from support.restoring import History, archived, moved_away, unharmed, until
from support.sandbox import Cluster, Sandbox


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    made = archived(sandbox)
    # Whatever the old configuration says: also what wins over every file.
    made.cluster.sql("ALTER SYSTEM SET archive_mode = 'on'")
    made.cluster.sql(f"ALTER SYSTEM SET archive_command = '{made.cluster.sql('SHOW archive_command')}'")
    made.cluster.sql("ALTER SYSTEM SET recovery_target_time = '2020-01-01 00:00:00+00'") if major(
        made.cluster
    ) > 11 else None
    made.step()
    assert sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})["changed"]
    made.step()
    made.cluster.ship()
    return made


def major(cluster: Cluster) -> int:
    return int((cluster.data_dir / "PG_VERSION").read_text())


def copied(sandbox: Sandbox, name: str, **options: Any) -> tuple[Cluster, dict[str, Any]]:
    """Restore main's archive to a directory of another name, and start the server there by ourselves."""
    copy = sandbox.idle_cluster(name)
    sandbox.configure(copy, f"file://{sandbox.storage_dir}/main", service="none")
    wanted = {"instance": name, "config_dir": str(sandbox.host / "config"), "request": name, **options}
    answer = sandbox.module("walg_restore", wanted)
    assert answer.get("changed"), answer
    assert not answer.get("failed"), answer
    again = sandbox.module("walg_restore", wanted)
    assert again["changed"] is False, again
    copy.start("-p", str(copy.port), "-k", str(copy.socket_dir))
    return copy, dict(answer["restore"])


def test_a_standby_follows_the_archive(sandbox: Sandbox, history: History) -> None:
    """It has the primary's rows, gets later ones after their segment was archived, and takes no writes.

    While the storage is away it goes on serving what it has, and then catches up.
    """
    primary, storage = history.cluster, sandbox.storage_dir / "main"
    with unharmed(primary):
        standby, found = copied(sandbox, "standby", standby=True)
    assert found["standby"] is True
    until(lambda: standby.rows("t") == primary.rows("t"))
    assert standby.sql("SELECT pg_is_in_recovery()") == "t"
    with pytest.raises(AssertionError, match="read-only"):
        standby.sql("INSERT INTO t VALUES (99)")
    history.step()
    primary.ship()
    until(lambda: standby.rows("t") == primary.rows("t"))
    behind = standby.rows("t")
    with moved_away(storage):
        history.step()
        for _turn in range(20):
            assert standby.rows("t") == behind
            time.sleep(0.3)
    primary.ship()
    until(lambda: standby.rows("t") == primary.rows("t"))
    there = files(storage)
    standby.stop()
    standby.start("-p", str(standby.port), "-k", str(standby.socket_dir))
    assert standby.sql("SELECT pg_is_in_recovery()") == "t"
    assert files(storage) == there, "a standby writes nothing to the archive"
    standby.stop()


def test_a_copy_can_not_write_to_the_archive(sandbox: Sandbox, history: History) -> None:
    """It is promoted, takes rows and fills segments, and the archive stays as it is to the last byte."""
    there = files(sandbox.storage_dir / "main")
    with unharmed(history.cluster):
        copy, _found = copied(sandbox, "copy", archive="none")
    assert copy.rows("t") == history.cluster.rows("t")
    assert copy.sql("SELECT pg_is_in_recovery()") == "f"
    for number in range(3):
        copy.sql(f"INSERT INTO t VALUES ({500 + number})")
        copy.sql("SELECT pg_switch_wal()")
    assert copy.sql("SHOW archive_mode") == "off"
    assert copy.sql("SHOW archive_command") in ("", "(disabled)")
    copy.stop()
    copy.start("-p", str(copy.port), "-k", str(copy.socket_dir))
    copy.sql("SELECT pg_switch_wal()")
    copy.stop()
    assert files(sandbox.storage_dir / "main") == there
