# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_verify against real archives: damage of every kind is named with its cost, and nothing that is well is called damaged.

What may be lost in these faults: nothing. Verifying changes no object, and what could not be looked at is never called sound.
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.flipped import flipped
from support.observe import snapshot
from support.restoring import History, archived, backup, segments
from support.sandbox import Sandbox

#: Small tars, so that a base backup has several; a base backup may be a delta.
WALG = {"WALG_TAR_SIZE_THRESHOLD": "8000000", "WALG_DELTA_MAX_STEPS": "2"}


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> History:
    """A full base backup, a delta, and WAL before, between and after them."""
    made = archived(sandbox, walg=WALG)
    made.ship(2)
    backup(sandbox)
    made.ship(4)
    return made


@pytest.fixture
def storage(sandbox: Sandbox, history: History) -> Iterator[Path]:
    """The storage; what a test breaks is whole again after it."""
    root = sandbox.storage_dir / "main"
    whole = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    yield root
    for path, data in whole.items():
        if not path.exists() or path.read_bytes() != data:
            write(sandbox, path, data)


def write(sandbox: Sandbox, path: Path, data: bytes) -> None:
    path.write_bytes(data)
    if os.geteuid() == 0:
        os.chown(path, pwd.getpwnam(sandbox.user).pw_uid, -1)


def verify(sandbox: Sandbox, **options: Any) -> dict[str, Any]:
    answer = sandbox.module("walg_verify", {**sandbox.instance(), **options})
    assert not answer.get("failed"), answer
    assert answer["changed"] is False
    return answer


def state(sandbox: Sandbox) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((sandbox.host / "state" / "main" / "verification.json").read_text())
    return told


def damaged(answer: dict[str, Any]) -> dict[str, str]:
    """What is wrong, by the object's path."""
    return {one["object"]: one["what"] for one in answer["damaged"]}


def parts(storage: Path, number: int) -> list[Path]:
    """The parts of one of the base backups, in the order of their names."""
    folder = sorted(path for path in storage.glob("basebackups_005/base_*") if path.is_dir())[number]
    return sorted(folder.glob("tar_partitions/part_*"))


def test_all_is_well(sandbox: Sandbox, history: History, storage: Path) -> None:
    before = snapshot(sandbox, history.cluster, storage)
    seen = sandbox.module("walg_verify", sandbox.instance(), check=True)
    assert (seen["sound"], seen["reread"]["objects"]) == (True, 0)
    assert seen["reread"]["planned"] > 0
    assert snapshot(sandbox, history.cluster, storage) == before
    objects = [
        *storage.glob("wal_005/" + "?" * 24 + ".lz4"),
        *(path for path in storage.glob("basebackups_005/**/*") if path.is_file()),
    ]
    answer = verify(sandbox, everything=True)
    assert (answer["sound"], answer["damaged"], answer["reread"]["done_share"]) == (True, [], 1.0)
    assert answer["reread"]["objects"] == len(objects) > 12
    assert answer["reread"]["bytes"] == sum(path.stat().st_size for path in objects)
    progress = json.loads((sandbox.host / "state" / "main" / "verify-progress.json").read_text())
    assert (progress["phase"], progress["bytes"], progress["sound"]) == ("done", answer["reread"]["bytes"], True)
    slice_ = verify(sandbox)
    assert 1 <= slice_["reread"]["objects"] < len(objects) / 2
    assert not (sandbox.host / "state" / "main" / "verify").exists()


def test_every_damage_is_named(sandbox: Sandbox, history: History, storage: Path) -> None:
    """All of them at once; each is told by its object."""
    wal = segments(history.cluster)
    first, second = parts(storage, 0)[:2]
    other, lost = parts(storage, 1)[:2]
    write(sandbox, wal[0], flipped(wal[0].read_bytes()))
    write(sandbox, wal[2], wal[2].read_bytes()[: wal[2].stat().st_size // 2])
    write(sandbox, wal[3], b"x")
    write(sandbox, wal[4], b"")
    swapped = wal[-2].read_bytes(), wal[-1].read_bytes()
    write(sandbox, wal[-2], swapped[1])
    write(sandbox, wal[-1], swapped[0])
    write(sandbox, first, flipped(first.read_bytes()))
    write(sandbox, second, second.read_bytes()[:-3000])
    write(sandbox, other, b"")
    lost.unlink()
    answer = verify(sandbox, everything=True)
    assert answer["sound"] is False
    found = damaged(answer)
    expected = [*(wal[number] for number in (0, 2, 3, 4, -2, -1)), first, second, other, lost]
    assert set(found) == {str(path.relative_to(storage)) for path in expected}
    for path, words in ((wal[-2], wal[-1].name[:24]), (wal[-1], wal[-2].name[:24]), (lost, "missing")):
        assert words in found[str(path.relative_to(storage))]
    assert all(one["remedy"] for one in answer["damaged"])
    assert answer["chain"]["left"] == []
    assert state(sandbox)["last"]["sound"] is False


def test_a_segment_of_another_cluster(
    make_sandbox: Callable[..., Sandbox], sandbox: Sandbox, history: History, storage: Path
) -> None:
    """And its price: nothing after it can be restored. What was damaged before is well again; the remedy is one that works."""
    stranger = make_sandbox()
    theirs = stranger.cluster("main", archive_mode="on")
    stranger.configure(theirs)
    assert stranger.module("walg_archive", stranger.instance())["changed"]
    theirs.ship()
    while segments(theirs)[-1].name < segments(history.cluster)[-2].name:
        theirs.ship()
    mine = segments(history.cluster)[-2]
    write(sandbox, mine, (stranger.storage_dir / "main" / "wal_005" / mine.name).read_bytes())
    (entry,) = verify(sandbox, everything=True)["damaged"]
    assert (entry["object"], entry["backups"]) == (f"wal_005/{mine.name}", [])
    assert f"another cluster (system identifier {theirs.system_identifier()}" in entry["what"]
    assert "until there is a new base backup" in entry["costs"]
    command = entry["remedy"].rpartition(": ")[2]
    assert "wal-push" in command
    for words in command.split(" && "):
        done = sandbox.run(shlex.split(words), user=sandbox.user, env={"PGDATA": str(history.cluster.data_dir)})
        assert done.returncode == 0, done.stdout
    assert verify(sandbox)["sound"] is True


def test_what_a_deletion_by_hand_costs(sandbox: Sandbox, history: History, storage: Path) -> None:
    """The full base backup's sentinel: the delta can't be restored. A damaged record keeps WAL-G from listing any base backup."""
    full, delta = sorted(storage.glob("basebackups_005/*_sentinel.json"), key=lambda path: len(path.name))
    kept = full.read_bytes()
    full.unlink()
    answer = verify(sandbox)
    assert answer["sound"] is False
    assert [one["name"] for one in answer["chain"]["backups"]] == [delta.name.partition("_backup")[0]]
    assert f"basebackups_005/{full.name}" in damaged(answer)
    write(sandbox, full, kept[: len(kept) // 2])
    answer = verify(sandbox, everything=True)
    assert answer["sound"] is False
    assert "no JSON" in damaged(answer)[f"basebackups_005/{full.name}"]
    write(sandbox, full, kept)
    metadata = next(storage.glob("basebackups_005/*_D_*/metadata.json"))
    metadata.unlink()
    answer = verify(sandbox)
    assert damaged(answer)[str(metadata.relative_to(storage))] == "it is missing"


def test_a_killed_run_is_continued(sandbox: Sandbox, history: History, storage: Path) -> None:
    """With -9, while it is held back by its limit of bytes a second."""
    argv = sandbox.module_argv("walg_verify", {**sandbox.instance(), "everything": True, "rate": 1_500_000})
    total = len(list(storage.glob("wal_005/" + "?" * 24 + ".lz4"))) + len(list(storage.glob("basebackups_005/**/*.*")))
    began = time.monotonic()
    with subprocess.Popen(argv, env=sandbox.environment(sandbox.control / "none"), stdout=subprocess.DEVNULL) as run:
        for _turn in range(400):
            cycle = state(sandbox)["memory"]["cycle"]
            if cycle and cycle["objects"] >= 3:
                break
            time.sleep(0.05)
        read, seconds = cycle["bytes"], time.monotonic() - began
        locked = sandbox.module("walg_verify", sandbox.instance())
        assert "is already running" in locked["msg"]
        children = subprocess.run(
            ["pgrep", "-P", str(run.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        for pid in [str(run.pid), *children]:
            os.kill(int(pid), signal.SIGKILL)
    time.sleep(0.5)
    left = total - state(sandbox)["memory"]["cycle"]["objects"]
    answer = verify(sandbox, everything=True)
    assert (answer["sound"], answer["reread"]["objects"]) == (True, left)
    assert left < total
    assert read <= 1_500_000 * seconds
