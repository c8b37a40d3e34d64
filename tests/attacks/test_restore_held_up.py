# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody holds up a restore of root's: pipes and endless files in the owner's directories."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _files
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User, call_as
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _data_dir
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _salvage, _stopped
from support.attackers import Tally, own

#: Seconds that each act may take on a busy machine.
SOON = 30


def ends_soon(act: Callable[[], Any]) -> bool:
    """Say whether an act comes to its end, good or bad, in time."""
    began = time.monotonic()
    with contextlib.suppress(WalgError, OSError):
        act()
    return time.monotonic() - began < SOON


def pipe(path: Path) -> None:
    os.mkfifo(path)
    path.chmod(0o666)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, endless])
def test_what_root_has_read_in_the_owners_directories(
    ground: Path, attacker: str, tally: Tally, make: Callable[[Path], None]
) -> None:
    theirs, owner = own(ground / "theirs", attacker), User.by_name(attacker)
    for name in ("global", "pg_wal", "target"):
        own(theirs / name, attacker)
    segment = "000000010000000000000002"
    for name in ("global/pg_control", "postmaster.pid", "recovery.log", f"pg_wal/{segment}"):
        make(theirs / name)
    (theirs / "PG_VERSION").write_text("14\n")
    place, log = str(theirs), str(theirs / "recovery.log")
    wal, first = str(theirs / "pg_wal"), segment[:-1] + "1"
    acts: list[Callable[[], Any]] = [
        lambda: _stopped.snapshot(place, owner),
        lambda: _stopped.kept_stopped(place, owner).__enter__(),
        lambda: call_as(owner, _data_dir.own_entry, place),
        lambda: call_as(owner, _files.read_tail, log, 256 * 1024),
        lambda: call_as(owner, _salvage.after, wal, first, "7", 0),
        lambda: call_as(owner, _salvage.copy, wal, [segment], str(theirs / "target")),
        lambda: Runner().start(["/bin/true"], output=log, user=owner),
    ]
    for act in acts:
        tally.count(not ends_soon(act))
