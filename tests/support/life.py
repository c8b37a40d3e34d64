# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lives of a cluster with restores in them: each target is looked for, and what comes of it is held against the model.

A life is data (steps, an end, targets), so that one that went wrong can be read and lived again.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .history import AHEAD, Backup, Commit, History, between, look, pause, show_lsn, show_time, tick
from .sandbox import Cluster, Sandbox

KINDS = ("latest", "immediate", "time", "lsn", "xid", "name", "older timeline")
OUTCOMES = ("reached", "refused", "failed")
#: Not a partial one: it ends where its timeline was left.
_SEGMENT = re.compile(r"^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})\.(?!partial)")


@dataclass(frozen=True)
class Wish:
    """A target before it is known what there is to aim at. ``where``: of what there is, how far on (0 to 1); ``way``: which variant."""

    kind: str
    where: float = 1.0
    way: int = 0
    action: str = "pause"


@dataclass(frozen=True)
class Life:
    """``steps``: (what, detail). ``end``: stop, crash or lose. ``gap``: where a segment is lost from the archive, 0 to 1."""

    steps: Sequence[tuple[str, Any]]
    end: str
    gap: float | None
    targets: Sequence[Wish]


@dataclass(frozen=True)
class Point:
    """What is asked of the module, and what the model says to it: the commits there, and the outcomes that may be."""

    kind: str
    options: Mapping[str, Any]
    count: int
    outcomes: tuple[str, ...]


@dataclass
class Living:
    """One life on a fresh cluster. ``counts``: (kind, outcome) -> how many."""

    sandbox: Sandbox
    history: History
    counts: Counter[tuple[str, str]]
    segment_size: int
    lost: set[tuple[int, int]] = field(default_factory=set)
    archived_only: bool = False  # the data directory is gone
    requests: int = 0

    @property
    def cluster(self) -> Cluster:
        return self.history.cluster

    def live(self, life: Life) -> None:
        for what, detail in life.steps:
            if what == "restore":
                if not self.restore_on_the_way(detail):
                    return
            else:
                self.step(what, detail)
        self.finish(life.end)
        if life.gap is not None:
            self.lose_segment(life.gap)
        for wish in life.targets:
            self.look_for(wish)

    def step(self, what: str, detail: Any) -> None:
        history = self.history
        pause()
        if what == "commit":
            history.commit(detail)
        elif what == "backup":
            history.backup(full=detail)
        elif what == "name":
            history.name(detail)
        elif what == "idle":
            history.session().ask("CHECKPOINT")
            self.cluster.ship()
        else:
            {"overlap": history.overlap, "abort": history.abort, "ship": history.ship}[what]()
        pause()

    def finish(self, end: str) -> None:
        self.history.disconnect()
        if end == "stop":
            self.cluster.stop()
        elif end == "crash":
            self.cluster.stop("immediate")
        else:
            self.lose()
            self.archived_only = True

    def lose(self) -> None:
        """The machine dies, and its disks are gone."""
        self.cluster.lose()

    def files(self) -> str:
        """Return a digest of all that no restore beside the cluster may change."""
        return tree(self.cluster.data_dir)

    def lose_segment(self, where: float) -> None:
        """Remove a segment from the archive: not the last one, whose absence nobody could know."""
        files = sorted(path for path in self._archived() if _SEGMENT.match(path.name))
        files = [one for one, later in itertools.pairwise(files) if one.name[:8] == later.name[:8]]
        if files:
            chosen = files[int(where * (len(files) - 1))]
            chosen.unlink()
            self.lost.add(self._number(chosen.name))

    def restore_on_the_way(self, wish: Wish) -> bool:
        """Restore the cluster and go on from there; returns whether it goes on."""
        end = ("", "stop", "crash", "lose")[wish.way % 4]
        if end:
            self.finish(end)
        else:
            self.history.disconnect()
        point = self.point(wish)
        source = self.cluster.pid()
        answer = self.run(point, action="promote", stop_running=True)
        outcome = self._outcome(answer, point)
        if outcome != "reached":
            if source:
                assert self.cluster.pid() == source
            elif end != "lose":
                self.cluster.start()
            if end == "lose":
                return False
            self.archived_only = False
            if outcome == "failed":
                discarded = self.run(point, new=False, discard=True)
                assert discarded.get("changed"), discarded
            assert self.history.rows() == self.rows_now()
            return True
        self._compare(self._taken(point, answer))
        self.archived_only = False
        timeline = int(point.options.get("timeline") or self.history.timeline)
        new = int(answer["restore"]["timeline"])
        self.history.left(timeline, point.count, self._switch(new))
        assert self.history.timeline == new
        self.history.backup()
        return True

    def look_for(self, wish: Wish) -> None:
        """Restore, compare, and leave everything as it was."""
        point = self.point(wish)
        before = self.files()
        promote = wish.kind == "latest" or wish.action == "promote"
        if promote and not before:
            self._keep_archive()
        answer = self.run(point, action="promote" if promote else "pause")
        outcome = self._outcome(answer, point)
        point = self._taken(point, answer)
        if outcome == "reached" and promote:
            self._compare(point)
            self._go_back(before)
            return
        if outcome == "reached":
            connect = str(answer["restore"]["connect"]).split()
            self._compare(point, connect[2], connect[4])
        assert self.files() == before, f"{point}: the data directory was changed"
        if outcome != "refused":
            discarded = self.run(point, new=False, discard=True)
            assert discarded.get("changed"), discarded
        assert sorted(path.name for path in self.cluster.data_dir.parent.glob("main.restore-*")) == []
        assert self.files() == before

    def _go_back(self, before: str) -> None:
        if not before:
            self.lose()
            self._put_archive_back()
            return
        answer = self.run(Point("", {}, 0, ()), new=False, rollback=True, stop_running=True)
        assert answer.get("changed"), answer
        assert self.history.rows() == self.rows_now()
        self.cluster.stop()
        shutil.rmtree(answer["restore"]["restored_kept_as"])

    def _keep_archive(self) -> None:
        """Copy the archive and what the host knows of it: the restored cluster's timeline would be the newest there."""
        for path, copy in self._archive_copies().items():
            copy.parent.mkdir(exist_ok=True)
            self._replace(copy, path)

    def _put_archive_back(self) -> None:
        for path, copy in self._archive_copies().items():
            self._replace(path, copy)

    def _archive_copies(self) -> dict[Path, Path]:
        paths = (self.sandbox.storage_dir / self.cluster.name, self.sandbox.host / "state")
        return {path: self.sandbox.root / "before" / path.name for path in paths}

    def _replace(self, target: Path, source: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        done = self.sandbox.run(["cp", "-a", str(source), str(target)])
        assert done.returncode == 0, done.stdout

    def run(self, point: Point, new: bool = True, **options: Any) -> dict[str, Any]:
        self.requests += new
        request = {"request": f"r{self.requests}"}
        return self.sandbox.module("walg_restore", {**self.sandbox.instance(), **request, **point.options, **options})

    def _outcome(self, answer: Mapping[str, Any], point: Point) -> str:
        """Say what came of it, and count it. Refused: nothing was begun."""
        outcome = "reached"
        if answer.get("failed"):
            begun = list(self.cluster.data_dir.parent.glob(f"main.*-r{self.requests}"))
            outcome = "failed" if begun else "refused"
        assert outcome in point.outcomes, f"{point} was {outcome}: {answer.get('msg') or answer}"
        self.counts[point.kind, outcome] += 1
        return outcome

    def _taken(self, point: Point, answer: Mapping[str, Any]) -> Point:
        """Return the point for what was restored: the newest base backup whose WAL is there may be an older one than all know."""
        if point.kind != "immediate" or not self.lost or answer.get("failed"):
            return point
        name = answer["restore"]["backup"]["name"]
        counts = {one.name: one.count for line in self.history.lines.values() for one in line.backups}
        return replace(point, count=counts[name])

    def _compare(self, point: Point, socket_dir: str = "", port: str = "") -> None:
        """Hold a restored server against the model: the cluster's own, or one that was left beside on another socket."""
        seen = look(self.cluster, socket_dir, port)
        commits = self.history.lines[int(point.options.get("timeline") or self.history.timeline)].commits
        at = commits[point.count - 1] if point.count else None
        rows, value = (dict(at.rows), at.value) if at else ({}, 1)
        assert seen.rows == rows, f"{point}: {seen.rows} instead of {rows}"
        taken = max([value, *(one.value for one in commits[: point.count + 1])], default=value)
        assert value <= seen.value <= taken + AHEAD, f"{point}: the sequence is at {seen.value}, the model at {value}"

    def rows_now(self) -> dict[int, str]:
        commits = self.history.line.commits
        return dict(commits[-1].rows) if commits else {}

    # What the model knows of a target.

    def point(self, wish: Wish) -> Point:
        """Turn a wish into a target of this history."""
        if wish.kind == "older timeline":
            older = sorted(set(self.history.lines) - {self.history.timeline})
            timeline = older[wish.way % len(older)] if older else self.history.timeline
            kind = ("latest", "time", "lsn", "xid")[wish.way % 4]
            kind = "lsn" if wish.action == "pause" and kind == "latest" else kind
            found = self._aim(Wish(kind, wish.where, wish.way, wish.action), timeline)
            shown = "older timeline" if older else kind
            return Point(shown, {**found.options, "timeline": timeline}, found.count, found.outcomes)
        return self._aim(wish, self.history.timeline)

    def _aim(self, wish: Wish, timeline: int) -> Point:
        line = self.history.lines[timeline]
        commits = self._available(timeline)
        if wish.kind in ("time", "lsn", "xid") and line.commits:
            chosen = int(wish.where * (len(line.commits) - 1))
            return getattr(self, f"_{wish.kind}")(timeline, chosen, wish.way % 3, commits)
        if wish.kind == "name" and line.names:
            return self._name(timeline, line.names[int(wish.where * (len(line.names) - 1))][0], commits)
        if wish.kind == "immediate" or (wish.kind == "name" and wish.action == "pause"):
            newest = line.backups[-1]
            return Point("immediate", {"target": "immediate"}, newest.count, self._sure(newest, newest.lsns[0]))
        end = self._end(timeline)
        newest = line.backups[-1]
        sure = self._sure(newest, end - 1) if end else OUTCOMES
        return Point("latest", {}, len(commits), sure)

    def _lsn(self, timeline: int, chosen: int, way: int, commits: Sequence[Commit]) -> Point:
        one = self.history.lines[timeline].commits[chosen]
        lsn, count, inclusive = (
            (one.lsn, chosen + 1, True),
            (one.begin, chosen + 1, True),
            (one.begin, chosen, False),
        )[way]
        options = {"target_lsn": show_lsn(lsn), "target_inclusive": inclusive}
        leading = [each for each in self.history.lines[timeline].backups if each.lsns[1] <= lsn]
        if not [each for each in self.history.lines[timeline].backups if each.lsns[0] <= lsn]:
            return Point("lsn", options, count, ("refused",))
        sure = bool(leading) and (chosen + 1 < len(commits) or (way > 0 and chosen < len(commits)))
        return Point("lsn", options, count, self._sure(leading[-1], lsn) if sure else OUTCOMES)

    def _time(self, timeline: int, chosen: int, way: int, commits: Sequence[Commit]) -> Point:
        line = self.history.lines[timeline]
        one = line.commits[chosen]
        later = line.commits[chosen + 1] if chosen + 1 < len(line.commits) else None
        when, inclusive = one.time, way != 2
        if way == 0:
            when = between(one.time, later.time) if later else tick(one.time)
        count = next(
            (
                number
                for number, each in enumerate(line.commits)
                if each.time > when or (each.time == when and not inclusive)
            ),
            len(line.commits),
        )
        options = {"target_time": show_time(when), "target_inclusive": inclusive}
        leading = [each for each in line.backups if each.times[1] <= when]
        if not [each for each in line.backups if each.times[0] <= when]:
            return Point("time", options, count, ("refused",))
        if not leading or count >= len(commits):
            return Point("time", options, count, OUTCOMES)
        return Point("time", options, count, self._sure(leading[-1], commits[count].lsn))

    def _xid(self, timeline: int, chosen: int, way: int, commits: Sequence[Commit]) -> Point:
        line = self.history.lines[timeline]
        one = line.commits[chosen]
        options: dict[str, Any] = {"target_xid": one.xid, "target_inclusive": way != 2}
        leading = [each for each in line.backups if each.lsns[1] <= one.begin]
        if way == 1 and leading:
            options["backup"] = leading[-1].name
        elif not leading or leading[-1] != line.backups[-1]:
            # Looked for from the newest backup on, unless that is passed over since its WAL was lost.
            return Point("xid", options, chosen + (way != 2), OUTCOMES if self.lost else ("failed", "refused"))
        sure = self._sure(leading[-1], one.lsn) if chosen < len(commits) else OUTCOMES
        return Point("xid", options, chosen + (way != 2), sure)

    def _name(self, timeline: int, name: str, commits: Sequence[Commit]) -> Point:
        """A name may have been given twice: the first after the newest backup is the one."""
        line = self.history.lines[timeline]
        newest = line.backups[-1]
        for found, count, lsn in line.names:
            if found == name and lsn >= newest.lsns[1]:
                sure = self._sure(newest, lsn) if count < len(commits) else OUTCOMES
                return Point("name", {"target_name": name}, count, sure)
        before = [count for found, count, _lsn in line.names if found == name]
        # Without its WAL the newest is passed over, and an older one finds the first of that name.
        return Point("name", {"target_name": name}, before[0], OUTCOMES if self.lost else ("failed", "refused"))

    def _sure(self, backup: Backup, lsn: int) -> tuple[str, ...]:
        """It has to be reached, unless WAL between the backup and it was lost."""
        begin, end = int(backup.name[13:21], 16), (lsn + self.segment_size) // self.segment_size
        first = begin * (0x100000000 // self.segment_size) + int(backup.name[21:29], 16)
        gone = [number for _timeline, number in self.lost if first <= number <= end]
        return OUTCOMES if gone else ("reached",)

    def _available(self, timeline: int) -> list[Commit]:
        """The commits of a line that a restore can bring back."""
        line = self.history.lines[timeline]
        end = self._end(timeline)
        return [one for one in line.commits if end is None or one.lsn <= end]

    def _end(self, timeline: int) -> int | None:
        """Return where the WAL of a timeline ends; None where it can't be told."""
        if timeline == self.history.timeline and not self.archived_only:
            return max([one.lsn for one in self.history.lines[timeline].commits], default=None)
        numbers = [
            number for line, number in map(self._number, [path.name for path in self._archived()]) if line == timeline
        ]
        return (max(numbers) + 1) * self.segment_size if numbers else None

    def _archived(self) -> list[Any]:
        folder = self.sandbox.storage_dir / self.cluster.name / "wal_005"
        return [path for path in folder.iterdir() if _SEGMENT.match(path.name)]

    def _number(self, name: str) -> tuple[int, int]:
        match = _SEGMENT.match(name)
        assert match, name
        high, low = int(match.group(2), 16), int(match.group(3), 16)
        return int(match.group(1), 16), high * (0x100000000 // self.segment_size) + low

    def _switch(self, timeline: int) -> int:
        text = (self.cluster.data_dir / "pg_wal" / f"{timeline:08X}.history").read_text()
        high, low = text.strip().splitlines()[-1].split("\t")[1].split("/")
        return (int(high, 16) << 32) + int(low, 16)


def tree(path: os.PathLike[str], room: str = "") -> str:
    """Return a digest of a directory tree: names, kinds, modes, times and contents; empty if there is none.

    ``room``: name of directories that are left out, and for their sake the times of all directories.
    """
    if not os.path.isdir(path):
        return ""
    digest = hashlib.blake2b()
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if name != room)
        for name in sorted([*files, *folders]):
            one = os.path.join(folder, name)
            found = os.lstat(one)
            when = 0 if room and name in folders else found.st_mtime_ns
            digest.update(f"{one} {found.st_mode} {found.st_uid} {when}\n".encode())
            if name in files and not os.path.islink(one):
                with open(one, "rb") as stream:
                    digest.update(hashlib.file_digest(stream, "blake2b").digest())
    return digest.hexdigest()
