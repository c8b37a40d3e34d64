# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore on a host that is no successor must not capture production's archive. The marker is given another host's name and machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.restoring import History, archived, done, refused, restore
from support.sandbox import Sandbox

WRITER = "w0000000000000001"


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return make_sandbox()


def marker(sandbox: Sandbox) -> Path:
    return sandbox.storage_dir / "main.owner" / "mapswipe_walg_owner.json"


def lost(sandbox: Sandbox) -> History:
    """A cluster that was archived, and whose data directory is gone."""
    history = archived(sandbox)
    history.ship(1)
    history.cluster.stop()
    shutil.rmtree(history.cluster.data_dir)
    return history


def elsewhere(sandbox: Sandbox) -> dict[str, object]:
    """Have the archive be that of a server on another host; return the marker."""
    found: dict[str, object] = json.loads(marker(sandbox).read_text())
    found.update({"writer": WRITER, "host": "production", "machine": "m0000000000000001"})
    marker(sandbox).write_text(json.dumps(found))
    return found


def test_a_test_restore_is_refused_before_anything_is_fetched(sandbox: Sandbox) -> None:
    history = lost(sandbox)
    cluster = history.cluster
    before = elsewhere(sandbox)
    for check in (True, False):
        answer = restore(sandbox, "drill", check)
        for line in ("  walg_restore_archive: none", f'  walg_backup_take_over: "{WRITER}"'):
            assert line in answer["msg"]
    assert not cluster.data_dir.exists()
    assert "walg_backup_take_over" in refused(sandbox, "drill", take_over="w1")
    done(sandbox, "drill", archive="none")
    assert json.loads(marker(sandbox).read_text()) == before
    assert cluster.sql("SELECT count(*) FROM t") == "2"


def test_a_lost_host_is_replaced_by_name(sandbox: Sandbox) -> None:
    """The restored server archives, and its job goes on without another word."""
    history = lost(sandbox)
    cluster = history.cluster
    shutil.rmtree(sandbox.host / "state" / "main")
    (sandbox.host / "state" / "main").mkdir()
    shutil.chown(sandbox.host / "state" / "main", sandbox.user)
    elsewhere(sandbox)
    done(sandbox, "lost", take_over=WRITER)
    found = json.loads(marker(sandbox).read_text())
    assert (found["writer"], [one["data_dir"] for one in found["successors"]]) == (WRITER, [str(cluster.data_dir)])
    history.step()
    cluster.ship()
    assert sandbox.module("walg_backup", sandbox.instance())["changed"]
    found = json.loads(marker(sandbox).read_text())
    assert (found["data_dir"], found["timeline"]) == (str(cluster.data_dir), 2)
    assert found["writer"] != WRITER
