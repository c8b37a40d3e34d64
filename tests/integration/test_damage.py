# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damage that cuts the way from the newest base backup to the present makes a full one due by itself, once.

What may be lost: the moments from the damage to the new base backup, which were lost with it. Nothing after that.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.flipped import flipped
from support.job_host import Host, Receiver, ready
from support.sandbox import Sandbox


@pytest.fixture(scope="module")
def host(sandbox: Sandbox, receiver: Receiver) -> Host:
    made = ready(sandbox, receiver, walg={"WALG_DELTA_MAX_STEPS": "3"})
    made.cluster.ship()
    return made


def damage(host: Host, path: Path) -> str:
    """Flip a bit in the middle of a stored object. Returns its path below the prefix."""
    path.write_bytes(flipped(path.read_bytes()))
    return str(path.relative_to(host.storage))


def asked(host: Host, check: bool) -> tuple[bool, str]:
    """What the module says: whether one is needed, and why."""
    answer = host.sandbox.module("walg_backup", host.sandbox.instance(), check)
    assert not answer.get("failed"), answer
    return bool(answer["needed"]), str(answer["reason"])


def test_a_segment_before_the_newest_base_backup(host: Host) -> None:
    """It costs the past alone: none is due."""
    path = host.segments()[-1]
    assert host.job("backup", "--full").rc == 0
    before, whole = host.backups(), path.read_bytes()
    damage(host, path)
    assert host.job("verify", "--all").rc == 5
    assert asked(host, True)[0] is False
    assert host.job("run", "--scheduled").rc == 5
    assert host.backups() == before
    path.write_bytes(whole)
    assert host.job("verify").rc == 0


def test_a_segment_after_the_newest_base_backup(host: Host) -> None:
    """Seen by verification, the next run takes a full one with the reason, where a delta would have been next; later ones take none."""
    host.cluster.ship()
    before = host.backups()
    path = damage(host, host.segments()[-1])
    assert asked(host, True)[0] is False, "nobody has seen it"
    assert host.job("verify", "--all").rc == 5
    assert host.job("check", "--scheduled").rc == 6
    assert (host.restorable(), host.codes()) == ("no", {"damage"})
    needed, why = asked(host, True)
    assert (needed, path in why) == (True, True)
    assert host.backups() == before
    done = host.job("run", "--scheduled")
    assert done.rc == 5, done.stderr
    (new,) = set(host.backups()) - set(before)
    assert "_D_" not in new
    assert path in host.runs("backup")[-1]["details"]["reason"]
    log = (host.sandbox.host / "log" / "main" / "job.log").read_text()
    assert f"a base backup is due: verification found damage in {path}" in log
    assert (host.restorable(), host.codes()) == ("yes", {"damage"})
    runs = len(host.runs("backup"))
    for _turn in range(2):
        host.job("run", "--scheduled")
    assert (len(host.runs("backup")), asked(host, False)[0]) == (runs, False)
    assert host.job("verify", "--all").rc == 5
    host.job("run", "--scheduled")
    assert len(host.runs("backup")) == runs, "it is found again, and is not on the way"


def test_the_newest_base_backup(host: Host) -> None:
    """A delta whose base is damaged: by the module this time, which takes a full one without being asked for its age."""
    host.cluster.sql("INSERT INTO t VALUES (4000)")
    base = host.backups()[-1]
    assert host.job("backup").rc == 0
    assert host.backups()[-1].endswith(f"_D_{base[5:]}")
    parts = (host.storage / "basebackups_005" / base / "tar_partitions").glob("part_*")
    part = max(parts, key=lambda one: one.stat().st_size)
    path = damage(host, part)
    assert host.job("verify", "--all").rc == 5
    assert asked(host, True)[0] is True
    needed, why = asked(host, False)
    assert (needed, path in why) == (True, True)
    assert "_D_" not in host.backups()[-1]
    assert asked(host, False)[0] is False
    assert host.job("check", "--scheduled").rc == 5
    assert host.restorable() == "yes"
