# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back from every state of a restore, killed after each of its steps and of the swap's. Directories are real."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _servers
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._service import Service
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import (
    _journal,
    _layout,
    _next_step,
    _roll_back,
    _run,
    _salvage,
    _state,
    _swap,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._answer import Answer
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._options import RestoreOptions
from support.restores import data_place, restore_state, service_calls, tell, told
from support.scripted import Scripted
from support.walg_world import IDENTIFIER, World, write_cluster

ENTRY = "PG_14_202107181"


class Killed(BaseException):
    """As kill -9: nothing of ours handles it."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the service manager is told, and the archive."""
    told_to = service_calls(monkeypatch)
    monkeypatch.setattr(_roll_back.RollBack, "_disown", lambda _self, left: told_to.append(f"left {left}"))
    monkeypatch.setattr(_swap.Swap, "_look", lambda _self, _marker: {})
    return told_to


def restore(world: World) -> _run.RestoreRun:
    return _run.RestoreRun(Scripted(), world.instance, 9, 9)


def back(world: World, made: _state.RestoreState, stop_running: bool = False) -> Answer:
    return restore(world).roll_back(made, stop_running)


def write(path: Path, who: str, identifier: str = IDENTIFIER) -> None:
    write_cluster(path, identifier)
    (path / "who").write_text(who)


def old_cluster(world: World, state: str) -> tuple[_state.RestoreState, list[Path]]:
    """An old cluster and a restored one in a state, with a tablespace each: the old places, and where what was restored lies."""
    space = world.root / "space"
    places = [_layout.place(str(space), "pg_tblspc/17", "r1"), data_place(world)]
    made = replace(restore_state(world, state), places=places)
    write(world.data_dir, "old")
    space.mkdir()
    tell(space / ENTRY, "old")
    for one in places:
        if one.link:
            Path(one.work).mkdir()
            tell(Path(one.work, ENTRY), "new")
        else:
            write(Path(one.work), "new")
    for directory, target in ((world.data_dir, space), (Path(places[1].work), Path(places[0].work))):
        (directory / "pg_tblspc").mkdir()
        (directory / "pg_tblspc" / "17").symlink_to(target)
    return made, [space, world.data_dir]


def is_old(paths: list[Path]) -> bool:
    space, data_dir = paths
    return [told(space / ENTRY), told(data_dir), told(data_dir / "pg_tblspc" / "17" / ENTRY)] == ["old"] * 3


@contextlib.contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    """Whoever moves things in this block is killed after so many steps, forth or back."""
    left = [number]

    def counted(function: Callable[..., int]) -> Callable[..., int]:
        def call(entry: Any, uid: int) -> int:
            done = function(entry, uid)
            left[0] -= done
            if done and left[0] == 0:
                raise Killed
            return done

        return call

    with monkeypatch.context() as patch:
        patch.setattr(_journal, "_do", counted(_journal._do))
        patch.setattr(_journal, "_undo", counted(_journal._undo))
        yield


STEPS = 7  # two links turned; a directory made for the tablespace's old entry; that and the data directory out, two in


@pytest.mark.parametrize("number", range(1, STEPS + 1))
def test_from_every_step_of_the_swap(
    world: World, calls: list[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The swap is killed after that step; the way back finds the old cluster, and what was restored is kept."""
    made, paths = old_cluster(world, "recovered")
    with dying(monkeypatch, number), pytest.raises(Killed):
        restore(world).swap(made, RestoreOptions("r1"))
    left = _loaded(world)
    assert left.state == "swapping"
    assert back(world, left).state == "rolled back"
    assert is_old(paths)
    assert [told(Path(one, name)) for one, name in zip(left.work_dirs(), (ENTRY, ""), strict=True)] == ["new", "new"]
    assert not any(os.path.lexists(one.aside) for one in left.places)
    assert calls[-1] == "start", "the restored server never ran, so the archive has nothing to learn"


@pytest.mark.parametrize("lost", [["data"], ["space"], ["data", "space"], ["data/pg_tblspc"]], ids=" ".join)
@pytest.mark.parametrize("state", ["starting", "done"])
def test_what_was_put_in_place_is_lost_again(world: World, calls: list[str], state: str, lost: list[str]) -> None:
    """There is nothing to move away then, and the old cluster is had all the same."""
    made, paths = old_cluster(world, "recovered")
    restore(world).swap(made, RestoreOptions("r1"))
    made.state = state
    ways = {"data": paths[1], "space": paths[0] / ENTRY, "data/pg_tblspc": paths[1] / "pg_tblspc"}
    for name in lost:
        shutil.rmtree(ways[name])
    result = back(world, made)
    assert is_old(paths)
    kept = None if "data" in lost else made.work_dirs()[-1]
    assert (result.state, result.restored_kept_as) == ("rolled back", kept)
    assert calls[-1].startswith(("start", "left"))


@pytest.mark.parametrize("number", range(1, STEPS + 1))
@pytest.mark.parametrize("state", ["starting", "done"])
def test_killed_after_every_step_of_the_way_back(
    world: World, calls: list[str], monkeypatch: pytest.MonkeyPatch, state: str, number: int
) -> None:
    made, paths = old_cluster(world, "recovered")
    restore(world).swap(made, RestoreOptions("r1"))
    assert not is_old(paths)
    _set(world, made, state)
    with dying(monkeypatch, number), pytest.raises(Killed):
        back(world, _loaded(world))
    assert _loaded(world).state == "rolling back"
    assert back(world, _loaded(world)).state == "rolled back"
    assert is_old(paths)
    assert calls[-1] == "left 0"


@pytest.mark.parametrize("second", range(1, STEPS))
@pytest.mark.parametrize("first", [2, 4, 5])
def test_killed_in_the_swap_and_again_on_the_way_back(
    world: World, calls: list[str], monkeypatch: pytest.MonkeyPatch, first: int, second: int
) -> None:
    made, paths = old_cluster(world, "recovered")
    with dying(monkeypatch, first), pytest.raises(Killed):
        restore(world).swap(made, RestoreOptions("r1"))
    if second < first:
        with dying(monkeypatch, second), pytest.raises(Killed):
            back(world, _loaded(world))
        with pytest.raises(WalgError, match="walg_restore_rollback: true again"):
            _next_step.find(world.instance, RestoreOptions("r1"))
    back(world, _loaded(world))
    assert is_old(paths)


@pytest.mark.parametrize("state", ["swapping", "starting"])
@pytest.mark.parametrize("empty", [True, False])
def test_where_there_was_no_old_cluster_the_restored_one_is_taken_out(
    world: World, calls: list[str], state: str, empty: bool
) -> None:
    place = data_place(world)
    if empty:
        world.data_dir.mkdir()
    write(Path(place.work), "new")
    made = restore_state(world, "recovered", keeps_old=False)
    restore(world).swap(made, RestoreOptions("r1"))
    _set(world, made, state)
    del calls[:]
    answer = back(world, made)
    assert told(Path(place.work)) == "new"
    assert (world.data_dir.exists(), list(world.data_dir.parent.glob("data/*"))) == (empty, [])
    assert (answer.started, answer.restored_kept_as) == (False, place.work)
    assert calls == ["hold", "release"], "nothing is there to start"


@pytest.mark.parametrize("state", _state.STATES)
def test_only_done_can_have_nothing_to_go_back_to(world: World, calls: list[str], state: str) -> None:
    tell(Path(data_place(world).aside), "old")
    _roll_back.refuse_no_way_back(restore_state(world, state))
    gone = restore_state(world, state, keeps_old=False)
    if state == "done":
        with pytest.raises(WalgError, match=r"found no old cluster .* or was told to overwrite it"):
            back(world, gone)
    else:
        _roll_back.refuse_no_way_back(gone)
    assert calls == []


def test_what_was_not_kept_does_not_come_back(world: World, calls: list[str]) -> None:
    with pytest.raises(WalgError, match=r"before-r1, where the old directory was kept, is gone"):
        back(world, restore_state(world, "done"))
    assert calls == []


def test_an_old_server_that_does_not_start_ends_the_way_back_all_the_same(
    world: World, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was broken before, it may be the reason for the restore: another restore must be possible, and another try."""
    made, paths = old_cluster(world, "recovered")
    restore(world).swap(made, RestoreOptions("r1"))
    failing = ["It ended again."]

    def start(_self: Service) -> None:
        if failing:
            raise WalgError(failing[0])
        calls.append("start")

    monkeypatch.setattr(Service, "start", start)
    with pytest.raises(WalgError, match="It ended again") as caught:
        back(world, _loaded(world))
    assert "is the old directory again, but its server does not start: It ended again." in caught.value.msg
    assert is_old(paths)
    assert (_loaded(world).state, _loaded(world).moved_back) == ("rolled back", True)
    assert _next_step.find(world.instance, RestoreOptions("r2"))[0] == "new"
    failing.clear()
    del calls[:]
    assert back(world, _loaded(world)).started
    assert calls == ["release", "start", "left 0"]
    assert not _loaded(world).moved_back


def test_a_damaged_old_directory_is_put_back_and_not_started(world: World, calls: list[str]) -> None:
    made, _paths = old_cluster(world, "recovered")
    (world.data_dir / "global" / "pg_control").unlink()
    restore(world).swap(made, RestoreOptions("r1"))
    del calls[:]
    assert not back(world, _loaded(world)).started
    assert told(world.data_dir) == "old"
    assert "start" not in calls


@pytest.mark.parametrize("running", [True, False])
def test_a_marker_that_can_not_be_written(
    world: World, calls: list[str], monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    """Nothing was moved: the server that was stopped runs again, and a unit that was held is free."""
    tell(world.data_dir, "there")
    tell(Path(data_place(world).aside), "other")
    if running:
        _serve(monkeypatch)

    def full(*_arguments: Any) -> None:
        raise WalgError("No space left on device")

    monkeypatch.setattr(_state, "save", full)
    with pytest.raises(WalgError, match="No space left"):
        back(world, restore_state(world, "done"), stop_running=True)
    assert calls == ["hold", "start" if running else "release"]
    assert told(world.data_dir) == "there"


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize("state", _state.BESIDE)
def test_before_the_swap_what_was_restored_is_removed_and_what_was_stopped_starts(
    world: World, calls: list[str], state: str, stopped: bool
) -> None:
    write(world.data_dir, "old")
    made = restore_state(world, state)
    made.stopped = stopped
    tell(Path(made.work_dirs()[-1]), "new")
    answer = restore(world).give_up(made)
    assert sorted(os.listdir(world.data_dir.parent)) == ["data"]
    assert told(world.data_dir) == "old"
    assert (answer.state, answer.started, _loaded(world).state) == ("rolled back", stopped, "rolled back")
    assert calls == (["release", "start"] if stopped else ["release"])


def test_nothing_is_started_where_the_old_cluster_is_gone(world: World, calls: list[str]) -> None:
    made = restore_state(world, "fetching", keeps_old=False)
    made.stopped = True
    tell(Path(_salvage.saved(data_place(world))), "WAL")
    answer = restore(world).give_up(made)
    assert (answer.started, answer.saved_wal) == (False, _salvage.saved(data_place(world)))
    assert calls == ["release"]


# --- support ----------------------------------------------------------------------------------------------------------


def _set(world: World, made: _state.RestoreState, state: str) -> None:
    made.state = state
    _state.save(world.instance, made)


def _loaded(world: World) -> _state.RestoreState:
    found = _state.load(world.instance)
    assert found is not None
    return found


def _serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that runs until it is told to stop."""
    running = [4711]
    monkeypatch.setattr(_servers, "servers_on", lambda _path: list(running))
    monkeypatch.setattr(_swap.Swap, "stop_running", lambda _self, _path: running.clear())
