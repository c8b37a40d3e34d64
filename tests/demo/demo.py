# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main job on a real PostgreSQL with a real WAL-G: back up, lose everything, restore, compare every row.

    make demo                   about a minute; stops and removes everything at its end
    make demo KEEP=1            leaves the restored cluster running, to look at
    make demo BREAK=segment     deletes one WAL segment from the storage first: the demo has to fail
    make demo-clean             removes whatever a kept, failed or killed demo left

WAL-G is the release that the collection installs, with the newest PostgreSQL, where it can be had; the first line tells.
PG_MAJOR and WALG_BINARY choose others, as for the tests. All lies in one directory of the demo's
own, whose name tells which checkout made it; so what a killed demo left is found again, processes included.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "toolchain")]

from locations import ToolError, link_root
from released import first_line
from support.sandbox import Cluster, Play, Sandbox, load_tools, passable

PREFIX = f"mapswipe-walg-demo-{hashlib.sha256(os.fsencode(CHECKOUT)).hexdigest()[:6]}-"
MARK = "MAPSWIPE_WALG_DEMO"  # in the environment of every play of a demo, with its directory
WIDTH = 79
LOGGED_AHEAD = 32  # PostgreSQL logs so many numbers of a sequence in advance, and continues behind them after a crash

SCHEMA = r"""
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, note text, born date);
CREATE TABLE orders (id bigserial PRIMARY KEY, customer int REFERENCES customers, total numeric(12, 2), at timestamptz);
CREATE TABLE attachments (id int PRIMARY KEY, content bytea);
CREATE TABLE events (at timestamptz, tags text[], body jsonb);
CREATE SEQUENCE invoices START 1000 INCREMENT 5;
"""
# Letters outside of ASCII, an emoji, line breaks and quotes, empty strings beside NULL, values that PostgreSQL stores apart.
ROWS = r"""
BEGIN;
INSERT INTO customers SELECT g, E'J\u00fcrgen \u0141uk\u00e1\u0161 \u674e\u5c0f\u9f8d \U0001F418 ' || g,
    (ARRAY[NULL, '', E'two\nlines\twith ''quotes'' and \\', E'\u2028'])[g % 4 + 1], date '1950-01-01' + g
    FROM generate_series({first}, {last}) g;
INSERT INTO orders (customer, total, at) SELECT g, g * 1.01, timestamptz '2026-01-31 03:04:05.678901+00' + g * interval '1 s'
    FROM generate_series({first}, {last}) g, generate_series(1, 3);
INSERT INTO attachments SELECT g, CASE WHEN g % 5 > 0 THEN decode(repeat(md5(g::text), 1 + g % 200), 'hex') END
    FROM generate_series({first}, {last}) g;
INSERT INTO events SELECT now(), ARRAY['a', NULL, g::text], jsonb_build_object('n', g, 'nothing', NULL)
    FROM generate_series({first}, {last}) g;
SELECT count(nextval('invoices')) FROM generate_series({first}, {last});
COMMIT;
"""
CHANGES = "UPDATE orders SET total = -total WHERE id % 7 = 0; DELETE FROM events WHERE (body->>'n')::int % 11 = 0;"


class DemoError(Exception):
    """A step that did not end well: what happened, and the file to read."""

    def __init__(self, text: str, log: Path | None = None) -> None:
        super().__init__(text)
        self.log = log


class Screen:
    """The summary: a numbered line for each step with its time, notes below it."""

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.number = 0
        self.title = ""

    def colour(self, code: int, text: str) -> str:
        """Colour on a terminal, plain text elsewhere."""
        return f"\033[{code}m{text}\033[0m" if self.terminal and not os.environ.get("NO_COLOR") else text

    def say(self, text: str = "", indent: str = "") -> None:
        """Print a paragraph; a long path is not broken."""
        wrapper = textwrap.TextWrapper(WIDTH, indent, indent, break_long_words=False, break_on_hyphens=False)
        print(wrapper.fill(text), flush=True)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """Time one step; what is appended to the list is shown below it."""
        self.number, self.title = self.number + 1, title
        line = f"{self.number:2}. {title:<60}"
        if self.terminal:
            print(f"{line} ...", end="", flush=True)
        notes: list[str] = []
        start, verdict = time.monotonic(), self.colour(31, "FAILED")
        try:
            yield notes
            verdict = ""
        except KeyboardInterrupt:
            verdict = "stopped"
            raise
        finally:
            seconds = time.monotonic() - start
            print(f"{chr(13) if self.terminal else ''}{line} {seconds:6.1f} s {verdict}".rstrip(), flush=True)
        for note in notes:
            self.say(note, "    ")


class Demo:
    """One run below ``root``."""

    def __init__(self, root: Path, screen: Screen, tools: dict[str, Any]) -> None:
        self.root, self.screen, self.tools = root, screen, tools
        self.sandbox = Sandbox(self.tools, base=str(root))
        self.look = ""
        self.logs = root / "log"
        self.logs.mkdir()
        (root / "tmp").mkdir()
        (root / "tmp").chmod(0o1777)
        shown = subprocess.run([self.tools["walg_binary"], "--version"], capture_output=True, text=True, check=False)
        words = shown.stdout.split()
        self.walg = words[2].removeprefix("v") if len(words) > 2 else ""
        if not self.walg:
            raise DemoError(
                f"{self.tools['walg_binary']} --version does not answer as WAL-G does: {shown.stdout or shown.stderr}"
            )

    def run(self) -> None:
        """Tell the whole story; the first step that fails ends it."""
        screen, sandbox = self.screen, self.sandbox
        screen.say(f"{first_line()}.")
        screen.say(
            f"Storage: file. All of it is in {self.root}; the output of ansible-playbook goes to its folder log."
        )
        screen.say()

        with screen.step("start a PostgreSQL server") as notes:
            cluster = sandbox.cluster()
            sandbox.storage()
            version, mode = cluster.sql("SHOW server_version"), cluster.sql("SHOW archive_mode")
            notes.append(f"PostgreSQL {version}, run by the user {sandbox.user}; archive_mode is {mode}")

        with screen.step("ansible-playbook mapswipe.walg.site") as notes:
            play = self.play("site", cluster)
            notes.append(
                "archiving is on, by one restart (walg_backup_restart: allowed); "
                f"the segment {play.of('walg_archive_check')[-1]['segment']} was fetched back from the storage"
            )
            notes.append(f"first base backup {play.of('walg_backup')[-1]['backup']['name']}; more of them by cron")

        with screen.step("write rows") as notes:
            cluster.sql(SCHEMA + ROWS.format(first=1, last=2000))
            notes.append(described(fingerprint(cluster)))

        with screen.step("take a base backup by the job in the cron file") as notes:
            notes.extend(self.scheduled_backup())

        with screen.step("write more rows, behind the base backup") as notes:
            cluster.sql(ROWS.format(first=2001, last=2500) + CHANGES)
            middle = cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
            cluster.sql("SELECT pg_switch_wal()")
            cluster.sql(ROWS.format(first=2501, last=3000))
            last = cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
            notes.append(f"in the segments {middle} and {last}, with updates and deletes")

        with screen.step("wait until the last of them is archived") as notes:
            self.archived(cluster, last)
            notes.append(
                f"archived up to {last}. That much is guaranteed; what is not archived yet, one "
                f"archive_timeout ({cluster.sql('SHOW archive_timeout')}) at most, goes with a lost disk"
            )

        with screen.step("keep every row and sequence outside of the cluster") as notes:
            before = fingerprint(cluster)
            (self.root / "fingerprint.json").write_text(json.dumps(before), encoding="utf-8")
            notes.append(described(before))

        with screen.step("kill -9 the server, remove its data directory") as notes:
            self.destroy(cluster)
            notes.append(f"{cluster.data_dir} is gone")

        if os.environ.get("BREAK") == "segment":
            with screen.step("BREAK=segment: delete a WAL segment from the storage") as notes:
                notes.append(f"{self.break_storage(middle)} is gone")

        with screen.step("ansible-playbook mapswipe.walg.restore") as notes:
            restored = self.play("restore", cluster).of("walg_restore")[-1]["restore"]
            notes.append(
                f"from {restored['backup']['name']} and the WAL behind it up to {restored['last_segments'][-1]}; now on timeline "
                f"{restored['timeline']}, archived again and with a base backup of its own"
            )

        with screen.step("compare every row with what was kept") as notes:
            notes.extend(compare(before, fingerprint(cluster)))

        with screen.step("the same restore again: nothing may change") as notes:
            changed = self.play("restore", cluster).changed()
            if changed:
                raise DemoError(f"the same request changed something: {', '.join(changed)}")
            if compare(before, fingerprint(cluster)):
                notes.append("changed=0, the rows are there")

        seconds = restored["seconds"]
        screen.say()
        screen.say(
            f"RTO  {sum(seconds.values()):.1f} s: {', '.join(f'{name} {value:.1f}' for name, value in seconds.items())}"
        )
        screen.say("RPO  0: nothing that was archived is missing")
        self.look = f"{cluster.bin_dir}/psql -h {cluster.socket_dir} -p {cluster.port} -U postgres postgres"
        screen.say(f"The restored cluster is in {cluster.data_dir}, timeline {restored['timeline']}")

    def play(self, name: str, cluster: Cluster) -> Play:
        """Run a shipped playbook; its output goes to a log."""
        log = self.logs / f"{self.screen.number:02}-{name}.log"
        variables = self.sandbox.variables(
            cluster, walg_version=self.walg, walg_restore_request="demo", walg_backup_archive_timeout=60
        )
        if name == "site":
            del variables["walg_restore_request"]
        play = self.sandbox.play(
            f"mapswipe.walg.{name}",
            variables,
            "-e",
            "walg_hosts=db",
            env={MARK: str(self.root), "TMPDIR": str(self.root / "tmp")},
        )
        log.write_text(play.stdout, encoding="utf-8")
        if play.rc:
            raise DemoError(play.failure() or f"ansible-playbook ended with {play.rc}", log)
        return play

    def scheduled_backup(self) -> list[str]:
        """Do what cron does: its user, its shell, its bare environment. It has to print nothing."""
        cron = importlib.import_module("support.cron")
        cron_file = self.sandbox.host / "cron" / "mapswipe-walg-main"
        backups = self.sandbox.storage_dir / "main" / "basebackups_005"
        there = set(backups.glob("*_backup_stop_sentinel.json"))
        user, command = cron.backup_of(cron_file.read_text(encoding="utf-8"))
        bare = {"PATH": "/usr/bin:/bin", "HOME": "/", "SHELL": "/bin/sh", "LOGNAME": user}
        done = self.sandbox.run(["/bin/sh", "-c", command], user=user, env=bare)
        if done.returncode or done.stdout:
            log = self.sandbox.host / "log" / "main" / "job.log"
            raise DemoError(
                f"`{command}` ended with {done.returncode} and said: {done.stdout.strip() or 'nothing'}", log
            )
        new = set(backups.glob("*_backup_stop_sentinel.json")) - there
        if len(new) != 1:
            raise DemoError(f"the job reported success, but the storage holds {len(new)} new base backups")
        name = new.pop().name.removesuffix("_backup_stop_sentinel.json")
        return [f"{name}, as {user}, with cron's environment:", command]

    def archived(self, cluster: Cluster, segment: str) -> None:
        """Have the segment finished, and wait until the archiver says that it is stored."""
        cluster.sql("SELECT pg_switch_wal()")
        deadline = time.monotonic() + 60
        while cluster.sql("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver") < segment:
            if time.monotonic() > deadline:
                found = cluster.sql("SELECT row_to_json(a) FROM pg_stat_archiver a")
                raise DemoError(f"the segment {segment} was not archived within 60 s: {found}", cluster.log)
            time.sleep(0.1)

    def destroy(self, cluster: Cluster) -> None:
        """The power goes out and the disk with it. Like a real one, it takes the server's shared memory along."""
        lines = (cluster.data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        shared = self.root / "shared-memory"
        shared.write_text(lines[6] if len(lines) > 6 else "", encoding="utf-8")
        cluster.kill()
        deadline = time.monotonic() + 10
        while self.sandbox.servers() and time.monotonic() < deadline:
            time.sleep(0.1)
        shutil.rmtree(cluster.data_dir)
        free_shared_memory(shared)

    def break_storage(self, segment: str) -> str:
        """Delete a stored segment; returns its name in the storage."""
        [stored] = (self.sandbox.storage_dir / "main" / "wal_005").glob(f"{segment}.*")
        stored.unlink()
        return stored.name


def fingerprint(cluster: Cluster) -> dict[str, Any]:
    """Every row of every table, as JSON text in a fixed order, and the value of every sequence."""
    tables = cluster.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").split("\n")
    rows = {
        table: cluster.sql(
            f'SELECT r FROM (SELECT row_to_json(t)::text COLLATE "C" FROM {table} t) AS rows (r) ORDER BY r'
        ).split("\n")
        for table in tables
    }
    listed = cluster.sql("SELECT sequencename, last_value, increment_by FROM pg_sequences ORDER BY 1").split("\n")
    sequences = {name: [int(value), int(step)] for name, value, step in (line.split("|") for line in listed)}
    return {"rows": rows, "sequences": sequences}


def described(found: dict[str, Any]) -> str:
    """One line on a fingerprint."""
    counts = ", ".join(f"{table} {len(rows)}" for table, rows in found["rows"].items())
    sequences = ", ".join(f"{name} {value}" for name, (value, _step) in found["sequences"].items())
    return f"{sum(map(len, found['rows'].values()))} rows ({counts}); sequences {sequences}"


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return what can be said of two fingerprints. DemoError: a row is missing, added or different."""
    wrong = []
    for table in sorted(before["rows"].keys() | after["rows"].keys()):
        wanted, found = before["rows"].get(table, []), after["rows"].get(table, [])
        if wanted != found:
            gone, strange = len(set(wanted) - set(found)), len(set(found) - set(wanted))
            wrong.append(
                f"{table}: {len(found)} rows, were {len(wanted)}; {gone} missing or different, {strange} not wanted"
            )
    for name, (value, step) in before["sequences"].items():
        now = after["sequences"].get(name, [None])[0]
        if now is None or not value <= now <= value + LOGGED_AHEAD * step:
            wrong.append(f"sequence {name}: {now}, was {value}")
    if wrong:
        raise DemoError(f"the restored cluster is not what was lost: {'; '.join(wrong)}")
    lines = [f"{table:<14} {len(rows):6} rows, all identical" for table, rows in after["rows"].items()]
    moved = ", ".join(
        f"{name} {before['sequences'][name][0]} -> {now}" for name, (now, _step) in after["sequences"].items()
    )
    return [*lines, f"sequences never go back, and skip up to {LOGGED_AHEAD} numbers: {moved}"]


def free_shared_memory(note: Path) -> None:
    """Free the small block of System V shared memory that a server killed for good leaves; ``note`` holds key and id."""
    words = note.read_text(encoding="utf-8").split() if note.exists() else []
    if len(words) != 2:
        return
    for line in Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]:
        key, shmid, _perms, _size, _cpid, _lpid, attached = line.split()[:7]
        if (str(int(key) & 0xFFFFFFFF), shmid, attached) == (str(int(words[0]) & 0xFFFFFFFF), words[1], "0"):
            subprocess.run(["ipcrm", "-m", shmid], check=False, capture_output=True)


def places() -> list[Path]:
    """Temporary directories in which the database user can pass and a socket's path is not too long."""
    found = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    return [path for path in found if len(str(path)) < 30 and passable(str(path))]


def processes(root: Path) -> list[int]:
    """Return the processes of a demo: its plays by their environment, programs on its "host", servers by their directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _belongs(entry, root):
            found.append(int(entry.name))
    return found


def _belongs(entry: Path, root: Path) -> bool:
    below = f"{root}/"
    try:
        if f"{MARK}={root}".encode() in (entry / "environ").read_bytes().split(b"\0"):
            return True
        words = [os.fsdecode(word) for word in (entry / "cmdline").read_bytes().split(b"\0")[:2]]
        if any(word.startswith(f"{below}host/") for word in words):
            return True
        return (entry / "comm").read_text().strip() == "postgres" and os.readlink(entry / "cwd").startswith(below)
    except OSError:
        return False  # somebody else's, or gone


def stop(root: Path) -> None:
    """End every process of a demo. Servers get SIGQUIT, on which they free their shared memory."""
    for patience, harsh in ((10.0, False), (5.0, True)):
        deadline = time.monotonic() + patience
        while (found := processes(root)) and time.monotonic() < deadline:
            for pid in found:
                with contextlib.suppress(OSError):
                    server = Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
                    os.kill(pid, signal.SIGQUIT if server and not harsh else signal.SIGKILL)
            time.sleep(0.2)
    free_shared_memory(root / "shared-memory")
    if found := processes(root):
        raise DemoError(f"these processes do not end: {', '.join(map(str, found))}")


def claim(root: Path) -> int | None:
    """Lock a demo's directory; None when a running demo holds it. The lock goes with its process, however that ends."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def clean(screen: Screen) -> int:
    """Remove what earlier demos of this checkout and user left. Returns how many run right now and were left alone."""
    busy = 0
    for root in sorted({path.resolve() for place in places() for path in place.glob(f"{PREFIX}*")}):
        if root.is_symlink() or not root.is_dir() or root.stat().st_uid != os.geteuid():
            continue
        held = claim(root)
        if held is None:
            busy += 1
            screen.say(f"A demo is running in {root}; it is left alone.")
            continue
        stop(root)
        shutil.rmtree(root)
        os.close(held)
        screen.say(f"Removed an earlier demo: {root}")
    return busy


def show(screen: Screen, error: Exception, root: Path) -> None:
    """Say what failed and what to read."""
    text = str(error) if isinstance(error, (DemoError, AssertionError)) else f"{type(error).__name__}: {error}"
    log = error.log if isinstance(error, DemoError) else None
    screen.say()
    screen.say(screen.colour(31, f"FAILED in step {screen.number}, {screen.title}:"))
    for line in text.splitlines():
        screen.say(line, "  ")
    if log and log.exists():
        screen.say()
        screen.say(f"The end of {log}:")
        for line in last_task(log.read_text(encoding="utf-8", errors="replace").splitlines()):
            print(f"  {line}"[:WIDTH])
    screen.say()
    screen.say("Read on in:")
    patterns = ("host/log/main/*.log", "host/state/main/*.log", "pg/*.log")
    logs = [path for pattern in patterns for path in sorted(root.glob(pattern))]
    for path in dict.fromkeys([log, *logs] if log else logs):
        print(f"  {path}")
    screen.say("The servers are stopped and the files kept; `make demo-clean` or the next demo removes them.")


def last_task(lines: list[str]) -> list[str]:
    """Return a log from its last task on, without empty lines, or its last lines where there is no task."""
    begin = max((number for number, line in enumerate(lines) if line.startswith("TASK [")), default=0)
    return [line for line in lines[begin:] if line.strip()][-15:]


def interrupt(number: int, _frame: object) -> None:
    """Let every polite end go the way of ctrl-C."""
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    screen = Screen()
    if arguments not in ([], ["clean"]) or os.environ.get("BREAK", "") not in ("", "segment"):
        print(
            "usage: demo.py [clean]; in the environment KEEP=1, BREAK=segment, PG_MAJOR, WALG_BINARY", file=sys.stderr
        )
        return 2
    if arguments:
        return 1 if clean(screen) else 0
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    try:
        sys.path.insert(0, str(link_root()))
        tools = load_tools()
    except ToolError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    clean(screen)
    start = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=places()[0])).resolve()
    held = claim(root)
    keep = os.environ.get("KEEP", "") not in ("", "0")
    try:
        demo = Demo(root, screen, tools)
        demo.run()
        screen.say(f"{screen.colour(32, 'All rows are back.')} The whole demo took {time.monotonic() - start:.0f} s.")
        if keep:
            screen.say("KEEP is set: the cluster goes on running until `make demo-clean` or the next demo. Look at it:")
            print(f"  {demo.look}")
            return 0
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        screen.say("Interrupted; everything is stopped and removed.")
        stop(root)
        shutil.rmtree(root)
        return 130
    except (DemoError, AssertionError, LookupError, ValueError, OSError, subprocess.SubprocessError) as error:
        stop(root)
        show(screen, error, root)
        return 1
    finally:
        if held is not None:
            os.close(held)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop(root)
    shutil.rmtree(root)
    screen.say("Stopped and removed; `make demo KEEP=1` leaves it running, to look at.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
