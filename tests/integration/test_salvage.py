# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive was broken for a while, then the power went out: the last commits are in the old cluster's WAL only."""

from __future__ import annotations

import os

import pytest
from support.restoring import History, archived, done, moved_away, planned, refused
from support.sandbox import Sandbox


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    made = archived(sandbox)
    made.step()
    made.cluster.ship()
    return made


def last_archived(sandbox: Sandbox) -> str:
    return max(
        path.name[:24] for path in (sandbox.storage_dir / "main" / "wal_005").glob("*.lz4") if "." not in path.name[:24]
    )


def lose_power_unarchived(sandbox: Sandbox, history: History, segments: int) -> tuple[list[int], str]:
    """Rows go on while nothing is archived, over some segments, then the server is killed; return its rows and its last segment."""
    with moved_away(sandbox.storage_dir / "main"):
        (sandbox.storage_dir / "main").touch()  # no directory: every push fails
        for _turn in range(segments):
            history.step()
            history.cluster.sql("SELECT pg_switch_wal()")
        history.step()
        rows, last = history.numbers(), history.cluster.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
        history.cluster.kill()
        (sandbox.storage_dir / "main").unlink()
    return rows, last


def test_the_last_commit_survives(sandbox: Sandbox, history: History) -> None:
    """Every row is back, those in two full segments and a half one that never reached the archive too."""
    rows, last = lose_power_unarchived(sandbox, history, 2)
    archived_last = last_archived(sandbox)
    salvaged = planned(sandbox, "power")["salvaged_segments"]
    assert len(salvaged) == 3
    assert salvaged[0] > archived_last
    assert salvaged[-1] == last
    found = done(sandbox, "power")
    assert found["salvaged_segments"] == salvaged
    assert history.numbers() == rows
    assert found["timeline"] == 2
    history.cluster.ship()
    assert salvaged[1] in {path.name[:24] for path in (sandbox.storage_dir / "main" / "wal_005").iterdir()}, (
        "no gap is left"
    )


def test_recycled_segments_are_not_taken(sandbox: Sandbox, history: History) -> None:
    """A segment under a coming name that holds old WAL is none of the last WAL; neither is another cluster's."""
    cluster = history.cluster
    history.step()
    rows, current = lose_power_unarchived(sandbox, history, 1)
    wal = cluster.data_dir / "pg_wal"
    recycled = wal / f"{int(current, 16) + 1:024X}"
    recycled.write_bytes((wal / current).read_bytes())
    os.chown(recycled, wal.stat().st_uid, wal.stat().st_gid)
    assert planned(sandbox, "recycled")["salvaged_segments"][-1] == current
    done(sandbox, "recycled")
    assert history.numbers() == rows
    cluster.ship()


def test_overwriting_needs_the_old_clusters_name(sandbox: Sandbox, history: History) -> None:
    cluster = history.cluster
    control = (cluster.data_dir / "global" / "pg_control").read_bytes()
    pid = cluster.pid()
    text = refused(sandbox, "over", overwrite="12345", stop_running=True)
    assert cluster.system_identifier() in text
    assert "12345" in text
    assert (cluster.pid(), (cluster.data_dir / "global" / "pg_control").read_bytes()) == (pid, control)
