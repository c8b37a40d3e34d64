# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a request still needs, by marker and wish; and that a server which was stopped for nothing runs again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _data_dir, _servers
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import (
    _plan,
    _request,
    _roll_back,
    _run,
    _salvage,
    _state,
    _ways,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._answer import Answer
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._options import RestoreOptions
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._state import BESIDE, STATES
from support.restores import data_place, restore_state, tell, told
from support.scripted import Call, Scripted
from support.walg_world import IDENTIFIER, World, write_cluster

LSN = Target("lsn", "0/5000000")
LATER = Target("lsn", "0/6000000")


class Plan:
    """As much of a plan as a run that is only written down looks at."""

    def __init__(self, world: World) -> None:
        self.data = data_place(world)

    def answer(self) -> Answer:
        return Answer(request="r1")

    def diff(self) -> dict[str, str]:
        return {"before": "", "after": ""}


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    write_cluster(made.data_dir)
    return made


@pytest.fixture
def log(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a run does, in its order; every part of it is only written down."""
    done: list[str] = []

    def part(name: str) -> Any:
        def call(*_arguments: Any, **_more: Any) -> Answer:
            done.append(name)
            return Answer(request="r1", state=name)

        return call

    for name in ("run", "forward", "swap", "stop_old", "start_old", "roll_back", "give_up", "discard"):
        monkeypatch.setattr(_run.RestoreRun, name, part(name))

    def make(_runner: Any, _instance: Any, options: RestoreOptions, ours: list[str]) -> Plan:
        done.append(f"plan {len(ours)}{' may stop' if options.stop_running else ''}")
        return Plan(world)

    monkeypatch.setattr(_plan, "make", make)
    monkeypatch.setattr(_request, "replace", lambda one, **new: one if isinstance(one, Plan) else replace(one, **new))
    return done


def serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that runs until the restore stops it."""
    running, stop = [4711], _run.RestoreRun.stop_old

    def stop_old(self: _run.RestoreRun, data_dir: str) -> None:
        stop(self, data_dir)
        running.clear()

    monkeypatch.setattr(_run.RestoreRun, "stop_old", stop_old)
    monkeypatch.setattr(_servers, "servers_on", lambda _path: list(running))


def run(world: World, options: RestoreOptions, runner: Scripted | None = None) -> _request.RestoreRequest:
    return _request.RestoreRequest(runner or Scripted(), world.instance, options, 9, 9)


def files(world: World) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in world.root.rglob("*"))


# --- the decision -----------------------------------------------------------------------------------------------------

TABLE = [
    # state, the wish, what is done (None: refused)
    ("", RestoreOptions("r1"), ["plan 0", "plan 0", "run"]),
    ("fetching", RestoreOptions("r1"), ["plan 1", "plan 1", "run"]),
    ("recovering", RestoreOptions("r2"), ["plan 1", "plan 1", "run"]),
    ("recovered", RestoreOptions("r1"), ["plan 1", "plan 1", "run"]),
    ("moving on", RestoreOptions("r1", LSN), ["plan 1", "plan 1", "run"]),  # nothing that can go on is there
    ("paused", RestoreOptions("r1", LSN, "pause"), ["forward"]),  # its server is gone
    ("paused, its server runs", RestoreOptions("r1", LSN, "pause"), []),
    ("paused", RestoreOptions("r1", LATER, "pause"), ["forward"]),
    ("paused", RestoreOptions("r1", LSN, "promote"), ["forward"]),
    ("shut down", RestoreOptions("r1", LSN, "shutdown"), []),
    ("shut down", RestoreOptions("r1", LSN, "promote"), ["forward"]),
    ("paused", RestoreOptions("r2", LSN, "pause"), None),
    ("shut down", RestoreOptions("r2"), None),
    ("swapping", RestoreOptions("r1", LSN), ["swap"]),
    ("starting", RestoreOptions("r1", LSN), ["swap"]),
    ("swapping", RestoreOptions("r2", LSN), None),
    ("rolling back", RestoreOptions("r1", LSN), None),
    ("rolled back", RestoreOptions("r1", LSN), None),
    ("rolled back", RestoreOptions("r2", LSN), ["plan 0", "plan 0", "run"]),
    ("done", RestoreOptions("r1", LSN), []),
    ("done", RestoreOptions("r1", LATER), None),
    ("done", RestoreOptions("r2", LATER), ["plan 0", "plan 0", "run"]),
]


def given(world: World, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """The marker, with the server beside where one runs."""
    if not state:
        return
    made = restore_state(world, state.partition(",")[0], target=LSN)
    made.answer.finished = "kept"
    _state.save(world.instance, made)
    if "runs" in state:
        monkeypatch.setattr(_servers, "servers_on", lambda path: [4711] if path in made.work_dirs() else [])


@pytest.mark.parametrize(("state", "options", "does"), TABLE)
def test_what_is_done(
    world: World,
    log: list[str],
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    options: RestoreOptions,
    does: list[str] | None,
) -> None:
    given(world, monkeypatch, state)
    if does is None:
        with pytest.raises(WalgError):
            run(world, options).act("restore", check=False)
        assert log == []
        return
    answer = run(world, options).act("restore", check=False)
    assert log == does
    assert answer["changed"] is bool(does)
    assert (answer["restore"]["state"], answer["restore"]["finished"]) == (
        (does[-1], None) if does else ("planned", "kept")
    )
    assert run(world, options).nothing_left("restore") is not bool(does)


@pytest.mark.parametrize(("state", "options", "does"), [row for row in TABLE if row[2] is not None])
def test_check_mode_says_it_and_writes_nothing(
    world: World, log: list[str], monkeypatch: pytest.MonkeyPatch, state: str, options: RestoreOptions, does: list[str]
) -> None:
    given(world, monkeypatch, state)
    before = files(world)
    answer = run(world, options).act("restore", check=True)
    assert answer["changed"] is bool(does)
    assert log == [one for one in does if one.startswith("plan")][:1]
    assert files(world) == before
    if does == ["forward"]:
        assert (answer["restore"]["target"], answer["restore"]["action"]) == (options.target.as_dict(), options.action)


# --- a server that runs -----------------------------------------------------------------------------------------------


def test_check_mode_before_anything_is_installed(world: World, log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be known is refused; the rest is said to be unknown. A run never takes this way."""
    serve(monkeypatch)
    with pytest.raises(WalgError, match="runs on"):
        pending(world, RestoreOptions("r1", LSN)).act("restore", check=True)
    monkeypatch.setattr(_servers, "servers_on", lambda _path: [])
    answer = pending(world, RestoreOptions("r1", LSN)).act("restore", check=True)
    assert (answer["changed"], log) == (True, [])
    assert answer["restore"]["notes"][0].startswith("The archive was not checked")
    assert answer["restore"]["target"] == LSN.as_dict()
    assert "/bin/wal-g" in answer["restore"]["notes"][0]
    pending(world, RestoreOptions("r1", LSN)).act("restore", check=False)
    assert log == ["plan 0", "plan 0", "run"]


def pending(world: World, options: RestoreOptions) -> _request.RestoreRequest:
    return replace(run(world, options), pending=["/bin/wal-g"])


def fails(monkeypatch: pytest.MonkeyPatch, world: World, state: str) -> None:
    """The run comes as far as that state and fails."""

    def failing(*_arguments: Any) -> None:
        _state.save(world.instance, restore_state(world, state))
        raise WalgError("The storage died.")

    monkeypatch.setattr(_run.RestoreRun, "run", failing)


@pytest.mark.parametrize(
    ("state", "options", "again"),
    [
        ("fetching", RestoreOptions("r1", stop_running=True), True),
        ("recovered", RestoreOptions("r1", stop_running=True), True),
        ("swapping", RestoreOptions("r1", stop_running=True), False),
        ("starting", RestoreOptions("r1", stop_running=True), False),
        ("fetching", RestoreOptions("r1", stop_running=True, overwrite="1"), False),
    ],
)
def test_what_was_stopped_for_the_latest_state_runs_again_when_it_fails(
    world: World, log: list[str], monkeypatch: pytest.MonkeyPatch, state: str, options: RestoreOptions, again: bool
) -> None:
    serve(monkeypatch)
    fails(monkeypatch, world, state)
    with pytest.raises(WalgError, match=r"The storage died\.") as caught:
        run(world, options).act("restore", check=False)
    assert log == ["plan 0 may stop", "stop_old", "plan 0", *(["start_old"] if again else [])]
    assert ("was started again" in caught.value.msg) is again


@pytest.mark.parametrize("verb", ["restore", "roll back"])
def test_a_server_that_stops_already_is_waited_for(
    world: World, log: list[str], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """A killed run had told it to stop: it can't be asked any more, and is nothing that still has to be stopped."""
    left = [[4711], [4711], []]
    look = _data_dir.inspect
    monkeypatch.setattr(_data_dir, "inspect", lambda *given: replace(look(*given), status="stopping" if left else ""))
    monkeypatch.setattr(_servers, "servers_on", lambda _path: left.pop(0) if left else [])
    if verb == "roll back":
        write_cluster(Path(data_place(world).aside))
        _state.save(world.instance, restore_state(world, "done"))
    assert run(world, RestoreOptions("r1", LSN)).act(verb, check=False)["changed"]
    assert left == []
    assert log == (["plan 0", "plan 0", "run"] if verb == "restore" else ["roll_back"])


def test_a_plan_that_is_refused_after_the_stop(world: World, log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, the cluster shows more than it did; the second plan may refuse what the first did not."""
    serve(monkeypatch)
    made = _plan.make

    def make(runner: Any, instance: Any, options: RestoreOptions, ours: Any) -> Any:
        if not options.stop_running:
            raise WalgError("No room.")
        return made(runner, instance, options, ours)

    monkeypatch.setattr(_plan, "make", make)
    with pytest.raises(WalgError, match=r"No room\.") as caught:
        run(world, RestoreOptions("r1", stop_running=True)).act("restore", check=False)
    assert "was started again" in caught.value.msg
    assert log == ["plan 0 may stop", "stop_old", "start_old"]


def test_a_point_in_the_past_stops_nothing_and_ships_what_is_written(
    world: World, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch)
    calls: list[Call] = [
        world.psql("000000010000000000000007\n", stdin="pg_switch_wal"),
        world.psql("000000010000000000000006\n", stdin="last_archived_wal"),
        world.psql("000000010000000000000007\n", stdin="last_archived_wal"),
    ]
    runner = Scripted(calls=calls)
    run(world, RestoreOptions("r1", LSN, stop_running=True), runner).act("restore", check=False)
    runner.finish()
    assert log == ["plan 0 may stop", "plan 0 may stop", "run"]


# --- back, and away ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("state", STATES)
def test_roll_back(world: World, log: list[str], state: str, check: bool) -> None:
    made = restore_state(world, state)
    made.answer.finished = "kept"
    _state.save(world.instance, made)
    tell(Path(data_place(world).aside), "old")
    before, asked = files(world), run(world, RestoreOptions("r1"))
    assert asked.nothing_left("roll back") is (state == "rolled back")
    answer = asked.act("roll back", check)
    assert answer["changed"] is (state != "rolled back")
    does = "give_up" if state in BESIDE else "roll_back"
    assert log == ([] if check or state == "rolled back" else [does])
    assert not check or files(world) == before


def test_a_way_back_that_moved_all_goes_on_beside_the_old_server(
    world: World, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directories are back and the old server runs: nothing has to be stopped to tell the archive."""
    made = restore_state(world, "rolled back")
    made.moved_back = True
    _state.save(world.instance, made)
    serve(monkeypatch)
    asked = run(world, RestoreOptions("r1"))
    assert not asked.nothing_left("roll back")
    assert asked.act("roll back", check=False)["changed"]
    assert log == ["roll_back"]


@pytest.mark.parametrize("state", [state for state in STATES if state not in ("done", "rolled back")])
@pytest.mark.parametrize("verb", ["restore", "roll back", "discard"])
def test_every_message_of_a_restore_that_stopped_half_way_names_the_ways(
    world: World, monkeypatch: pytest.MonkeyPatch, state: str, verb: str
) -> None:
    made = restore_state(world, state)
    _state.save(world.instance, made)

    def failing(*_arguments: Any, **_more: Any) -> None:
        raise WalgError("The disk died.")

    for name in ("run", "forward", "swap", "roll_back", "give_up", "discard"):
        monkeypatch.setattr(_run.RestoreRun, name, failing)
    monkeypatch.setattr(_plan, "make", failing)
    with pytest.raises(WalgError) as caught:
        run(world, RestoreOptions("r1")).act(verb, check=False)
    assert caught.value.msg.count(_ways.of(made)) == 1


@pytest.mark.parametrize("request_name", ["r1", "r2"])
def test_nothing_to_roll_back(world: World, log: list[str], request_name: str) -> None:
    if request_name == "r2":
        _state.save(world.instance, restore_state(world, "done"))
    with pytest.raises(WalgError, match="There is no restore"):
        run(world, RestoreOptions(request_name)).act("roll back", check=False)
    assert log == []


@pytest.mark.parametrize("told_to_stop", [True, False])
def test_a_server_is_stopped_for_the_way_back_only_when_told(
    world: World, log: list[str], monkeypatch: pytest.MonkeyPatch, told_to_stop: bool
) -> None:
    _state.save(world.instance, restore_state(world, "done"))
    tell(Path(data_place(world).aside), "old")
    serve(monkeypatch)
    asked = run(world, RestoreOptions("r1", stop_running=told_to_stop))
    if told_to_stop:
        asked.act("roll back", check=False)
    else:
        with pytest.raises(WalgError, match=r"pid 4711.*walg_restore_stop_running: true"):
            asked.act("roll back", check=False)
    assert log == (["roll_back"] if told_to_stop else [])


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("state", STATES)
def test_discard(world: World, state: str, check: bool) -> None:
    made = restore_state(world, state)
    _state.save(world.instance, made)
    work = Path(made.work_dirs()[-1])
    tell(work, "new")
    before, asked = files(world), run(world, RestoreOptions("r1"))
    assert not asked.nothing_left("discard")
    if state in BESIDE:
        assert asked.act("discard", check)["changed"]
        assert (told(work) is None) is not check
        assert (_state.load(world.instance) is None) is not check
    else:
        with pytest.raises(WalgError, match="nothing to discard"):
            asked.act("discard", check)
        assert told(work) == "new"
    if check or state not in BESIDE:
        assert [one for one in files(world) if "progress" not in one[0]] == before
    assert world.data_dir.is_dir()


def test_discard_again_and_of_another_request(world: World) -> None:
    assert run(world, RestoreOptions("r1")).nothing_left("discard")
    _state.save(world.instance, restore_state(world, "paused"))
    tell(Path(data_place(world).work), "new")
    answer = run(world, RestoreOptions("r2")).act("discard", check=False)
    assert (answer["changed"], answer["restore"]["state"]) == (False, "unknown")
    assert told(Path(data_place(world).work)) == "new"


def test_the_swap_says_itself_that_there_is_no_way_back(world: World) -> None:
    with pytest.raises(WalgError, match="found no old cluster"):
        _roll_back.refuse_no_way_back(restore_state(world, "done", keeps_old=False))


@pytest.mark.parametrize(("identifier", "kept"), [(IDENTIFIER, False), ("7", True), ("", True)])
def test_saved_wal_of_a_cluster_that_is_gone_outlives_a_discard(tmp_path: Path, identifier: str, kept: bool) -> None:
    """Where the old cluster still is, the copy holds nothing that it has not."""
    world = World(tmp_path)
    if identifier:
        write_cluster(world.data_dir, identifier)
    _state.save(world.instance, restore_state(world, "fetching"))
    for path in (data_place(world).work, _salvage.saved(data_place(world))):
        tell(Path(path), "ours")
    options = RestoreOptions("r1")
    checked = run(world, options).act("discard", check=True)
    assert told(Path(_salvage.saved(data_place(world)))) == "ours"
    answer = run(world, options).act("discard", check=False)
    assert checked["changed"] is answer["changed"] is True
    assert answer["restore"].get("saved_wal") == (_salvage.saved(data_place(world)) if kept else None)
    assert told(Path(data_place(world).work)) is None
    assert told(Path(_salvage.saved(data_place(world)))) == ("ours" if kept else None)
