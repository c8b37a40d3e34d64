# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restore's way from the marker to the swap, cut off at every point. Directories are real; no server runs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _moves
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _servers
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._data_dir import DataDir
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._service import Service
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import (
    _journal,
    _layout,
    _stall,
    _start_check,
    _state,
    _stopped,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._next_step import find
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._options import RestoreOptions
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._run import RestoreRun
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._state import BESIDE, STATES
from support.restores import NAME, data_place, restore_plan, restore_state, tell, told
from support.scripted import Call, Scripted
from support.walg_world import IDENTIFIER, World, write_cluster


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(_start_check.StartCheck, "refuse", lambda _self: None)  # it needs a real PostgreSQL
    return World(tmp_path)


# --- where a request stands -------------------------------------------------------------------------------------------


def absent(_world: World) -> None:
    """Nothing at the path."""


def cluster(world: World) -> None:
    write_cluster(world.data_dir)


def other_cluster(world: World) -> None:
    write_cluster(world.data_dir, "7")


def damaged(world: World) -> None:
    (world.data_dir / "base").mkdir(parents=True)


def empty(world: World) -> None:
    world.data_dir.mkdir()


PLACES = [absent, cluster, other_cluster, damaged, empty]


def expected(state: str, same: bool, place: Callable[[World], None]) -> str:
    """The rule in one place: a begun swap is finished by the same request only; done stays done while it is there."""
    if state in ("swapping", "starting"):
        return "finish" if same else "put in place"
    if state == "rolling back":
        return "rolled back at"
    if state in ("paused", "shut down"):
        return "forward" if same else "waits; end it first"
    if not same or state not in ("done", "rolled back"):
        return "new"
    if state == "rolled back":
        return "was rolled back. A new restore"
    return "done" if place is cluster else "it was lost again"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("state", STATES)
def test_standing(world: World, state: str, same: bool, place: Callable[[World], None]) -> None:
    place(world)
    written = restore_state(world, state)
    _state.save(world.instance, written)
    wanted = expected(state, same, place)
    options = RestoreOptions("r1" if same else "r2")
    if " " in wanted:
        with pytest.raises(WalgError, match=wanted):
            find(world.instance, options)
        return
    assert find(world.instance, options) == (wanted, written)


def test_standing_without_a_marker(world: World) -> None:
    assert find(world.instance, RestoreOptions("r1")) == ("new", None)


def test_a_marker_of_another_directory_says_nothing_of_this_one(world: World) -> None:
    _state.save(world.instance, replace(restore_state(world, "done"), data_dir="/elsewhere"))
    assert find(world.instance, RestoreOptions("r1"))[0] == "new"


LSN = Target("lsn", "0/5000000")


@pytest.mark.parametrize(
    ("state", "target", "action", "expected"),
    [
        ("paused", LSN, "pause", "waits"),
        ("shut down", LSN, "shutdown", "waits"),
        ("paused", LSN, "shutdown", "forward"),
        ("paused", LSN, "promote", "forward"),
        ("shut down", LSN, "promote", "forward"),
        ("paused", Target("lsn", "0/6000000"), "pause", "forward"),
        ("paused", Target(), "promote", "forward"),
        ("paused", Target("lsn", "0/4000000"), "pause", "can't go back"),
    ],
)
def test_what_waits_goes_on_and_never_back(
    world: World, monkeypatch: pytest.MonkeyPatch, state: str, target: Target, action: str, expected: str
) -> None:
    monkeypatch.setattr(_servers, "servers_on", lambda path: [7] if state == "paused" and "restore-r1" in path else [])
    _state.save(world.instance, restore_state(world, state, target=LSN))
    options = RestoreOptions("r1", target, action)
    if expected == "can't go back":
        with pytest.raises(WalgError, match=expected):
            find(world.instance, options)
        return
    assert find(world.instance, options)[0] == expected


def test_a_paused_server_that_died_is_started_again(world: World) -> None:
    _state.save(world.instance, restore_state(world, "paused", target=LSN))
    assert find(world.instance, RestoreOptions("r1", LSN, "pause"))[0] == "forward"


EARLIER, LATER = Target("lsn", "0/4000000"), Target("lsn", "0/6000000")


@pytest.mark.parametrize(
    ("identifier", "state", "options", "expected"),
    [
        (IDENTIFIER, 5, RestoreOptions("r1", LSN, "pause"), "forward"),
        (IDENTIFIER, 2, RestoreOptions("r1", LSN, "pause"), "forward"),
        (IDENTIFIER, 5, RestoreOptions("r1", LATER), "forward"),
        (IDENTIFIER, 5, RestoreOptions("r1", EARLIER, "pause"), "new"),  # may have been passed
        (IDENTIFIER, 5, RestoreOptions("r2", LSN, "pause"), "new"),
        (IDENTIFIER, 6, RestoreOptions("r1", LSN, "pause"), "new"),  # it was opened
        (IDENTIFIER, 1, RestoreOptions("r1", LSN, "pause"), "new"),
        ("7", 5, RestoreOptions("r1", LSN, "pause"), "new"),
        ("", 5, RestoreOptions("r1", LSN, "pause"), "new"),
    ],
)
def test_a_move_that_failed_goes_on_while_it_is_in_recovery(
    world: World, identifier: str, state: int, options: RestoreOptions, expected: str
) -> None:
    made = restore_state(world, "moving on", target=LSN)
    _state.save(world.instance, made)
    if identifier:
        write_cluster(Path(made.work_dirs()[-1]), identifier, state)
    assert find(world.instance, options)[0] == expected


@pytest.mark.parametrize(
    ("options", "identifier", "state", "old", "expected"),
    [
        (RestoreOptions("r1", LSN), IDENTIFIER, 1, "written since", "finish"),
        (RestoreOptions("r1", LSN), IDENTIFIER, 6, "", "new"),  # it did not stop cleanly
        (RestoreOptions("r1", LSN), "7", 1, "", "new"),
        (RestoreOptions("r1", LSN), "", 1, "", "new"),
        (RestoreOptions("r1", LATER), IDENTIFIER, 1, "", "new"),
        (RestoreOptions("r1", LSN, "pause"), IDENTIFIER, 1, "", "new"),
        (RestoreOptions("r1", LSN, standby=True), IDENTIFIER, 1, "", "new"),
        (RestoreOptions("r2", LSN), IDENTIFIER, 1, "", "new"),
        (RestoreOptions("r1"), IDENTIFIER, 1, "as it was", "finish"),
        (RestoreOptions("r1"), IDENTIFIER, 1, "written since", "new"),
        (RestoreOptions("r1"), IDENTIFIER, 1, "", "new"),  # it was lost meanwhile
    ],
)
def test_what_was_recovered_goes_on_at_the_swap_while_it_is_what_is_asked_for(
    world: World, options: RestoreOptions, identifier: str, state: int, old: str, expected: str
) -> None:
    """The latest state is none any more when the old server ran again."""
    made = restore_state(world, "recovered", target=options.target if options.target.kind == "latest" else LSN)
    write_cluster(world.data_dir)
    made.old = _stopped.snapshot(str(world.data_dir), world.instance.cluster.owner())
    if old != "as it was":
        shutil.rmtree(world.data_dir)
    if old == "written since":
        write_cluster(world.data_dir, state=6)
    _state.save(world.instance, made)
    if identifier:
        write_cluster(Path(made.work_dirs()[-1]), identifier, state)
    assert find(world.instance, options)[0] == expected


def test_what_an_earlier_run_has_stopped_is_still_known(world: World) -> None:
    before = restore_state(world, "fetching", "r0")
    before.stopped = True
    with pytest.raises(WalgError, match="Fetching the base backup"):
        RestoreRun(Scripted(calls=[fetch(world, rc=1)]), world.instance, 9, 9).run(restore_plan(world), before)
    left = _state.load(world.instance)
    assert left is not None
    assert (left.request, left.stopped) == ("r1", True)


@pytest.mark.parametrize("options", [RestoreOptions("r1", LSN), RestoreOptions("r1", standby=True)])
def test_done_was_done_to_that_target(world: World, options: RestoreOptions) -> None:
    cluster(world)
    _state.save(world.instance, restore_state(world, "done"))
    with pytest.raises(WalgError, match=r"was done already, to latest\. Another target needs a new"):
        find(world.instance, options)


# --- a run that was killed in the swap, taken up by the next one ------------------------------------------------------


def started(world: World, timeline: int = 2, ready: str = "f\n", **facts: Any) -> list[Call]:
    """The restored server is started, answers, is out of recovery, and is who it should be."""
    log = os.path.join(world.instance.log_dir, "server.log")
    program = os.path.join(world.instance.cluster.bin_dir, "postgres")
    return [
        Call([program, "-D", str(world.data_dir), ">>", log]),
        world.psql("1\n", stdin="SELECT 1"),
        world.psql(ready, stdin="pg_is_in_recovery()"),
        world.facts(timeline=timeline, **facts),
    ]


def journalled(world: World, state: str) -> tuple[_state.RestoreState, list[Path]]:
    """A marker with the steps of its swap, and the three directories: old, new, kept."""
    made = restore_state(world, state)
    place = data_place(world)
    made.journal = [_journal.Step("out", place.path, place.aside), _journal.Step("in", place.work, place.path)]
    return made, [Path(place.path), Path(place.work), Path(place.aside)]


@pytest.mark.parametrize(
    ("state", "places"),
    [
        ("recovered", ("old", "new", None)),
        ("swapping", ("old", "new", None)),
        ("swapping", (None, "new", "old")),
        ("swapping", ("new", None, "old")),
        ("starting", ("new", None, "old")),
    ],
)
def test_swap_from_every_state(
    world: World, state: str, places: tuple[str | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Service, "_other", lambda _self: "")
    given, paths = journalled(world, state)
    for path, what in zip(paths, places, strict=True):
        if what:
            tell(path, what)
    runner = Scripted(calls=[*started(world), world.psql("on\n", stdin="archive_mode")])
    given.answer.backup = {"name": NAME}
    done = RestoreRun(runner, world.instance, 9, 9).swap(given, RestoreOptions("r1"))
    runner.finish()
    assert [told(path) for path in paths] == ["new", None, "old"]
    assert (done.backup, done.timeline, done.archive_mode) == ({"name": NAME}, 2, "on")
    saved = _state.load(world.instance)
    assert saved is not None
    assert (saved.state, saved.answer) == ("done", done)


def test_the_marker_says_swapping_before_the_first_rename(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given, paths = journalled(world, "recovered")
    tell(paths[0], "old")
    tell(paths[1], "new")
    seen: list[str] = []

    def watched(*_paths: Any) -> None:
        saved = _state.load(world.instance)
        seen.append(saved.state if saved else "none")
        raise WalgError("killed here")

    monkeypatch.setattr(_moves, "rename", watched)
    with pytest.raises(WalgError, match="killed here"):
        RestoreRun(Scripted(), world.instance, 9, 9).swap(given, RestoreOptions("r1"))
    assert seen == ["swapping"]
    assert find(world.instance, RestoreOptions("r1"))[0] == "finish"


def test_a_server_started_on_the_old_directory_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given, paths = journalled(world, "recovered")
    tell(paths[0], "old")
    tell(paths[1], "new")
    monkeypatch.setattr(_servers, "servers_on", lambda _path: [4711])
    with pytest.raises(WalgError, match=r"A server runs on .*nothing was changed there"):
        RestoreRun(Scripted(), world.instance, 9, 9).swap(given, RestoreOptions("r1"))
    assert (told(paths[0]), told(paths[1])) == ("old", "new")


def test_a_restored_server_of_another_identity_is_not_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "_other", lambda _self: "")
    given = restore_state(world, "starting")
    tell(Path(given.data_dir), "new")
    runner = Scripted(calls=started(world, system_identifier="7"))
    with pytest.raises(WalgError, match="has system identifier 7"):
        RestoreRun(runner, world.instance, 9, 9).swap(given, RestoreOptions("r1"))
    assert find(world.instance, RestoreOptions("r1"))[0] in ("finish", "new")


# --- runs that fail before the swap -----------------------------------------------------------------------------------


def fetch(world: World, **answer: Any) -> Call:
    return world.walg("backup-fetch", f"{world.data_dir}.restore-r1", NAME, **answer)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"rc": 1, "stderr": "ERROR: no space left on device"}, "ended with 1: ERROR: no space left on device"),
        ({"rc": -15, "timed_out": True}, "did not end within 9 s"),
    ],
)
def test_a_failed_fetch_is_undone_and_touches_nothing(world: World, answer: dict[str, Any], text: str) -> None:
    tell(world.data_dir, "old")
    made = restore_plan(world)
    with pytest.raises(WalgError, match=text) as caught:
        RestoreRun(Scripted(calls=[fetch(world, **answer)]), world.instance, 9, 9).run(made, None)
    assert "was not touched" in caught.value.msg
    assert sorted(os.listdir(world.data_dir.parent)) == ["data"]
    assert told(world.data_dir) == "old"
    assert find(world.instance, RestoreOptions("r1"))[0] == "new"


@pytest.mark.parametrize("overwrite", ["", IDENTIFIER])
def test_a_fetch_that_stands_still_is_undone(world: World, monkeypatch: pytest.MonkeyPatch, overwrite: str) -> None:
    """WAL-G would try for hours. What was fetched is removed, and nothing is said of a cluster that was to be removed."""
    tell(world.data_dir, "old")

    class Standing(Scripted):
        def run(self, argv: Any, **_options: Any) -> Any:
            tell(Path(argv[-2]) / "base", "some files")
            assert self.tick
            try:
                for _turn in range(3):
                    self.tick()
                    time.sleep(0.02)
            except WalgError as exc:
                exc.fields.update({"stderr": "...", "said": "disk full."})
                raise
            raise AssertionError("nobody saw it")

    monkeypatch.setattr(_stall, "_SHARE", 1e9)
    flow = RestoreRun(Standing(), world.instance, 9, 9, 0.01)
    with pytest.raises(WalgError, match=r"nothing new arrived for 0 s .*WAL-G said: disk full\.") as caught:
        flow.run(restore_plan(world, options=RestoreOptions("r1", overwrite=overwrite)), None)
    assert ("was not touched" in caught.value.msg) is not bool(overwrite)
    assert caught.value.fields == {"stderr": "..."}
    assert not Path(f"{world.data_dir}.restore-r1").exists()
    assert flow.progress.watch is None


@pytest.mark.parametrize("state", STATES)
def test_leftovers_are_removed_by_the_marker_and_only_before_the_swap(world: World, state: str) -> None:
    before = restore_state(world, state, "r0")
    for path in (
        Path(before.work_dirs()[-1]),
        Path(f"{world.data_dir}.before-r0"),
        Path(f"{world.data_dir}.restore-other"),
    ):
        tell(path, path.name)
    runner = Scripted(calls=[fetch(world, rc=1)])
    with pytest.raises(WalgError, match="Fetching the base backup"):
        RestoreRun(runner, world.instance, 9, 9).run(restore_plan(world), before)
    left = ["data.before-r0", "data.restore-other"]
    if state not in BESIDE:
        left.append("data.restore-r0")
    assert sorted(os.listdir(world.data_dir.parent)) == sorted(left)


def test_the_marker_stands_before_the_directory_does(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed right after mkdir, the next run has to know that the directory is ours."""
    seen: list[tuple[str, bool]] = []

    def mkdir(path: str, *_owner: int) -> None:
        saved = _state.load(world.instance)
        assert saved is not None
        seen.append((saved.state, os.path.exists(path)))
        raise WalgError("killed here")

    monkeypatch.setattr(_moves, "make", mkdir)
    with pytest.raises(WalgError, match="killed here"):
        RestoreRun(Scripted(), world.instance, 9, 9).run(restore_plan(world), None)
    assert seen == [("fetching", False)]


def test_the_directory_is_private_while_it_is_filled(world: World) -> None:
    modes: list[int] = []

    class Looking(Scripted):
        def run(self, argv: Any, **options: Any) -> Any:
            modes.append(os.stat(argv[-2]).st_mode & 0o777)
            return super().run(argv, **options)

    with pytest.raises(WalgError, match="Fetching"):
        RestoreRun(Looking(calls=[fetch(world, rc=1)]), world.instance, 9, 9).run(restore_plan(world), None)
    assert modes == [0o700]


@pytest.mark.parametrize(("kind", "keeps"), [("absent", False), ("empty", False), ("damaged", True), ("cluster", True)])
def test_what_is_kept(world: World, kind: str, keeps: bool) -> None:
    made = replace(restore_plan(world), found=DataDir(str(world.data_dir), kind))
    assert RestoreRun(Scripted(), world.instance, 9, 9)._new_state(made).keeps_old is keeps


@pytest.mark.parametrize("state", BESIDE)
def test_what_is_removed_by_half_is_taken_up_no_more(world: World, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """Killed while it discards: going on with what is left would put a cluster in place that lacks files."""

    def killed(_path: str) -> None:
        raise KeyboardInterrupt

    given = restore_state(world, state, target=LSN)
    _state.save(world.instance, given)
    os.makedirs(data_place(world).work)
    monkeypatch.setattr(_layout, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        RestoreRun(Scripted(), world.instance, 9, 9).discard(given)
    left = _state.load(world.instance)
    assert left is not None
    assert left.state == "fetching"
    for action in ("pause", "shutdown", "promote"):
        assert find(world.instance, RestoreOptions("r1", LSN, action))[0] == "new"
