# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What root knows of a restore lies with root: a forged marker makes it do nothing, and nobody else holds its lock.

A restore of an earlier version, whose marker the database user could write, is not lost: the message has the line that takes it over.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.attackers import Tally, holding
from support.restoring import History, archived, killed_in_swap, restore
from support.sandbox import Sandbox
from support.victims import Victims

STATES = [
    *("fetching", "recovering", "paused", "shut down", "moving on", "recovered", "swapping", "starting", "done"),
    *("rolling back", "rolled back"),
]
#: Seconds that a refusal may take on a busy machine.
SOON = 30


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    return archived(sandbox)


@pytest.fixture(autouse=True)
def server_goes_on(history: History) -> Iterator[None]:
    yield
    assert history.numbers() == list(range(len(history.steps)))


def former(sandbox: Sandbox) -> Path:
    """Where earlier versions had the marker, and the database user can write."""
    return sandbox.host / "state" / "main" / "restore.json"


def plant(sandbox: Sandbox, text: str) -> None:
    """As the database user: write the marker."""
    path = former(sandbox)
    path.write_text(text)
    entry = pwd.getpwnam(sandbox.user)
    os.chown(path, entry.pw_uid, entry.pw_gid)


def marker(history: History, them: Victims, state: str, request: str) -> dict[str, Any]:
    """A marker by which root would rename, make and remove what is not the attacker's."""
    data_dir, ground = str(history.cluster.data_dir), str(them.ground)
    place = {"path": f"{ground}/open", "link": "pg_wal", "mount": False, "stays": []}
    places = [
        {**place, "work": f"{ground}/closed", "aside": f"{ground}/new"},
        {**place, "path": data_dir, "link": "", "work": f"{ground}/others", "aside": f"{ground}/new/data"},
    ]
    steps = [
        {"action": "make", "source": "65534:65534", "target": f"{ground}/made", "path": ""},
        {"action": "make", "source": "65534:65534", "target": f"{ground}/empty", "path": ""},
        {"action": "out", "source": f"{ground}/open", "target": f"{ground}/gone", "path": ""},
        {"action": "in", "source": f"{ground}/closed", "target": f"{ground}/open", "path": ""},
        {"action": "lead", "source": "/etc", "target": f"{ground}/link", "path": ""},
    ]
    identifier = history.cluster.system_identifier()
    return {
        "request": request,
        "state": state,
        "standby": False,
        "backup": "base_1",
        "data_dir": data_dir,
        "target": {"kind": "latest", "value": "", "inclusive": True},
        "system_identifier": identifier,
        "places": places,
        "journal": steps,
        "keeps_old": True,
        "socket_dir": f"{ground}/open",
        "stopped": False,
        "plan": {
            "major": 14,
            "timeline": 1,
            "segment_size": 1 << 24,
            "settings": {},
            "links": {"x": "/etc"},
            "salvage_from": f"{ground}/open",
            "check_start": False,
        },
    }


@pytest.mark.parametrize("state", STATES)
def test_a_forged_marker(sandbox: Sandbox, history: History, them: Victims, tally: Tally, state: str) -> None:
    """In the old place, under this request's name and under another one's, for each verb."""
    for request in ("mine", "another"):
        plant(sandbox, json.dumps(marker(history, them, state, request)))
        passed_over = request == "another" and state in ("done", "rolled back")
        for check, more in (
            (True, {}),
            (False, {"stop_running": True}),
            (False, {"rollback": True}),
            (False, {"discard": True}),
        ):
            if passed_over and more == {"stop_running": True}:
                continue  # an ordinary restore
            answers: list[dict[str, Any]] = []
            with them.counted(tally, partial(refused_or_passed, answers, passed_over)):
                answers.append(restore(sandbox, "mine", check, **more))
    former(sandbox).unlink()


def refused_or_passed(answers: list[dict[str, Any]], passed_over: bool) -> bool:
    answer = answers[0]
    return "exception" not in answer and (passed_over or "root does nothing on its word" in answer["msg"])


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 40)


def deep(path: Path) -> None:
    path.write_text("[" * 1_000_000)


def link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def marker_of(value: object) -> dict[str, object]:
    return dict.fromkeys(
        ("request", "target", "standby", "backup", "data_dir", "places", "plan", "system_identifier"), value
    )


def other_types(path: Path) -> None:
    path.write_text(json.dumps({**marker_of(7), "state": []}))


@pytest.mark.parametrize("make", [pipe, endless, deep, link, os.mkdir, other_types])
def test_what_is_no_marker(sandbox: Sandbox, tally: Tally, make: Callable[[Path], None]) -> None:
    """Read with the owner's rights, up to a limit, and told."""
    path = former(sandbox)
    make(path)
    for check in (True, False):
        began = time.monotonic()
        answer = restore(sandbox, "odd", check)
        tally.count(not answer.get("failed") or "exception" in answer or time.monotonic() - began > SOON)
    os.rmdir(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def test_the_place_is_roots(sandbox: Sandbox, history: History, tally: Tally) -> None:
    """What the database user puts there before, root does not use; and what root makes, nobody else can open."""
    place = sandbox.marker().parent
    answer = restore(sandbox, "gone", rollback=True)
    assert "There is no restore 'gone'" in answer["msg"]
    found = place.stat()
    tally.count((found.st_uid, found.st_mode & 0o777) != (0, 0o700))
    for what in ("ls", "touch"):
        tally.count(sandbox.run([what, f"{place}/restore.lock"], user=sandbox.user).returncode == 0)


def locked(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def test_a_lock_of_the_database_users(sandbox: Sandbox, tally: Tally) -> None:
    """Held in the state directory it holds nobody up; another run of root's is told of."""
    with holding(sandbox.user, lambda: locked(sandbox.host / "state" / "main" / "restore.lock")):
        tally.count("There is no restore 'gone'" not in restore(sandbox, "gone", rollback=True)["msg"])
    with holding("root", lambda: locked(sandbox.marker().with_name("restore.lock"))):
        assert "is already running" in restore(sandbox, "gone", rollback=True)["msg"]


def test_a_killed_restore_of_an_earlier_version(sandbox: Sandbox, history: History, tally: Tally) -> None:
    """Refused with the line that takes it over; after that line it is finished, and nothing is fetched again."""
    lsn, rows = history.step()["lsn"], history.numbers()
    history.cluster.ship()
    options = {"target_lsn": lsn, "stop_running": True}
    assert killed_in_swap(sandbox, "earlier", "after", **options)
    plant(sandbox, sandbox.marker().read_text())
    subprocess.run(["rm", "-r", str(sandbox.marker().parent)], check=True)
    for verb in ({}, {"rollback": True}, {"discard": True}):
        answer = restore(sandbox, "earlier", **{**options, **verb})
        tally.count("root does nothing on its word" not in answer["msg"])
    line = answer["msg"].partition("run again: ")[2].partition(". If it is not")[0]
    subprocess.run(["sh", "-c", line], check=True)
    assert not former(sandbox).exists()
    finished = restore(sandbox, "earlier", **options)
    assert finished.get("changed"), finished
    assert "fetch" not in finished["restore"]["seconds"]
    assert history.numbers() == rows
    assert restore(sandbox, "earlier", **options)["changed"] is False
