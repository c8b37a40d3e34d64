# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The swap around its journal: what is refused, kept and removed, and that nothing stays stopped or held for nothing."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _progress
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _servers
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _layout, _salvage, _state, _swap
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._options import RestoreOptions
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._plan import RestorePlan
from support.restores import data_place, restore_plan, restore_state, service_calls, tell, told
from support.scripted import Scripted
from support.walg_world import IDENTIFIER, World, segment, write_cluster

SAVED = [segment(1, 6), segment(1, 7)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the service manager is told."""
    return service_calls(monkeypatch)


def swapper(world: World, runner: Scripted | None = None) -> _swap.Swap:
    progress = _progress.Progress(str(world.root / "state" / "progress.json"), "restore", owner=None)
    return _swap.Swap(runner or Scripted(), world.instance, progress)


def serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that runs until it is told to stop."""
    running = [4711]
    monkeypatch.setattr(_servers, "servers_on", lambda _path: list(running))
    monkeypatch.setattr(_swap.Swap, "stop_running", lambda _self, _path: running.clear())


# --- no server in the way ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("running", [True, False])
def test_the_manager_is_held_before_the_server_is_stopped(
    world: World, calls: list[str], monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    if running:
        serve(monkeypatch)
    assert swapper(world).make_way(str(world.data_dir), True) is running
    assert calls == ["hold"]


def test_a_server_that_may_not_be_stopped_or_does_not_stop(
    world: World, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_servers, "servers_on", lambda _path: [4711])
    with pytest.raises(WalgError, match="walg_restore_stop_running: true; nothing was changed there"):
        swapper(world).make_way(str(world.data_dir), False)
    assert calls == []

    def stubborn(*_arguments: Any) -> None:
        raise WalgError("does not stop")

    monkeypatch.setattr(_swap.Swap, "stop_running", stubborn)
    with pytest.raises(WalgError, match="does not stop"):
        swapper(world).make_way(str(world.data_dir), True)
    assert calls == ["hold", "release"]


@pytest.mark.parametrize("running", [True, False])
def test_a_marker_that_can_not_be_written(
    world: World, calls: list[str], monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    """Nothing was moved: the server that was stopped runs again, and a unit that was held is free."""
    tell(world.data_dir, "there")
    tell(Path(data_place(world).work), "other")
    if running:
        serve(monkeypatch)
    save = _state.save

    def full(instance: Any, made: _state.RestoreState) -> None:
        if made.state == "swapping":
            raise WalgError("No space left on device")
        save(instance, made)

    monkeypatch.setattr(_state, "save", full)
    with pytest.raises(WalgError, match="No space left"):
        swapper(world).apply(restore_state(world, "recovered"), True)
    assert calls == ["hold", "start" if running else "release"]
    assert told(world.data_dir) == "there"


def test_it_is_written_down_that_a_server_will_be_stopped(
    world: World, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed right after the stop, the way back has to start it again."""
    serve(monkeypatch)

    def killed(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_swap.Swap, "stop_running", killed)
    with pytest.raises(KeyboardInterrupt):
        swapper(world).apply(restore_state(world, "recovered"), True)
    left = _state.load(world.instance)
    assert left is not None
    assert (left.state, left.stopped) == ("recovered", True)


# --- the old cluster is removed ---------------------------------------------------------------------------------------


def overwriting(world: World, places: list[_layout.Location]) -> RestorePlan:
    wal = str(world.data_dir / "pg_wal")
    return restore_plan(
        world, options=RestoreOptions("r1", overwrite=IDENTIFIER), salvage=SAVED, salvage_from=wal, places=places
    )


@pytest.fixture
def old(world: World) -> RestorePlan:
    """A cluster with a tablespace, whose restore has another one too."""
    write_cluster(world.data_dir)
    for name in ("pg_wal", "pg_tblspc"):
        (world.data_dir / name).mkdir()
    for name in SAVED:
        (world.data_dir / "pg_wal" / name).write_text(name)
    used, others = world.root / "space", world.root / "others"
    for path, what in ((used, "space"), (others, "somebody else's")):
        path.mkdir()
        tell(path / "PG_14_202107181", what)
    tell(used / "PG_13_202007201", "another cluster's")
    (world.data_dir / "pg_tblspc" / "17").symlink_to(used)
    places = [_layout.place(str(used), "pg_tblspc/17", "r1"), _layout.place(str(others), "pg_tblspc/18", "r1")]
    return overwriting(world, [*places, data_place(world)])


def saved_files(plan: RestorePlan) -> list[tuple[str, str]]:
    return sorted((path.name, path.read_text()) for path in Path(_salvage.saved(plan.data)).iterdir())


def test_only_what_the_old_cluster_used_is_removed_and_its_last_wal_is_kept(world: World, old: RestorePlan) -> None:
    swapper(world).remove_old(old)
    assert not world.data_dir.exists()
    assert os.listdir(world.root / "space") == ["PG_13_202007201"]
    assert told(world.root / "others" / "PG_14_202107181") == "somebody else's"
    assert saved_files(old) == [(name, name) for name in SAVED]


def test_a_copy_that_was_killed_is_not_taken_for_the_whole(
    world: World, old: RestorePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next plan reads what was saved, where there is such a directory, and not the old cluster."""
    copy = _salvage.copy

    def killed(wal_dir: str, names: list[str], target: str) -> None:
        copy(wal_dir, names[:1], target)
        raise KeyboardInterrupt

    monkeypatch.setattr(_salvage, "copy", killed)
    with pytest.raises(KeyboardInterrupt):
        swapper(world).remove_old(old)
    assert not os.path.exists(_salvage.saved(old.data))
    assert world.data_dir.exists()
    monkeypatch.setattr(_salvage, "copy", copy)
    swapper(world).remove_old(old)
    assert saved_files(old) == [(name, name) for name in SAVED]
    assert sorted(os.listdir(old.data.parent)) == ["data.restore-r1~wal"]


def test_what_was_saved_is_not_saved_again(world: World, old: RestorePlan) -> None:
    swapper(world).remove_old(old)
    swapper(world).remove_old(replace(old, salvage_from=_salvage.saved(old.data)))
    assert saved_files(old) == [(name, name) for name in SAVED]


def test_a_cluster_that_wrote_more_since_is_saved_again(world: World, old: RestorePlan) -> None:
    """An earlier run saved its WAL and was killed before it removed anything; then the server ran again."""
    stale = Path(_salvage.saved(old.data))
    stale.mkdir()
    (stale / SAVED[0]).write_text("less")
    swapper(world).remove_old(old)
    assert saved_files(old) == [(name, name) for name in SAVED]


def test_wal_that_another_request_saved_is_used_where_it_lies(world: World, old: RestorePlan) -> None:
    theirs = _salvage.saved(data_place(world, "r0"))
    tell(Path(theirs), "WAL")
    plan = replace(old, salvage_from=theirs)
    assert (plan.salvaged_from, old.salvaged_from) == (theirs, _salvage.saved(old.data))
    assert replace(old, options=RestoreOptions("r1")).salvaged_from == old.salvage_from
    swapper(world).remove_old(plan)
    assert (told(Path(theirs)), os.path.exists(_salvage.saved(old.data))) == ("WAL", False)


@pytest.mark.parametrize("mount", [False, True])
def test_saved_wal_is_found_and_this_requests_comes_first(world: World, mount: bool) -> None:
    places = {request: replace(data_place(world, request), mount=mount) for request in ("r0", "r1")}
    if mount:
        places = {name: replace(one, work=f"{one.path}/inside/restore-{name}") for name, one in places.items()}
    assert _salvage.all_saved(places["r1"]) == []
    Path(places["r0"].work).parent.mkdir(parents=True, exist_ok=True)
    for name in ("r0", "r1"):
        Path(f"{places[name].work}~wal.part").mkdir()
        Path(places[name].work).mkdir()
    assert _salvage.all_saved(places["r1"]) == []
    for name in ("r0", "r1"):
        Path(f"{places[name].work}~wal").mkdir()
    assert _salvage.all_saved(places["r1"]) == [f"{places[name].work}~wal" for name in ("r1", "r0")]
    assert _salvage.all_saved(places["r0"])[0] == f"{places['r0'].work}~wal"


# --- in place ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "stops"), [("on", True), ("always", True), ("off", False)])
def test_a_copy_that_archives_is_stopped(world: World, calls: list[str], mode: str, stops: bool) -> None:
    made = restore_state(world, "starting")
    made.recovery.archive = "none"
    runner = Scripted(calls=[world.psql("f\n"), world.facts(timeline=2), world.psql(f"{mode}\n", stdin="archive_mode")])
    if stops:
        with pytest.raises(WalgError, match="must not write into the archive"):
            swapper(world, runner)._look(made)
    else:
        assert swapper(world, runner)._look(made) == {"timeline": 2, "archive_mode": "off"}
    runner.finish()
    assert calls == (["stop"] if stops else [])


def test_a_server_that_resumes_its_archive_goes_on(world: World, calls: list[str]) -> None:
    runner = Scripted(calls=[world.psql("f\n"), world.facts(timeline=2), world.psql("on\n", stdin="archive_mode")])
    assert swapper(world, runner)._look(restore_state(world, "starting")) == {"timeline": 2, "archive_mode": "on"}
    assert calls == []


@pytest.mark.parametrize("keeps_old", [True, False])
def test_an_empty_directory_that_was_in_the_way_leaves_nothing_behind(
    world: World, calls: list[str], monkeypatch: pytest.MonkeyPatch, keeps_old: bool
) -> None:
    world.data_dir.mkdir()
    place = data_place(world)
    tell(Path(place.work), "new")
    for request in ("r1", "r8", "r9"):
        tell(Path(_salvage.saved(data_place(world, request))), "WAL")
    monkeypatch.setattr(_swap.Swap, "_look", lambda _self, _marker: {})
    made = restore_state(world, "recovered", keeps_old=keeps_old)
    made.recovery.salvage_from = _salvage.saved(data_place(world, "r9"))
    done = swapper(world).apply(made, False)
    assert done.state == "done"
    assert sorted(os.listdir(place.parent)) == [
        "data",
        *(["data.before-r1"] if keeps_old else []),
        "data.restore-r8~wal",
    ], "what was salvaged from is removed, what was not stays"
    assert told(world.data_dir) == "new"
    assert calls == ["hold", "hold", "release", "start"]
