# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`walg-job status --watch` on terminals of 80 and of 40 columns while base backup, verification and restore really run."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.restoring import archived
from support.sandbox import Sandbox
from support.terminal import Terminal

RATE = 3_000_000  # bytes a second: a busy machine shows the first line after seconds
MIB = 40
FULL = re.compile(r"^\[█*░*\] +\d+% backup: backup-push, [\d.]+ MB of [\d.]+ MB, [\d.]+ [kM]B/s, \d+ s left$")


@pytest.fixture(scope="module")
def host(sandbox: Sandbox) -> Sandbox:
    history = archived(sandbox, walg={"WALG_DISK_RATE_LIMIT": str(RATE), "WALG_COMPRESSION_METHOD": "lz4"})
    rows = MIB * 1024 * 1024 // 8000
    history.cluster.sql(
        "CREATE TABLE big (t text); ALTER TABLE big ALTER t SET STORAGE EXTERNAL;"
        f"INSERT INTO big SELECT repeat(md5(r::text), 248) FROM generate_series(1, {rows}) r"
    )
    history.cluster.ship()
    spec = sandbox.host / "config" / "main.job.json"
    spec.write_text(json.dumps({"verification": {"days": 30, "rate": RATE}}))
    sandbox.run(["chown", f"{sandbox.user}:", str(spec)])
    return sandbox


def words(host: Sandbox, *more: str) -> list[str]:
    return [str(host.host / "program" / "walg-job"), more[0], "--config-dir", str(host.host / "config"), *more[1:]]


def watch(host: Sandbox, width: int, language: str = "C.UTF-8") -> Terminal:
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "TERM": "xterm", "LANG": language}
    return Terminal(words(host, "status", "--watch"), width, host.user, environment)


@contextmanager
def running(host: Sandbox, *more: str) -> Iterator[dict[str, Any]]:
    """While the job runs; its end is waited for."""
    seen: dict[str, Any] = {}

    def run() -> None:
        seen["done"] = host.run(words(host, *more), user=host.user)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        thread.join()
    assert seen["done"].returncode == 0, seen["done"].stdout


def started(host: Sandbox, file: str) -> None:
    """Wait until something writes its progress."""
    path = host.host / "state" / "main" / file
    for _turn in range(300):
        if path.exists() and json.loads(path.read_text())["phase"] != "done":
            return
        subprocess.run(["sleep", "0.1"], check=True)
    raise AssertionError(f"nothing writes {path}")


def test_a_base_backup_on_two_terminals(host: Sandbox) -> None:
    """What may not be: a line that breaks, one that is left over, a traceback."""
    with running(host, "backup", "--full"):
        started(host, "progress.json")
        wide, narrow = watch(host, 80), watch(host, 40)
        wide.until(lambda rows: any(FULL.match(row) for row in rows))
        wide.control_c()
        assert wide.code() == 0
        narrow.until(lambda rows: len(rows) == 2 and "left" in rows[-1])
        assert narrow.code() == 0
    assert all("Traceback" not in row for row in wide.frames[-1])
    assert {len(frame) for frame in wide.frames} <= {1, 2}, wide.frames  # ^C is echoed on a line of its own
    assert narrow.frames[-1][-1] == "done"
    assert max(len(frame) for frame in narrow.frames[:-1]) == 2, narrow.frames
    shares = [int(found[1]) for frame in narrow.frames if (found := re.search(r"(\d+)% ", frame[0]))]
    assert shares == sorted(shares)
    assert shares[-1] > shares[0]


def test_a_terminal_that_has_no_such_characters(host: Sandbox) -> None:
    state = host.host / "state" / "main" / "progress.json"
    kept = state.read_text()
    with running(host, "verify", "--all"):
        started(host, "verify-progress.json")
        seen = watch(host, 80, "C")
        seen.until(lambda rows: any("verify: re-reading" in row and "/s" in row for row in rows))
        assert seen.code() == 0
    assert all(row.isascii() or "█" in row for frame in seen.frames for row in frame)
    assert state.read_text() == kept


def test_two_runs_at_once_have_a_line_each(host: Sandbox) -> None:
    with running(host, "backup", "--full"):
        started(host, "progress.json")
        with running(host, "verify", "--all"):
            started(host, "verify-progress.json")
            seen = watch(host, 80)
            seen.until(lambda rows: len(rows) == 2 and all("/s" in row for row in rows))
            both = seen.frames[-1]
            seen.control_c()
            assert seen.code() == 0
    assert "backup: " in both[0]
    assert "verify: " in both[1]


def test_what_is_not_a_terminal_gets_lines(host: Sandbox) -> None:
    with running(host, "verify", "--all"):
        started(host, "verify-progress.json")
        done = host.run(words(host, "status", "--watch"), user=host.user)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert done.stdout.splitlines()[-1] == "done"


def test_a_restore(host: Sandbox, tmp_path: Path) -> None:
    cluster = host.clusters[0]
    cluster.lose()
    answer: dict[str, Any] = {}

    def restore() -> None:
        answer.update(host.module("walg_restore", {**host.instance(), "request": "watched"}))

    thread = threading.Thread(target=restore)
    thread.start()
    started(host, "progress.json")
    seen = watch(host, 80)
    code = seen.code()
    thread.join()
    assert (code, seen.frames[-1][-1]) == (0, "done"), seen.frames
    assert answer["restore"]["state"] == "done", answer
    assert any(row.startswith("restore: ") or "] " in row for frame in seen.frames for row in frame), seen.frames
