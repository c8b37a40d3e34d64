# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores to points of one history, with each PostgreSQL that this WAL-G can back up: every kind of target, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.forked import ForkingSandbox
from support.history import AHEAD, History, between, look, pause, show_lsn, show_time, tick
from support.life import tree
from support.majors import each_major, tools_for
from support.sandbox import Cluster


@dataclass
class World:
    """One history with one PostgreSQL."""

    sandbox: ForkingSandbox
    history: History

    @property
    def cluster(self) -> Cluster:
        return self.history.cluster

    def restore(self, request: str, **options: Any) -> dict[str, Any]:
        return self.sandbox.module("walg_restore", {**self.sandbox.instance(), "request": request, **options})

    def compare(self, count: int, timeline: int = 1, connect: str = "") -> None:
        """The server holds what the model says after so many commits; the sequence is there or a little further."""
        words = connect.split()
        seen = look(self.cluster, words[2], words[4]) if words else look(self.cluster)
        at = self.history.lines[timeline].commits[count - 1]
        assert seen.rows == dict(at.rows)
        assert at.value <= seen.value <= at.value + AHEAD


@pytest.fixture(scope="module", params=each_major())
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Two commits, a base backup, eight commits, of which two overlap; then the server is stopped."""
    sandbox = ForkingSandbox(tools_for(request.param))
    try:
        assert sandbox.major() == request.param
        cluster = sandbox.cluster("main", archive_mode="on", track_commit_timestamp="on", autovacuum="off")
        sandbox.configure(cluster)
        assert sandbox.module("walg_archive", sandbox.instance()).get("changed")
        history = History(sandbox, cluster)
        history.commit()
        history.commit("several")
        history.backup()
        for kind in ("insert", "update", "several"):
            pause()
            history.commit(kind)
        pause()
        history.overlap()
        history.name("before the upgrade")
        history.commit("delete")
        history.ship()
        history.commit()
        history.commit("several")
        history.disconnect()
        cluster.stop()
        yield World(sandbox, history)
    finally:
        sandbox.close()


def test_forward_through_every_kind_of_target(world: World) -> None:
    """One fetch: recovery pauses at each target in turn, beside; the last one is put in place, and taken back."""
    commits = world.history.line.commits
    before = tree(world.cluster.data_dir)
    walk: list[tuple[dict[str, Any], int]] = [
        ({"target": "immediate"}, 2),
        ({"target_time": show_time(between(commits[2].time, commits[3].time))}, 3),
        ({"target_time": show_time(commits[3].time)}, 4),
        ({"target_lsn": show_lsn(commits[4].lsn)}, 5),
        ({"target_xid": commits[5].xid}, 6),
        ({"target_xid": commits[6].xid, "target_inclusive": False}, 6),
        ({"target_name": "before the upgrade"}, 7),
        ({"target_lsn": show_lsn(commits[7].begin)}, 8),
    ]
    for options, count in walk:
        answer = world.restore("walk", action="pause", **options)
        assert answer.get("changed"), (options, answer)
        world.compare(count, connect=answer["restore"]["connect"])
        assert ("fetch" in answer["restore"]["seconds"]) == (options == walk[0][0])
    assert world.restore("walk", action="pause", **options).get("changed") is False
    assert tree(world.cluster.data_dir) == before
    answer = world.restore("walk", **options)
    assert answer.get("changed"), answer
    world.compare(8)
    assert world.restore("walk", **options).get("changed") is False
    answer = world.restore("walk", rollback=True, stop_running=True, **options)
    assert answer.get("changed"), answer
    world.compare(10)


def test_what_is_not_reached_fails_and_what_is_too_early_is_refused(world: World) -> None:
    """PostgreSQL 10 to 12 would promote without a word."""
    world.cluster.stop()
    commits, before = world.history.line.commits, tree(world.cluster.data_dir)
    answer = world.restore("late", target_time=show_time(tick(commits[-1].time)))
    assert answer.get("failed"), answer
    assert "was not reached" in answer["msg"]
    assert world.restore("late", discard=True).get("changed")
    answer = world.restore("early", target_lsn=show_lsn(commits[0].lsn))
    assert answer.get("failed"), answer
    assert "before the end of the first base backup" in answer["msg"]
    assert tree(world.cluster.data_dir) == before


def test_the_latest_state_after_a_crash_and_then_the_older_timeline(world: World) -> None:
    world.cluster.start()
    world.history.commit()
    world.history.disconnect()
    world.cluster.stop("immediate")
    answer = world.restore("latest")
    assert answer.get("changed"), answer
    assert answer["restore"]["salvaged_segments"]
    world.compare(11)
    timeline = answer["restore"]["timeline"]
    history_file = world.cluster.data_dir / "pg_wal" / f"{timeline:08X}.history"
    assert history_file.read_text().startswith("1\t")
    world.history.left(1, 11, world.history.line.commits[-1].lsn)
    world.history.commit("several")
    world.history.backup()
    world.history.disconnect()
    world.cluster.stop()
    commits = world.history.lines[1].commits
    answer = world.restore("older", timeline=1, target_lsn=show_lsn(commits[8].lsn), action="pause")
    assert answer.get("changed"), answer
    world.compare(9, 1, answer["restore"]["connect"])
    assert world.restore("older", discard=True).get("changed")
    answer = world.restore("newest")
    assert answer.get("changed"), answer
    world.compare(12, timeline)
