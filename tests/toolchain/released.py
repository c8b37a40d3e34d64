# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The WAL-G release that users run, for tests and demo; only where it can't be had, WAL-G is built (see parts.walg_part).

What came of asking is noted in the tools folder, so that a machine without a way out asks once a day.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from locations import (
    HERE,
    NO_SERVER,
    ROOT,
    ToolError,
    digest_of,
    pg_major,
    release_dir,
    release_note,
    release_server,
    test_environment,
    tools_dir,
    walg,
)

#: Seconds until the digest's small file must be here, and until the build must be.
SHORT, LONG = 5, 900
#: Names are looked up before any time limit of the client begins.
LOOK_UP = 5
DAY = 24 * 60 * 60


def wanted_version() -> str:
    """The version that the role installs by default."""
    found = re.search(
        r"^walg_version: (\S+)$", (ROOT / "roles/walg/defaults/main.yml").read_text("utf-8"), re.MULTILINE
    )
    if not found:
        raise ToolError("walg: roles/walg/defaults/main.yml names no walg_version")
    return found[1]


def due() -> bool:
    """Is the release to be asked for? Not if another WAL-G is chosen, if it is there, or if it was not to be had today."""
    if os.environ.get("WALG_BINARY") or release_server() == NO_SERVER:
        return False
    note = release_note()
    if note.get("version") != wanted_version():
        return True
    if note["had"]:
        binary = release_dir() / "wal-g"
        return not binary.is_file() or digest_of(binary) != note["sha256"]
    return os.environ.get("RETRY", "") not in ("", "0") or not 0 <= time.time() - note["at"] < DAY


def obtain() -> None:
    """Ask for the release and note what came of it. A file that is not what was published is an error, and never passed over."""
    folder, version = release_dir(), wanted_version()
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "note.json"
    note.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="fetch.") as room:
        answer = ask("look", version, SHORT, room)
        if answer["outcome"] == "had":
            answer = ask("fetch", version, LONG, room)
            if answer["outcome"] == "had":
                Path(room, "wal-g").replace(folder / "wal-g")
    if answer["outcome"] == "wrong":
        raise ToolError(
            f"walg: {answer['why']} To build WAL-G without asking for its release: WALG_RELEASES={NO_SERVER}"
        )
    had = answer["outcome"] == "had"
    noted = {**answer, "had": had, "version": version, "server": release_server(), "at": time.time()}
    fresh = note.with_name("note.json.part")
    fresh.write_text(json.dumps(noted, indent=2), encoding="utf-8")
    fresh.replace(note)


def ask(command: str, version: str, seconds: int, folder: str) -> dict[str, Any]:
    """Have the collection's code ask; it is given up when it takes longer than it may."""
    python = tools_dir() / "venv" / "bin" / "python"
    argv = [str(python), str(HERE / "fetch_release.py"), command, version, release_server(), str(seconds), folder]
    try:
        done = subprocess.run(
            argv, env=test_environment(), capture_output=True, text=True, check=False, timeout=seconds + LOOK_UP
        )
    except subprocess.TimeoutExpired:
        return {"outcome": "away", "why": f"the server did not answer within {seconds + LOOK_UP} s."}
    if done.returncode:
        raise ToolError(f"walg: asking for the release {version} failed:\n{done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def first_line() -> str:
    """The line that demo and `make test` begin with: which WAL-G, why, and which PostgreSQL."""
    chosen = walg()
    if not chosen.binary.is_file():
        raise ToolError(f"walg: there is no {chosen.binary} yet: make tools")
    shown = subprocess.run([chosen.binary, "--version"], capture_output=True, text=True, check=False).stdout
    version = shown.split("\t")[0].removeprefix("wal-g version ").strip()
    return f"WAL-G {version} with PostgreSQL {pg_major()}: {chosen.why}"
