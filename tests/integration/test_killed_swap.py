# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill -9 around each step of a swap and of its rollback, with a tablespace and a WAL directory outside of the data directory.

What may be lost is nothing: the run that comes to the end has the new rows, in the data directory and in the tablespace, the
rollback has the old ones. Each run goes on from what the one before it left when it was killed.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.restoring import History, archived_apart, beside, done, killed_in_swap, restore, running
from support.sandbox import Sandbox

#: Links of the restored and the old tablespace and WAL directory turned; two directories and the tablespace's entry out and in,
#: and for that entry a directory made.
STEPS = 11


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    return archived_apart(sandbox)


def everything(history: History) -> tuple[list[str], list[str]]:
    return history.cluster.rows("t"), history.cluster.rows("s0")


def test_killed_at_every_step_forth_and_back(sandbox: Sandbox, history: History) -> None:
    cluster = history.cluster
    lsn = cluster.sql("SELECT pg_current_wal_insert_lsn()")
    new = everything(history)
    history.step()
    cluster.sql("INSERT INTO s0 VALUES (102)")
    old = everything(history)
    assert killed_in_swap(sandbox, "every", "before", target_lsn=lsn, stop_running=True)
    deaths = 0
    while killed_in_swap(sandbox, "every", "after", target_lsn=lsn):
        deaths += 1
        assert str(cluster.data_dir) not in running(sandbox)
    assert deaths == STEPS
    assert everything(history) == new
    assert restore(sandbox, "every", target_lsn=lsn)["changed"] is False
    cluster.sql("INSERT INTO s0 VALUES (103)")
    assert killed_in_swap(sandbox, "every", "before", rollback=True, stop_running=True)
    deaths = 0
    while killed_in_swap(sandbox, "every", "after", rollback=True):
        deaths += 1
    assert deaths == STEPS
    assert everything(history) == old
    assert beside(cluster.data_dir) == ["main.restore-every"]
    assert sorted(path.name for path in Path(sandbox.pg_dir / "apart").iterdir()) == [
        "space0",
        "space0.restore-every",
        "wal",
        "wal.restore-every",
    ]
    cluster.ship()


def test_another_request_waits_for_an_unfinished_rollback(sandbox: Sandbox, history: History) -> None:
    """Half way back nothing else may begin, and the same request forth is none: only the rollback goes on."""
    old = everything(history)
    lsn = history.steps[2]["lsn"]
    done(sandbox, "half", target_lsn=lsn, stop_running=True)
    assert killed_in_swap(sandbox, "half", "after", 3, rollback=True, stop_running=True)
    for request, options in (("half", {"target_lsn": lsn}), ("other", {})):
        answer = restore(sandbox, request, **options)
        assert answer.get("failed"), answer
        assert "walg_restore_rollback: true" in answer["msg"]
    done(sandbox, "half", rollback=True)
    assert everything(history) == old
