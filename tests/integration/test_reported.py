# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others' users reported of other tools, tried on this one. Each test names the report."""

from __future__ import annotations

import shutil

import pytest
from support.restoring import History, apart, archived, backup, done
from support.sandbox import Sandbox

SPACES = 2


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    """Deltas, two tablespaces, one of them behind a link, and room for prepared transactions."""
    made = archived(sandbox, walg={"WALG_DELTA_MAX_STEPS": "4"}, max_prepared_transactions="5")
    apart(made.cluster, sandbox.pg_dir / "apart", SPACES)
    real = sandbox.pg_dir / "real"
    sandbox.run(["sh", "-c", f"mkdir {real} && ln -s {real} {sandbox.pg_dir}/linked"], user=sandbox.user)
    made.cluster.sql(f"CREATE TABLESPACE linked LOCATION '{sandbox.pg_dir}/linked'")
    made.cluster.sql("CREATE TABLE l TABLESPACE linked AS SELECT g AS id FROM generate_series(1, 100) g")
    return made


def test_a_tablespace_behind_a_link(sandbox: Sandbox, history: History) -> None:
    """pgbackrest/pgbackrest#236: WAL-G backs up nothing of it. Refused; what the message says is done, and is enough.

    It is alike where the link is a relative one.
    """
    cluster, real = history.cluster, sandbox.pg_dir / "real"
    link = next(
        path for path in (cluster.data_dir / "pg_tblspc").iterdir() if path.readlink() == sandbox.pg_dir / "linked"
    )
    for target in (sandbox.pg_dir / "linked", "../../real", "../../linked"):
        sandbox.run(["ln", "-sfn", str(target), str(link)], user=sandbox.user)
        answer = sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})
        assert f"let the first link lead to {real}" in answer["msg"], answer
    cluster.stop()
    sandbox.run(["ln", "-sfn", str(real), str(link)], user=sandbox.user)
    cluster.start()
    backup(sandbox)


def everything(history: History) -> dict[str, list[str]]:
    return {table: history.cluster.rows(table) for table in ("t", "s0", "s1", "l")}


def lose(sandbox: Sandbox, history: History) -> None:
    """The data directory is gone, and what lay in the tablespaces."""
    history.cluster.lose()
    for name in ("apart/space0", "apart/space1", "apart/wal", "real"):
        shutil.rmtree(sandbox.pg_dir / name)


def test_a_delta_with_several_tablespaces(sandbox: Sandbox, history: History) -> None:
    """wal-g/wal-g#499 and #585: up to 2.0.1 WAL-G can't restore such a delta, so that each base backup is a full one."""
    capable = int(sandbox.walg_version().lstrip("v").split(".")[0]) >= 3
    cluster = history.cluster
    between = backup(sandbox)  # the first one that has the tablespaces
    cluster.sql("INSERT INTO s0 VALUES (101)")
    cluster.sql("INSERT INTO s1 VALUES (101)")
    cluster.sql("INSERT INTO l VALUES (101)")
    delta = backup(sandbox)
    assert (between["delta"], delta["delta"]) == (capable, capable)
    history.step()
    cluster.sql("INSERT INTO l VALUES (102)")
    cluster.ship()
    rows = everything(history)
    lose(sandbox, history)
    found = done(sandbox, "deltas", wal_dir=str(sandbox.pg_dir / "apart" / "wal"))
    assert len(found["chain"]) == (4 if capable else 1)
    assert everything(history) == rows


def test_limits_that_were_raised_after_the_base_backup(sandbox: Sandbox, history: History) -> None:
    """patroni/patroni#593: replay meets a max_connections above what the base backup's control file and configuration say."""
    cluster = history.cluster
    backup(sandbox)
    cluster.sql("ALTER SYSTEM SET max_connections = 321")
    cluster.sql("ALTER SYSTEM SET max_prepared_transactions = 33")
    cluster.stop()
    cluster.start()
    history.step()
    cluster.ship()
    rows = everything(history)
    lose(sandbox, history)
    done(sandbox, "limits", wal_dir=str(sandbox.pg_dir / "apart" / "wal"))
    assert everything(history) == rows


def test_a_prepared_transaction_outlives_a_restore(sandbox: Sandbox, history: History) -> None:
    """citusdata/citus#6548: what was prepared and not committed is there, holds its locks, and can be committed."""
    cluster = history.cluster
    backup(sandbox)
    cluster.sql("BEGIN; INSERT INTO t VALUES (1000); PREPARE TRANSACTION 'later'")
    history.step()
    cluster.ship()
    lose(sandbox, history)
    done(sandbox, "prepared", wal_dir=str(sandbox.pg_dir / "apart" / "wal"))
    assert cluster.sql("SELECT gid FROM pg_prepared_xacts") == "later"
    assert 1000 not in history.numbers()
    cluster.sql("COMMIT PREPARED 'later'")
    assert 1000 in history.numbers()
    cluster.sql("DELETE FROM t WHERE id = 1000")


def test_one_restore_after_another_to_an_earlier_point(sandbox: Sandbox, history: History) -> None:
    """pgbackrest/pgbackrest#2091: after a first restore to a point, a second one to an earlier point of the old timeline."""
    cluster = history.cluster
    backup(sandbox)
    first = history.step()
    second = history.step()
    history.step()
    cluster.ship()
    timeline = int(cluster.sql("SELECT timeline_id FROM pg_control_checkpoint()"))
    done(sandbox, "second", target_time=second["time"], stop_running=True)
    assert max(history.numbers()) == int(second["rows"]) - 1
    backup(sandbox)
    done(sandbox, "first", target_time=first["time"], timeline=timeline, stop_running=True)
    assert max(history.numbers()) == int(first["rows"]) - 1
