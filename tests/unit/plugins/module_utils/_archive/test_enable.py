# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archiving is switched on: what is decided, what is rejected, in which order it is done, and what a failure halfway leaves."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _enable, _owner
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._enable import ArchivePlan
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _record
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _conf
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._service import Service
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _owner_seen
from support.observe import files
from support.scripted import Call, Scripted
from support.settings_rows import Clock, line, lines, ours, settings
from support.walg_world import World, listed, shown, write_cluster

INCLUDE = _conf.INCLUDE_LINE
STOCK_CONF = "port = 5432\nshared_buffers = '128MB'\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A host with a stock server on it, and WAL-G and an empty storage for it."""
    made = World(tmp_path)
    write_cluster(made.data_dir)
    (made.data_dir / "postgresql.conf").write_text(STOCK_CONF)
    cluster = replace(made.instance.cluster, service="command:/opt/pg")
    # At a bucket's root: there is no place beside it where the marker could be.
    made.instance = replace(made.instance, cluster=cluster, storage="gs://bucket")
    Path(made.instance.settings_file).write_text('{"WALG_GS_PREFIX": "gs://bucket"}')
    Path(made.instance.record_file).write_text(_record.render(made.instance))
    return made


@pytest.fixture
def conf(world: World) -> Path:
    """The collection's file."""
    return world.data_dir / "mapswipe_walg.conf"


@pytest.fixture
def main(world: World) -> Path:
    return world.data_dir / "postgresql.conf"


def looks(world: World, *rows: dict[str, Any], **values: str) -> list[Call]:
    """What a plan asks the server."""
    return [world.facts(), settings(world, **values), lines(world, *rows)]


def asks(world: World) -> list[Call]:
    """What it asks WAL-G of an empty storage before archiving begins."""
    return [*world.no_owner(), world.version(), *world.lists(), world.shows()]


def plan(world: World, *calls: Call, **options: Any) -> ArchivePlan:
    runner = Scripted(calls=list(calls))
    given = {"timeout": 60, "restart": True, "replace_command": False, "pending": [], **options}
    made = _enable.plan(runner, world.instance, **given)
    runner.finish()
    return made


def in_force(world: World, conf: Path, main: Path) -> list[Call]:
    """Write what a plan would have written, and return what a plan asks the server then."""
    conf.write_text(_conf.conf_text(ours(world)))
    main.write_text(_conf.with_include(STOCK_CONF))
    return looks(world, **ours(world))


# --- deciding ---------------------------------------------------------------------------------------------------------


def test_a_stock_server_needs_files_a_restart_and_a_marker(world: World, conf: Path, main: Path) -> None:
    before = files(world.root)
    made = plan(world, *looks(world), *asks(world))
    assert (made.changed, made.restart, made.files_changed, made.owner_changed) == (True, True, True, True)
    assert made.conf_after == _conf.conf_text(ours(world))
    assert (made.conf_file, made.main_after) == (str(conf), f"{STOCK_CONF}\n{INCLUDE}\n")
    diff = made.diff()
    assert diff["before"].startswith("archive_mode = 'off'\narchive_command = '(disabled)'\narchive_timeout = '0'\n")
    for text in ("archive_mode = 'on'", f"{main}: {INCLUDE}", "wal-push", "archive of "):
        assert text in diff["after"]
    assert "archive of nobody" in diff["before"]
    assert files(world.root) == before, "a plan writes nothing"


def test_what_is_in_force_changes_nothing(world: World, conf: Path, main: Path) -> None:
    calls = in_force(world, conf, main)
    made = plan(world, *calls, world.owner(), restart=False)
    assert (made.changed, made.restart, made.changes) == (False, False, [])
    assert _enable.result(made)["owner"]["system_identifier"] == world.system_identifier
    runner = Scripted()
    _enable.apply(runner, made)
    assert runner.timeouts == []


def test_another_timeout_is_a_reload(world: World, conf: Path, main: Path) -> None:
    calls = in_force(world, conf, main)
    made = plan(world, *calls, world.owner(), world.version(), *world.lists(), timeout=90, restart=False)
    assert (made.changed, made.restart, [change.name for change in made.changes]) == (True, False, ["archive_timeout"])
    assert "archive_timeout = '90'" in made.conf_after


def test_a_wal_level_that_was_raised_stays_raised(world: World, conf: Path, main: Path) -> None:
    """Once it is in force it is no longer minimal; without the line the next start would fall back."""
    first = plan(world, *looks(world, wal_level="minimal"), *asks(world))
    assert "wal_level = 'replica'" in first.conf_after
    conf.write_text(first.conf_after)
    main.write_text(first.main_after)
    again = plan(world, *looks(world, **ours(world)), world.owner(), restart=False)
    assert (again.changed, again.conf_after) == (False, first.conf_after)


def test_what_earlier_tasks_make_keeps_the_storage_from_being_asked(world: World) -> None:
    made = plan(world, *looks(world), pending=[world.instance.binary])
    assert (made.owner, made.changed, _enable.result(made)["owner"]) == (None, True, None)


def test_a_standby_writes_no_marker(world: World) -> None:
    calls = [world.facts(in_recovery=True), *looks(world)[1:]]
    made = plan(world, *calls, *asks(world))
    assert (made.owner_changed, made.changed, _enable.result(made)["in_recovery"]) == (False, True, True)


# --- rejecting --------------------------------------------------------------------------------------------------------


def rejected(world: World, calls: list[Call], **options: Any) -> WalgError:
    """Plan, and return the error; nothing was written."""
    before = files(world.root)
    with pytest.raises(WalgError) as caught:
        plan(world, *calls, **options)
    assert files(world.root) == before
    return caught.value


def test_a_restart_is_only_made_if_it_is_allowed(world: World) -> None:
    error = rejected(world, looks(world), restart=False)
    assert "is needed for archive_mode, and none is allowed" in error.msg
    assert error.msg.endswith("\n  walg_backup_restart: allowed")
    assert (error.fields["found"]["archive_mode"], error.fields["wanted"]["archive_mode"]) == ("off", "on")


def test_a_restart_that_nobody_can_make(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.instance = replace(world.instance, cluster=replace(world.instance.cluster, service="none"))
    monkeypatch.setattr(_enable._servers, "servers_on", lambda _path: [4711])
    assert "Don't know how to stop the server" in rejected(world, looks(world)).msg


@pytest.mark.parametrize(
    ("values", "rows", "text"),
    [
        ({"archive_mode": "on", "archive_command": "barman %p"}, [], "archive_command is already set to 'barman %p'"),
        ({"archive_library": "other"}, [], "archive_library is already set to 'other'"),
        ({}, [("archive_mode", "maybe", "invalid value")], "PostgreSQL's configuration has an error"),
        ({}, [("archive_command", "cp %p /x", None)], "archive_command is already set to 'cp %p /x'"),
    ],
)
def test_what_another_one_set(
    world: World, main: Path, values: dict[str, str], rows: list[tuple[str, str, str | None]], text: str
) -> None:
    told = [line(str(main), 3, name, value, error) for name, value, error in rows]
    assert text in rejected(world, looks(world, *told, **values)).msg


def test_what_overrides_the_file(world: World, main: Path) -> None:
    """Nothing that this collection writes would count."""
    late = line(str(world.data_dir / "postgresql.auto.conf"), 3, "archive_timeout", "5")
    assert "ALTER SYSTEM RESET archive_timeout;" in rejected(world, looks(world, late)).msg
    called = settings(world, {"archive_timeout": ("command line", None)})
    error = rejected(world, [world.facts(), called, lines(world)])
    assert "archive_timeout = '0' is given on the server's command line" in error.msg
    world.instance = replace(world.instance, program_dir=f"/{'x' * 1000}")
    assert "PostgreSQL 14 runs the first 1023 of them alone" in rejected(world, looks(world)).msg


def test_a_foreign_command_is_replaced_if_that_is_said(world: World) -> None:
    values = {"archive_mode": "on", "archive_command": "barman %p"}
    made = plan(world, *looks(world, **values), *asks(world), replace_command=True, restart=False)
    assert (made.changed, made.restart) == (True, False)


@pytest.mark.parametrize(
    ("gone", "who"),
    [("programs/wal-push", "wal-push"), ("config/main.env", "main.env"), ("config/main.json", "main.json")],
)
def test_what_archive_command_needs_must_be_there(world: World, gone: str, who: str) -> None:
    """An archive_command that fails fills the disk with WAL."""
    calls = [*looks(world), *(world.no_owner() if who != "main.json" else [])]
    (world.root / gone).unlink()
    if who == "main.json":
        assert "is not the JSON of WAL-G's settings" in rejected(world, calls).msg
    else:
        assert f"{who} can't be used by the user" in rejected(world, calls).msg


def test_a_pair_that_can_not_work(world: World) -> None:
    calls = [world.facts(version_num=180001), *looks(world)[1:], *world.no_owner()]
    line_ = "wal-g version v1.1.3\tx\ty\tPostgreSQL\n"
    assert "PostgreSQL 18" in rejected(world, [*calls, world.version(line_)]).msg


def test_an_archive_of_another_cluster(world: World) -> None:
    world.backups = [listed(1, 2, "2026-01-02T00:00:00Z", identifier="4711")]
    error = rejected(world, [*looks(world), *world.no_owner(), world.version(), *world.lists()])
    assert "4711" in error.msg
    error = rejected(world, [*looks(world), world.owner(system_identifier="4711")])
    assert "is the archive of another cluster" in error.msg
    error = rejected(world, [*looks(world), world.owner(writer="w2", host="db2", machine="m2", data_dir="/d2")])
    assert 'walg_backup_take_over: "w2"' in error.msg


def test_wal_of_another_cluster_without_marker_and_backup(world: World) -> None:
    world.wal = [shown(1, 2, 5)]
    fetch = Call(
        [world.instance.binary, "--config", world.instance.settings_file, "wal-fetch", world.wal[0]["end_segment"]]
    )
    fetch.argv = [*fetch.argv, str(world.root / "state" / f"owner-{world.wal[0]['end_segment']}")]
    fetch.rc, fetch.stderr = 1, "no such object\n"
    error = rejected(world, [*looks(world), *asks(world), fetch])
    assert "that can't be fetched (no such object)" in error.msg


def test_a_storage_that_lost_its_marker_is_not_the_same(world: World) -> None:
    _owner_seen.note(world.instance.state_dir, "", world.instance.storage, world.system_identifier)
    error = rejected(world, [*looks(world), *asks(world)])
    assert "has lost the marker" in error.msg
    assert _owner_seen.NOTE in error.msg


def test_configuration_of_others(world: World, conf: Path, main: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way on is the line that root can add; once it is there, the settings go into the data directory."""
    monkeypatch.setattr(_enable, "writer", lambda *_: None)
    error = rejected(world, looks(world))
    assert f"holds PostgreSQL's configuration, and {world.instance.cluster.os_user!r} can't write there" in error.msg
    assert f"\n  include_if_exists = '{conf}'\n" in error.msg
    monkeypatch.setattr(_enable, "writer", lambda *_: world.instance.owner)
    main.write_text(f"{STOCK_CONF}include_if_exists = '{conf}'\n")
    made = plan(world, *looks(world), *asks(world))
    assert (made.conf_file, made.main_after) == (str(conf), made.main_before)


def test_a_single_file_that_is_mounted_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: path.endswith("postgresql.conf"))
    assert (
        f"can't be replaced. Put this line at its end yourself, and run again:\n  {INCLUDE}"
        in rejected(world, looks(world)).msg
    )


# --- doing ------------------------------------------------------------------------------------------------------------


def marks(world: World, made: ArchivePlan) -> list[Call]:
    """How the marker is written, and read back."""
    assert made.owner is not None
    assert made.owner.after is not None
    source = os.path.join(world.instance.state_dir, _owner.OBJECT)
    text = _owner.render(made.owner.after)
    options = ("-f", "--no-compress", "--no-encrypt")
    return [
        world.walg("st", "put", source, _owner.OBJECT, *options),
        world.walg("st", "cat", _owner.OBJECT, stdout=text),
    ]


def reload(world: World) -> Call:
    return world.psql("t\n", stdin="pg_reload_conf()")


def restarts(world: World, monkeypatch: pytest.MonkeyPatch, conf: Path) -> list[bool]:
    """Have a restart note whether the settings were in the collection's file by then."""
    seen: list[bool] = []
    monkeypatch.setattr(Service, "restart", lambda _self: seen.append(conf.exists()))
    return seen


def test_the_marker_first_then_files_then_the_server(
    world: World, conf: Path, main: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(world, *looks(world), *asks(world))
    proof = Path(world.instance.files.proof)
    proof.write_text("{}")
    main.chmod(0o640)
    seen = restarts(world, monkeypatch, conf)
    runner = Scripted(calls=[*marks(world, made), reload(world), settings(world, **ours(world))])
    _enable.apply(runner, made)
    runner.finish()
    assert (conf.read_text(), main.read_text(), seen) == (made.conf_after, made.main_after, [True])
    assert (conf.stat().st_mode & 0o777, main.stat().st_mode & 0o777) == (0o600, 0o640)
    assert not proof.exists(), "what was proved before is proved no longer"
    assert not (world.root / "state" / _owner.OBJECT).exists()
    again = plan(world, *looks(world, **ours(world)), world.owner(), restart=False)
    assert again.changed is False


def test_a_marker_that_can_not_be_written_leaves_the_server_alone(world: World, conf: Path, main: Path) -> None:
    made = plan(world, *looks(world), *asks(world))
    put = replace(marks(world, made)[0], rc=1, stderr="ERROR: no space left\n")
    with pytest.raises(WalgError, match="no space left"):
        _enable.apply(Scripted(calls=[put]), made)
    assert (conf.exists(), main.read_text()) == (False, STOCK_CONF)


def test_a_server_that_does_not_run_with_it_says_why(world: World, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run is a plan of its own; what was written stays."""
    made = plan(world, *looks(world), *asks(world))
    Clock(monkeypatch)
    restarts(world, monkeypatch, conf)
    off = {**ours(world), "archive_mode": "off"}
    mine = replace(settings(world, {"archive_mode": ("override", None)}, **off), lasting=True)
    runner = Scripted(calls=[*marks(world, made), reload(world), mine])
    with pytest.raises(
        WalgError, match=r"does not run with it: archive_mode is 'off' from override\. Something overrides"
    ):
        _enable.apply(runner, made)
    assert conf.read_text() == made.conf_after


def test_a_setting_that_waits_for_a_restart_is_not_in_force(
    world: World, conf: Path, main: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = in_force(world, conf, main)
    made = plan(world, *calls, world.owner(), world.version(), *world.lists(), timeout=90, restart=False)
    Clock(monkeypatch)
    wanted = {**ours(world, 90)}
    rows = json.loads(settings(world, **wanted).stdout)
    waits = world.psql([{**row, "pending_restart": True} for row in rows], stdin="FROM pg_settings")
    runner = Scripted(calls=[reload(world), waits, settings(world, **wanted)])
    _enable.apply(runner, made)
    runner.finish()


def test_a_command_that_archives_now_is_held_while_it_changes(
    world: World, conf: Path, main: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it is WAL-G, it has noted what it sent ahead elsewhere; those notes go. A killed run leaves the mark."""
    notes = world.data_dir / "pg_wal" / "walg_data" / "walg_archive_status"
    notes.mkdir(parents=True)
    (notes / "A").touch()
    values = {"archive_mode": "on", "archive_command": "wal-g wal-push %p"}
    made = plan(world, *looks(world, **values), *asks(world), replace_command=True, restart=False)
    mark = Path(world.instance.files.storage_change)
    dies = Scripted(calls=[*marks(world, made), replace(reload(world), rc=3, stderr="psql:<stdin>:1: FATAL: gone\n")])
    with pytest.raises(WalgError, match="gone"):
        _enable.apply(dies, made)
    assert (mark.exists(), (notes / "A").exists()) == (True, True)
    runner = Scripted(calls=[*marks(world, made), reload(world), settings(world, **ours(world))])
    _enable.apply(runner, made)
    runner.finish()
    assert (mark.exists(), (notes / "A").exists()) == (False, False)


def test_a_link_in_place_of_the_file_is_not_followed(world: World, conf: Path, main: Path) -> None:
    made = plan(world, *looks(world), *asks(world))
    conf.symlink_to(world.root / "elsewhere")
    with pytest.raises(WalgError, match="is a symbolic link; only real files are written here"):
        _enable.apply(Scripted(calls=marks(world, made)), made)
    assert not (world.root / "elsewhere").exists()
    assert main.read_text() == STOCK_CONF
