# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archiving is switched off and proved to be off: what is decided, what is rejected, and in which order it is done."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _disable, _enable
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._disable import DisablePlan
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _conf
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._service import Service
from support.observe import files
from support.scripted import Call, Scripted
from support.settings_rows import Clock, line, lines, ours, settings
from support.walg_world import World, write_cluster

STOCK_CONF = "port = 5432\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A host whose server archives as it should."""
    made = World(tmp_path)
    write_cluster(made.data_dir)
    (made.data_dir / "postgresql.conf").write_text(_conf.with_include(STOCK_CONF))
    (made.data_dir / "mapswipe_walg.conf").write_text(_conf.conf_text(ours(made)))
    made.instance = replace(made.instance, cluster=replace(made.instance.cluster, service="command:/opt/pg"))
    return made


@pytest.fixture
def conf(world: World) -> Path:
    """The collection's file."""
    return world.data_dir / "mapswipe_walg.conf"


@pytest.fixture
def main(world: World) -> Path:
    return world.data_dir / "postgresql.conf"


def ready(world: World, **answer: Any) -> Call:
    return world.psql("1\n", stdin="SELECT 1", **answer)


def looks(world: World, *rows: dict[str, Any], sources: Any = None, **values: str) -> list[Call]:
    """What a plan asks a server that archives as it should, but for changes."""
    current = settings(world, sources, **{**ours(world), **values})
    return [ready(world), world.facts(), current, lines(world, *rows)]


def plan(world: World, *calls: Call, restart: bool = True) -> DisablePlan | None:
    runner = Scripted(calls=list(calls))
    made = _disable.plan(runner, world.instance, restart)
    runner.finish()
    return made


def planned(world: World, *calls: Call) -> DisablePlan:
    made = plan(world, *calls)
    assert made is not None
    return made


def rejected(world: World, *calls: Call, restart: bool = True) -> WalgError:
    """Plan, and return the error; nothing was written."""
    before = files(world.root)
    with pytest.raises(WalgError) as caught:
        plan(world, *calls, restart=restart)
    assert files(world.root) == before
    return caught.value


# --- deciding ---------------------------------------------------------------------------------------------------------


def test_a_server_that_archives_is_restarted(world: World, conf: Path, main: Path) -> None:
    before = files(world.root)
    made = planned(world, *looks(world))
    assert (made.changed, made.restart, made.reload, made.main_after) == (True, True, False, STOCK_CONF)
    assert made.diff() == {"before": f"{main}: {_conf.INCLUDE_LINE}\n{conf.read_text()}", "after": ""}
    assert files(world.root) == before, "a plan writes nothing"


def test_one_that_does_not_is_left_alone(world: World, conf: Path, main: Path) -> None:
    conf.unlink()
    main.write_text(STOCK_CONF)
    made = planned(world, *looks(world, archive_mode="off", archive_command="(disabled)"))
    assert (made.changed, made.restart, made.reload, made.diff()) == (False, False, False, {"before": "", "after": ""})


@pytest.mark.parametrize(
    ("told", "mode", "restart"),
    [("always", "always", False), ("on", "on", False), ("yes", "on", False), ("off", "on", True), ("0", "on", True)],
)
def test_who_else_sets_archive_mode_keeps_it(world: World, main: Path, told: str, mode: str, restart: bool) -> None:
    """Another program archives then: only this collection's file goes, and the server reads its files again."""
    rows = [line(str(main), 1, "archive_mode", told), line(str(main), 2, "archive_command", "other %p")]
    made = planned(world, *looks(world, *rows, archive_mode=mode))
    assert (made.restart, made.reload) == (restart, not restart)


def test_the_command_line_keeps_it_too(world: World) -> None:
    sources = dict.fromkeys(("archive_mode", "archive_command"), ("command line", None))
    made = planned(world, *looks(world, sources=sources, archive_command="other %p"))
    assert (made.restart, made.reload) == (False, True)


def test_a_line_of_the_collections_own_file_does_not_count(world: World, conf: Path) -> None:
    rows = [line(str(conf), number, name, value) for number, (name, value) in enumerate(ours(world).items())]
    assert planned(world, *looks(world, *rows)).restart is True


def test_a_setting_that_left_the_files_waits_for_the_restart(world: World, conf: Path, main: Path) -> None:
    """As a run leaves it that was killed after the files were gone."""
    conf.unlink()
    main.write_text(STOCK_CONF)
    told = "parameter cannot be changed without restarting the server"
    gone = {**line("", 0, "archive_mode", "", told), "sourcefile": None}
    made = planned(world, *looks(world, gone))
    assert (made.changed, made.restart) == (True, True)


@pytest.mark.parametrize("left", ["none", "files"])
def test_where_the_cluster_is_gone_only_files_are_looked_at(world: World, tmp_path: Path, left: str) -> None:
    outside = tmp_path / "etc"
    outside.mkdir()
    cluster = replace(world.instance.cluster, config_file=str(outside / "postgresql.conf"))
    world.instance = replace(world.instance, cluster=cluster)
    world.data_dir.rename(tmp_path / "lost")
    if left == "none":
        assert plan(world) is None
        return
    (outside / "postgresql.conf").write_text(_conf.with_include(STOCK_CONF))
    (outside / "mapswipe_walg.conf").write_text("archive_mode = 'on'\n")
    made = planned(world)
    assert (made.runs, made.changed, made.restart, made.reload) == (False, True, False, False)
    runner = Scripted()
    _disable.apply(runner, made)
    assert (runner.timeouts, [path.name for path in outside.iterdir()]) == ([], ["postgresql.conf"])
    assert (outside / "postgresql.conf").read_text() == STOCK_CONF


# --- rejecting --------------------------------------------------------------------------------------------------------


def test_a_stopped_server_can_not_tell(world: World) -> None:
    error = rejected(world, ready(world, rc=2, stderr="psql: error: connection refused: Is the server running\n"))
    assert "can't be seen whether it still archives. Start it, then run again." in error.msg
    assert error.fields["found"] == "stopped"


def test_a_restart_is_only_made_if_it_is_allowed(world: World) -> None:
    error = rejected(world, *looks(world), restart=False)
    assert "is needed for archive_mode = off, and none is allowed" in error.msg
    assert error.msg.endswith("\n  walg_backup_restart: allowed")
    assert (error.fields["found"], error.fields["wanted"]) == ("on", "off")


def test_what_else_names_the_wrapper(world: World, main: Path) -> None:
    """Without that program PostgreSQL would keep all WAL."""
    row = line(str(main), 4, "archive_command", ours(world)["archive_command"])
    error = rejected(world, *looks(world, row))
    assert f"archive_command names {world.instance.program_dir}/wal-push in another file as well" in error.msg


def test_archive_mode_without_a_command_would_pile_up_wal(world: World, main: Path) -> None:
    error = rejected(world, *looks(world, line(str(main), 4, "archive_mode", "on")))
    assert "without an archive_command: PostgreSQL would keep all WAL" in error.msg
    row = line(str(main), 5, "archive_library", "other")
    assert planned(world, *looks(world, line(str(main), 4, "archive_mode", "on"), row)).restart is False


def test_an_include_that_somebody_wrote_is_named(world: World, conf: Path, main: Path) -> None:
    """PostgreSQL would not start without that file."""
    main.write_text("port = 1\ninclude 'mapswipe_walg.conf'\n")
    error = rejected(world, ready(world), world.facts())
    assert error.msg == f"{main} line 2 includes {conf}. Remove that line, then run again."


def test_files_with_an_error_would_be_ignored(world: World, main: Path) -> None:
    row = line(str(main), 4, "port", "x", "invalid value")
    assert "PostgreSQL's configuration has an error" in rejected(world, *looks(world, row)).msg


def test_configuration_of_others(world: World, main: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_enable, "writer", lambda *_: None)
    error = rejected(world, ready(world), world.facts())
    assert f"can't write in {main.parent}. Remove the archive settings there yourself" in error.msg


# --- doing ------------------------------------------------------------------------------------------------------------


def test_the_include_goes_before_the_file_and_the_restart_comes_last(
    world: World, conf: Path, main: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planned(world, *looks(world))
    seen: list[tuple[bool, str]] = []
    monkeypatch.setattr(Service, "restart", lambda _self: seen.append((conf.exists(), main.read_text())))
    off = settings(world, archive_mode="off", archive_command="(disabled)")
    runner = Scripted(calls=[settings(world, **ours(world)), off])  # asked until it is so
    Clock(monkeypatch)
    _disable.apply(runner, made)
    runner.finish()
    assert seen == [(False, STOCK_CONF)]
    assert planned(world, *looks(world, archive_mode="off", archive_command="")).changed is False


def test_a_reload_is_enough_where_another_program_archives(
    world: World, conf: Path, main: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [line(str(main), 1, "archive_mode", "on"), line(str(main), 2, "archive_command", "other %p")]
    made = planned(world, *looks(world, *rows))
    monkeypatch.setattr(Service, "restart", lambda _self: pytest.fail("a restart"))
    reload = world.psql("t\n", stdin="pg_reload_conf()")
    runner = Scripted(calls=[reload, settings(world, archive_mode="on", archive_command="other %p")])
    _disable.apply(runner, made)
    runner.finish()
    assert not conf.exists()


def test_a_server_that_still_archives_is_a_failure(
    world: World, conf: Path, main: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planned(world, *looks(world))
    Clock(monkeypatch)
    monkeypatch.setattr(Service, "restart", lambda _self: None)
    still = replace(settings(world, **ours(world)), lasting=True)
    with pytest.raises(WalgError, match=r"still runs with its archive_command\. Nothing else was removed"):
        _disable.apply(Scripted(calls=[still]), made)


def test_a_push_that_still_runs_is_awaited(
    world: World, conf: Path, main: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planned(world, *looks(world))
    Clock(monkeypatch)
    monkeypatch.setattr(Service, "restart", lambda _self: None)
    off = settings(world, archive_mode="off", archive_command="(disabled)")
    push = [sys.executable, "-c", "input()", f"{world.instance.program_dir}/wal-push", world.instance.record_file]
    with subprocess.Popen(push, stdin=subprocess.PIPE) as process:
        with pytest.raises(WalgError, match="A wal-push of the instance 'main' did not end within 30 s"):
            _disable.apply(Scripted(calls=[off]), made)
        process.communicate(b"\n")
    assert process.returncode == 0


def test_a_restart_that_fails_is_made_by_the_next_run(
    world: World, conf: Path, main: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planned(world, *looks(world))

    def fails(_self: Service) -> None:
        raise WalgError("the unit is masked")

    monkeypatch.setattr(Service, "restart", fails)
    with pytest.raises(WalgError, match="the unit is masked"):
        _disable.apply(Scripted(), made)
    again = planned(world, *looks(world))
    assert (conf.exists(), main.read_text(), again.restart) == (False, STOCK_CONF, True)
