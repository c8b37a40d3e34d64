# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lives of odd clusters: what is odd about a cluster has to be there after each restore that is reached, and its neighbours unharmed."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .forked import ForkingSandbox
from .history import History
from .life import Living, Point, tree
from .lives import MIB, life_of
from .neighbours import Neighbour, Publisher
from .oddities import Oddities, Place, create, oddities_of, unmount_below
from .sandbox import Cluster

_ROOM = ".mapswipe-walg"
_SETTINGS = ("shared_preload_libraries", "max_connections", "max_worker_processes", "max_replication_slots")


@dataclass(frozen=True)
class Own:
    """What the cluster says of its oddities before anything happens to it."""

    answers: Mapping[str, str]
    settings: Mapping[str, str]


_QUESTIONS = {
    "tablespaces": "SELECT string_agg(spcname, ',' ORDER BY 1) FROM pg_tablespace",
    "subscriptions": "SELECT string_agg(concat(subname, ' ', subenabled, ' ', subslotname), ',') FROM pg_subscription",
    "origins": "SELECT string_agg(external_id || ' ' || remote_lsn, ',' ORDER BY 1) FROM pg_replication_origin_status "
    "WHERE external_id LIKE 'origin%'",
    "segment size": "SELECT setting || unit FROM pg_settings WHERE name = 'wal_segment_size'",
}


def ask(cluster: Cluster, sql: str, socket_dir: str = "", port: str = "") -> str:
    """Ask the cluster's own server, or one on another socket."""
    argv = [*cluster.psql(socket_dir=socket_dir, port=port), "-c", sql]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@dataclass
class OddLiving(Living):
    """A life whose cluster is odd; ``place``, ``own``, ``publisher`` and ``neighbour`` are set before it begins."""

    place: Place | None = None
    own: Own | None = None
    publisher: Publisher | None = None
    neighbour: Neighbour | None = None

    @property
    def odd(self) -> Oddities:
        assert self.place
        return self.place.odd

    def lose(self) -> None:
        assert self.place
        self.place.lose()

    def files(self) -> str:
        """As of any cluster, with its own entries of the tablespaces' directories: the rest of those may be a neighbour's, which runs."""
        assert self.place
        entries = [path for space in self.place.spaces for path in sorted(space.glob(f"PG_{self.sandbox.major()}_*"))]
        inside = _ROOM if self.odd.mount == "pg_wal is a mount" else ""  # what is restored there can lie nowhere else
        found = [tree(self.cluster.data_dir, inside), *(tree(path) for path in (self.place.wal, *entries))]
        return "".join(found) if found[0] else ""

    def run(self, point: Point, new: bool = True, **options: Any) -> dict[str, Any]:
        """Run the module; a copy beside must not take what the publisher has for the original."""
        stopped = not self.cluster.pid() and options.get("action") == "pause"
        if self.publisher:
            self.publisher.write()
        before = self.publisher.confirmed() if self.publisher and stopped else ""
        answer = super().run(point, new, **options)
        if before and self.publisher:
            assert self.publisher.confirmed() == before, "a copy beside took changes from the publisher"
        return answer

    def _outcome(self, answer: Mapping[str, Any], point: Point) -> str:
        """A mount that can't be moved may be refused; before anything was begun, and in words that name it."""
        message = str(answer.get("msg"))
        if answer.get("failed") and self.odd.mount and "mount" in message:
            assert not list(self.cluster.data_dir.parent.glob(f"main.*-r{self.requests}")), message
            outcome = "refused"
        else:
            outcome = super()._outcome(answer, point)
        for name in self.odd.names():
            self.counts[name, outcome] += 1
        return outcome

    def _compare(self, point: Point, socket_dir: str = "", port: str = "") -> None:
        super()._compare(point, socket_dir, port)
        assert self.own
        seen = {name: ask(self.cluster, sql, socket_dir, port) for name, sql in _QUESTIONS.items()}
        assert seen == self.own.answers, f"{point}: {seen} instead of {self.own.answers}"
        self._compare_timestamps(point, socket_dir, port)
        if not socket_dir:
            assert settings_of(self.cluster) == self.own.settings
        if self.neighbour:
            self.neighbour.check()

    def _compare_timestamps(self, point: Point, socket_dir: str, port: str) -> None:
        commits = self.history.lines[int(point.options.get("timeline") or self.history.timeline)].commits[: point.count]
        if not commits:
            return
        values = ", ".join(f"('{one.xid}', '{one.time.isoformat()}')" for one in commits)
        wrong = ask(
            self.cluster,
            "SELECT string_agg(concat(xid, ': ', pg_xact_commit_timestamp(xid::xid), ' instead of ', at), ', ') FROM "
            f"(VALUES {values}) v (xid, at) WHERE pg_xact_commit_timestamp(xid::xid) IS DISTINCT FROM at::timestamptz",
            socket_dir,
            port,
        )
        assert wrong == "", f"{point}: commit timestamps: {wrong}"


def settings_of(cluster: Cluster) -> dict[str, str]:
    return {name: ask(cluster, f"SHOW {name}") for name in _SETTINGS}


def live(
    tools: Mapping[str, Any], seed: int, counts: Counter[tuple[str, str]], *, root: bool, other: Path | None
) -> None:
    """Live the odd life of a seed in a sandbox of its own. ``other``: programs of another major, for a neighbour."""
    sandbox = ForkingSandbox(dict(tools))
    try:
        odd = oddities_of(seed, major=sandbox.major(), root=root, neighbour=other is not None)
        base = {
            "archive_mode": "on",
            "track_commit_timestamp": "on",
            "autovacuum": "off",
            "wal_keep_segments" if sandbox.major() < 13 else "wal_keep_size": "0",
        }
        cluster, place = create(sandbox, odd, base)
        neighbour = Neighbour.beside(place, other) if odd.shared and other else None
        publisher = Publisher.of(cluster) if odd.subscriber == "subscriber" else None
        if odd.subscriber == "disabled subscription":
            cluster.sql("CREATE SUBSCRIPTION sub CONNECTION 'host=/nowhere' PUBLICATION pub WITH (connect = false)")
        sandbox.configure(cluster, settings={"WALG_DELTA_MAX_STEPS": "2"})
        answer = sandbox.module("walg_archive", sandbox.instance())
        if odd.nested:
            _refused(sandbox, answer, counts)
            return
        assert answer.get("changed"), answer
        history = _history(sandbox, cluster, odd)
        own = Own({name: ask(cluster, sql) for name, sql in _QUESTIONS.items()}, settings_of(cluster))
        living = OddLiving(sandbox, history, counts, odd.segment_mib * MIB)
        living.place, living.own, living.publisher, living.neighbour = place, own, publisher, neighbour
        try:
            living.live(life_of(seed))
            if neighbour:
                neighbour.check_after_restart()
        finally:
            history.disconnect()
    finally:
        for server in sandbox.clusters:
            server.kill()
        unmount_below(sandbox.root)
        sandbox.close()


def _history(sandbox: ForkingSandbox, cluster: Cluster, odd: Oddities) -> History:
    """Begin the model; its table lies in the first tablespace, the table's index in the last one."""
    history = History(sandbox, cluster)
    if odd.tablespaces:
        cluster.sql("ALTER TABLE t SET TABLESPACE space0")
        cluster.sql(f"ALTER INDEX t_pkey SET TABLESPACE space{odd.tablespaces - 1}")
    return history


def _refused(sandbox: ForkingSandbox, answer: Mapping[str, Any], counts: Counter[tuple[str, str]]) -> None:
    """A tablespace inside of the data directory: no base backup is taken for good, and the message says of which."""
    if not answer.get("failed"):
        answer = sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})
    assert answer.get("failed"), f"a base backup with a tablespace inside of the data directory was taken: {answer}"
    assert "tablespace" in str(answer["msg"]), answer["msg"]
    counts["nested tablespace", "refused"] += 1
