# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_archive: check, do, check, do; what it says in check mode before WAL-G is there, and what it fails with."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _owner, _ownership
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _times
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _record
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _conf
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._service import Service
from ansible_collections.mapswipe.walg.plugins.modules import walg_archive
from support import scripted
from support.module_call import Call
from support.observe import files
from support.scripted import Scripted
from support.settings_rows import lines, ours, settings
from support.walg_world import IDENTIFIER, World, write_cluster


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    write_cluster(made.data_dir)
    (made.data_dir / "postgresql.conf").write_text("port = 5432\n")
    made.instance = replace(made.instance, storage="gs://bucket")
    Path(made.instance.settings_file).write_text('{"WALG_GS_PREFIX": "gs://bucket"}')
    Path(made.instance.record_file).write_text(_record.render(made.instance))
    return made


@pytest.fixture
def call(world: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return Call(walg_archive, capfd, monkeypatch, config_dir=world.instance.config_dir, restart="allowed")


def stock(world: World) -> list[scripted.Call]:
    return [world.facts(), settings(world), lines(world)]


def asks(world: World) -> list[scripted.Call]:
    return [*world.no_owner(), world.version(), *world.lists(), world.shows()]


def test_check_do_check_do(world: World, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_times, "now", lambda: "2026-01-02T00:00:00Z")
    monkeypatch.setattr(Service, "restart", lambda _self: None)
    before = files(world.data_dir)
    runner = Scripted(calls=[*stock(world), *asks(world)])
    foretold = call(runner, check=True)
    runner.finish()
    assert (foretold["changed"], foretold["restart"], foretold["proved"]) == (True, True, False)
    assert files(world.data_dir) == before
    writer = _ownership.writer_on(str(world.data_dir))
    made = _owner.taken_over_by(None, IDENTIFIER, writer, 1, "2026-01-02T00:00:00Z")
    assert made is not None
    put = world.walg(
        "st", "put", str(world.root / "state" / _owner.OBJECT), _owner.OBJECT, "-f", "--no-compress", "--no-encrypt"
    )
    cat = world.walg("st", "cat", _owner.OBJECT, stdout=_owner.render(made))
    now = settings(world, **ours(world))
    runner = Scripted(calls=[*stock(world), *asks(world), put, cat, world.psql("t\n", stdin="pg_reload_conf"), now])
    done = call(runner)
    runner.finish()
    assert {name: done[name] for name in foretold if name != "invocation"} == {
        name: foretold[name] for name in foretold if name != "invocation"
    }
    assert done["settings"] == ours(world)
    assert (world.data_dir / "mapswipe_walg.conf").read_text() == _conf.conf_text(ours(world))
    before = files(world.data_dir)
    for check in (True, False):
        runner = Scripted(calls=[world.facts(), now, lines(world), world.owner()])
        again = call(runner, check=check, restart="never")
        runner.finish()
        assert (again["changed"], again["proved"], files(world.data_dir)) == (False, False, before)


def test_check_mode_before_wal_g_is_there(world: World, call: Call) -> None:
    """The storage is not asked, and the answer says so; the run would ask it."""
    os.unlink(world.instance.binary)
    runner = Scripted(calls=stock(world))
    answer = call(runner, check=True)
    runner.finish()
    assert (answer["changed"], answer["owner"]) == (True, None)
    (warning,) = answer["warnings"]
    assert warning.endswith("whose archive the storage holds was not looked at.")


def test_a_restart_that_is_not_allowed(world: World, call: Call) -> None:
    for check in (True, False):
        answer = call(Scripted(calls=stock(world)), check=check, restart="never")
        assert "walg_backup_restart: allowed" in answer["msg"]
        assert (answer["found"]["archive_mode"], answer["wanted"]["archive_mode"]) == ("off", "on")


def test_an_instance_that_is_not_configured(call: Call) -> None:
    answer = call(Scripted(), instance="other")
    assert "The instance 'other' is not configured" in answer["msg"]
