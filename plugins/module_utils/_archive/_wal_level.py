# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: a time with wal_level = minimal cuts the archive: no recovery passes it, whether or not a segment is missing.

PostgreSQL ends a recovery at the record of such a change, and what was written then is not in the WAL. The change takes a
restart, and archiving is off meanwhile, so the record is in a segment that was not sent before the next start. Once after
each start, before anything is sent, those segments are searched for it. What is found is noted in the state directory
until a base backup that is newer is complete; that one's record keeps it for all who read the archive.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

from .._host._files import read_text, write_atomic
from .._postgres._wal import SEGMENT_NAME
from .._postgres._wal_content import says_minimal

if TYPE_CHECKING:
    from collections.abc import Iterable

#: In the state directory.
NOTE = "wal-level-minimal.json"


def minimal_segments(
    state_dir: str, data_dir: str, system_identifier: str, seconds: float | None = None, dry: bool = False
) -> list[str]:
    """Return the segments that no recovery passes and no base backup has left behind yet. Run as the cluster's owner.

    ``seconds``: after that the search is left to the next caller, for those who may not wait; what was found by then counts.
    ``dry``: nothing is noted.
    """
    path = os.path.join(state_dir, NOTE)
    known = _known(path, system_identifier)
    started = _server_start(data_dir)
    if known["searched"] == started:
        return list(known["segments"])
    found, whole = _search(os.path.join(data_dir, "pg_wal"), seconds)
    segments = sorted({*known["segments"], *found})
    searched = started if whole else known["searched"]
    if not dry:
        _write(path, {"system_identifier": system_identifier, "searched": searched, "segments": segments})
    return segments


def drop(state_dir: str, system_identifier: str, passed: Iterable[str]) -> None:
    """Take segments off the note: a complete base backup begins after them and names them."""
    path = os.path.join(state_dir, NOTE)
    known = _known(path, system_identifier)
    left = sorted(set(known["segments"]) - set(passed))
    if left != known["segments"]:
        _write(path, {**known, "segments": left})


def _write(path: str, known: dict[str, Any]) -> None:
    write_atomic(path, json.dumps(known) + "\n", 0o644)


def _known(path: str, system_identifier: str) -> dict[str, Any]:
    """Return the note; of another cluster or damaged it is none."""
    none: dict[str, Any] = {"system_identifier": system_identifier, "searched": "", "segments": []}
    try:
        known = json.loads(read_text(path) or "{}")
    except ValueError:
        return none
    if not isinstance(known, dict) or known.keys() != none.keys() or known["system_identifier"] != system_identifier:
        return none
    return known


def _server_start(data_dir: str) -> str:
    lines = (read_text(os.path.join(data_dir, "postmaster.pid")) or "").splitlines()
    return lines[2].strip() if len(lines) > 2 else ""


def _search(wal_dir: str, seconds: float | None) -> tuple[list[str], bool]:
    """Return the segments with such a record among those that were not sent, newest first, and whether all were searched."""
    deadline = None if seconds is None else time.monotonic() + seconds
    sent = set()
    with contextlib.suppress(FileNotFoundError):
        names = os.listdir(os.path.join(wal_dir, "archive_status"))
        sent = {name[: -len(".done")] for name in names if name.endswith(".done")}
    found: list[str] = []
    for name in sorted(os.listdir(wal_dir), reverse=True):
        if not SEGMENT_NAME.match(name) or name in sent:
            continue
        try:
            with open(os.path.join(wal_dir, name), "rb") as stream:
                if says_minimal(stream, name, deadline):
                    found.append(name)
        except FileNotFoundError:
            continue  # sent and removed meanwhile
        except TimeoutError:
            return found, False
    return found, True
