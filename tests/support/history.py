# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a cluster, and what is known of it outside: which rows it held after each commit, on each timeline.

The model goes by what PostgreSQL says when a transaction ends: its LSN and, with track_commit_timestamp, its time.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from .sandbox import Cluster, Sandbox

#: PostgreSQL logs this many values of a sequence ahead (SEQ_LOG_VALS): a recovered one may be further by so many.
AHEAD = 32
_TIME = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


def parse_lsn(text: str) -> int:
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def show_lsn(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def show_time(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Session:
    """A psql that stays; two of them make transactions that overlap."""

    def __init__(self, cluster: Cluster) -> None:
        self.process = subprocess.Popen(
            [*cluster.psql(), "-v", "ON_ERROR_STOP=1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask(self, sql: str) -> list[str]:
        """Return the lines of the answer."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{sql};\n\\echo --end--\n")
        stdin.flush()
        lines = []
        for line in stdout:
            if line == "--end--\n":
                return lines
            lines.append(line.rstrip("\n"))
        raise AssertionError(f"psql: {lines}")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@dataclass(frozen=True)
class Commit:
    """``begin``: LSN of the commit record; ``lsn``: the one after it. ``rows``: the table after it; ``value``: the sequence's."""

    xid: str
    time: datetime
    begin: int
    lsn: int
    rows: Mapping[int, str]
    value: int


@dataclass(frozen=True)
class Backup:
    """``count``: the commits in it. It ended between two LSNs and two times."""

    name: str
    timeline: int
    count: int
    lsns: tuple[int, int]
    times: tuple[datetime, datetime]


@dataclass
class Line:
    """A timeline with everything that leads to it. ``names``: restore points, each with the commits before it and its LSN."""

    timeline: int
    commits: list[Commit] = field(default_factory=list)
    names: list[tuple[str, int, int]] = field(default_factory=list)
    backups: list[Backup] = field(default_factory=list)
    taken: int = 0  # highest value of the sequence that was handed out


class History:
    """A cluster whose every transaction is written down here. The table is ``t``, the sequence ``s``."""

    def __init__(self, sandbox: Sandbox, cluster: Cluster) -> None:
        self.sandbox, self.cluster = sandbox, cluster
        self.lines: dict[int, Line] = {1: Line(1)}
        self.timeline = 1
        self.sessions: list[Session] = []
        self.number = 0
        cluster.sql("CREATE TABLE t (id int PRIMARY KEY, note text); CREATE SEQUENCE s")

    @property
    def line(self) -> Line:
        return self.lines[self.timeline]

    def session(self, number: int = 0) -> Session:
        while len(self.sessions) <= number:
            self.sessions.append(Session(self.cluster))
        return self.sessions[number]

    def disconnect(self) -> None:
        for session in self.sessions:
            session.close()
        self.sessions.clear()

    def commit(self, kind: str = "insert") -> Commit:
        """Commit one transaction: insert, update, delete or several (of them); whatever it is, it takes from the sequence."""
        changes = self._write(self.session(), kind)
        return self._end(self.session(), changes)

    def overlap(self) -> None:
        """Two transactions, of which the one that began first ends last."""
        first, second = self.session(0), self.session(1)
        slow = self._write(first, "insert")
        self._end(second, self._write(second, "insert"))
        self._end(first, slow)

    def abort(self) -> None:
        """A transaction that is rolled back."""
        self._write(self.session(), "several")
        self.session().ask("ROLLBACK")

    def name(self, name: str) -> None:
        lsn = parse_lsn(self.session().ask(f"SELECT pg_create_restore_point('{name}')")[0])
        self.line.names.append((name, len(self.line.commits), lsn))

    def now(self) -> tuple[int, datetime]:
        """Return the cluster's LSN and time."""
        lsn, when = (
            self.session().ask(f"SELECT pg_current_wal_insert_lsn(), {_TIME.format('clock_timestamp()')}")[0].split("|")
        )
        return parse_lsn(lsn), moment(when)

    def backup(self, **options: Any) -> Backup:
        before = self.now()
        answer = self.sandbox.module("walg_backup", {**self.sandbox.instance(), "max_age": 0, **options})
        assert answer.get("changed"), answer
        after = self.now()
        made = Backup(
            answer["backup"]["name"],
            self.timeline,
            len(self.line.commits),
            (before[0], after[0]),
            (before[1], after[1]),
        )
        self.line.backups.append(made)
        return made

    def ship(self) -> None:
        self.cluster.ship()

    def left(self, timeline: int, count: int, switch: int) -> None:
        """The cluster was restored to ``count`` commits of the line of ``timeline``, and went on at ``switch``."""
        old = self.lines[timeline]
        new = int(self.cluster.sql("SELECT timeline_id FROM pg_control_checkpoint()"))
        commits = old.commits[:count]
        self.lines[new] = Line(
            new,
            list(commits),
            [one for one in old.names if one[2] <= switch],
            [one for one in old.backups if one.lsns[1] <= switch],
            old.taken,
        )
        self.timeline = new

    def rows(self) -> dict[int, str]:
        return read_rows(self.cluster.sql(_ROWS))

    def _write(self, session: Session, kind: str) -> dict[int, str | None]:
        present = sorted(self.line.commits[-1].rows) if self.line.commits else []
        changes: dict[int, str | None] = {}
        statements = ["BEGIN"]
        for one in ("insert", "update", "delete", "insert") if kind == "several" else (kind,):
            self.number += 1
            note = f"{self.number} on {self.timeline}"
            if one == "insert" or len(present) < 3:
                changes[self.number] = note
                statements.append(f"INSERT INTO t VALUES ({self.number}, '{note}')")
            elif one == "update":
                changes[present[self.number % len(present)]] = note
                statements.append(f"UPDATE t SET note = '{note}' WHERE id = {present[self.number % len(present)]}")
            else:
                gone = present.pop(self.number % len(present))
                changes[gone] = None
                statements.append(f"DELETE FROM t WHERE id = {gone}")
        session.ask("; ".join(statements))
        self.line.taken = int(session.ask("SELECT nextval('s')")[0])
        return changes

    def _end(self, session: Session, changes: Mapping[int, str | None]) -> Commit:
        xid, begin = session.ask("SELECT txid_current(), pg_current_wal_insert_lsn()")[0].split("|")
        lsn = session.ask("COMMIT; SELECT pg_current_wal_insert_lsn()")[0]
        xid = str(int(xid) & 0xFFFFFFFF)
        # A record of its own stands between this commit and the next: what stops at it stops between the two.
        when = session.ask(
            f"SELECT {_TIME.format(f'''pg_xact_commit_timestamp('{xid}'::xid)''')}; "
            "SELECT pg_logical_emit_message(false, 'test', 'between')"
        )[0]
        rows = {**(self.line.commits[-1].rows if self.line.commits else {}), **changes}
        kept = {key: note for key, note in rows.items() if note is not None}
        made = Commit(xid, moment(when), parse_lsn(begin), parse_lsn(lsn), kept, self.line.taken)
        self.line.commits.append(made)
        return made


_ROWS = "SELECT id || '|' || note FROM t ORDER BY id"


def read_rows(text: str) -> dict[int, str]:
    found = {}
    for row in text.splitlines():
        key, _bar, note = row.partition("|")
        found[int(key)] = note
    return found


@dataclass(frozen=True)
class Seen:
    """What a restored cluster holds."""

    rows: dict[int, str]
    value: int


def look(cluster: Cluster, socket_dir: str = "", port: str = "") -> Seen:
    """Read a server: the cluster's own, or one on another socket, that a restore left beside."""
    done = subprocess.run(
        [*cluster.psql(socket_dir=socket_dir, port=port), "-c", "SELECT last_value FROM s", "-c", _ROWS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    value, _newline, rows = done.stdout.partition("\n")
    return Seen(read_rows(rows), int(value))


def between(first: datetime, second: datetime) -> datetime:
    return first + (second - first) / 2


def pause() -> None:
    """Let the clock go on, so that a time lies between two commits."""
    time.sleep(0.002)


def tick(when: datetime) -> datetime:
    """Return the next time that PostgreSQL can tell from this one."""
    return when + timedelta(microseconds=1)
