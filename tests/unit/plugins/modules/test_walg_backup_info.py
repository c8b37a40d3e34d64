# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_backup_info: it answers what it documents, changes nothing, and hides no error of the storage."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _history
from ansible_collections.mapswipe.walg.plugins.modules import walg_backup_info
from support.module_call import Call
from support.observe import files
from support.scripted import Scripted
from support.walg_world import World, listed, segment, shown

#: All WAL from the base backup on, of the first timeline: wal-show is not needed.
WAL = "type size last modified name\n" + "".join(
    f"obj 1 2026-01-02 13:00:00 +0000 UTC {segment(1, number)}.lz4\n" for number in range(2, 6)
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, [listed(1, 2, "2026-01-02T12:00:00Z")], [shown(1, 1, 5)])


@pytest.fixture
def call(world: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return Call(walg_backup_info, capfd, monkeypatch, config_dir=world.instance.config_dir)


def test_it_answers_what_it_documents(world: World, call: Call) -> None:
    asked = [*world.lists(), world.walg("st", "ls", "wal_005", stdout=WAL), world.owner()]
    before = files(world.root)
    for check in (True, False):
        answer = call(Scripted(calls=list(asked)), check=check)
        assert (answer["changed"], files(world.root)) == (False, before)
        assert [(one["name"], one["restorable"]) for one in answer["backups"]] == [(f"base_{segment(1, 2)}", True)]
        documented = {
            name for name, told in yaml.safe_load(walg_backup_info.RETURN).items() if told["returned"] == "success"
        }
        assert documented <= set(answer)


def test_what_the_job_did_comes_newest_first(world: World, call: Call) -> None:
    path = world.instance.files.history
    for number in range(60):
        verb, details = ("check", {}) if number else ("backup", {"name": "base_1"})
        stamp = f"2026-01-02T13:{number:02}:00Z"
        _history.append(
            path, _history.Run(verb, stamp, stamp, 0.5, 0, changed=not number, text="well", details=details)
        )
    asked = [*world.lists(), world.walg("st", "ls", "wal_005", stdout=WAL), world.owner()]
    found = call(Scripted(calls=asked))["history"]
    assert [one["ended"][14:16] for one in found] == [*(f"{number:02}" for number in range(59, 9, -1)), "00"]
    assert (found[-1]["verb"], found[-1]["changed"], found[-1]["details"]) == ("backup", True, {"name": "base_1"})
    told = yaml.safe_load(walg_backup_info.RETURN)["history"]["contains"]
    assert set(told) == set(found[0])


def test_a_storage_that_does_not_answer_is_no_empty_archive(world: World, call: Call) -> None:
    dead = world.walg("backup-list", "--detail", "--json", rc=1, stderr="ERROR: dial tcp: connection refused\n")
    answer = call(Scripted(calls=[dead]))
    assert "connection refused" in answer["msg"]
    assert (answer["rc"], answer["stderr"]) == (1, "ERROR: dial tcp: connection refused\n")


def test_an_instance_that_is_not_configured(call: Call) -> None:
    assert "is not configured" in call(Scripted(), instance="other")["msg"]
