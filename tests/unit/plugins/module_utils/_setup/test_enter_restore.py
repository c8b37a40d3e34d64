# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore of a server in a container, seen from outside: where each part is done, and what becomes of both containers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _helper, _session
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _enter, _enter_restore
from support.helper_engine import HELPER, SERVER, EndedError, Helpers, Module, Work, end

DONE = {"changed": True, "restore": {"state": "done", "notes": ["Mind."]}}
SERVED, BESIDE = (SERVER, True, ""), (HELPER, False, "")


def answer_of(module: Module) -> dict[str, Any]:
    with pytest.raises(EndedError) as caught:
        _enter_restore.enter(module)
    caught.value.answer.pop("invocation", None)
    return caught.value.answer


def stopping(answer: _session.End) -> Callable[[Any], _session.End]:
    """Work that has the server's container stopped."""

    def work(offers: Any) -> _session.End:
        offers["stop"]({}, None)
        return answer

    return work


def down(engine: Helpers, status: str = "exited") -> None:
    engine.containers[0]["State"].update(Status=status, Pid=0)


def refused(text: str = "No.") -> _session.End:
    return _session.End({"fail": {"msg": text}}, 1)


def test_an_instance_of_this_machine(engine: Helpers, work: Work, tmp_path: Path) -> None:
    here = Module({"instance": "main", "config_dir": str(tmp_path / "etc")})
    assert _enter_restore.enter(here) == _enter_restore.WHOLE
    assert (engine.calls, work.where) == ([], [])


@pytest.mark.parametrize("answer", [refused(), end(changed=False, restore={"state": "done"})])
def test_a_rehearsal_that_ends_it(engine: Helpers, module: Module, work: Work, answer: _session.End) -> None:
    """What is refused, and what is done already, is known while the server runs, and nothing is made or stopped for it."""
    work.ends = [answer]
    told = answer_of(module)
    assert told.get("msg", "") == ("No." if "fail" in (answer.message or {}) else "")
    assert (work.where, engine.done()) == ([SERVED], [])


def test_a_rehearsal_without_an_answer(engine: Helpers, module: Module, work: Work) -> None:
    work.ends = [_session.End(None, 137)]
    assert "ended without an answer" in answer_of(module)["msg"]
    assert engine.done() == []


def test_a_restore_from_plan_to_look(engine: Helpers, module: Module, work: Work) -> None:
    looked = end(changed=False, restore={"state": "done", "started": False, "timeline": 3})
    work.ends = [end(changed=True), stopping(end(**DONE)), looked]
    told = answer_of(module)
    assert work.where == [SERVED, BESIDE, SERVED]
    assert engine.verbs() == ["run", "update", "stop", "update", "rm", "start"]
    assert (engine.of().restart, engine.of().status) == ("unless-stopped", "running")
    assert len(engine.containers) == 1
    assert told["changed"] is True
    assert (told["restore"]["timeline"], told["restore"]["started"]) == (3, True)
    (note,) = told["restore"]["notes"]
    assert "POSTGRES_PASSWORD" in note


def test_the_parts(engine: Helpers, module: Module, work: Work) -> None:
    """Inside, it is told which part of the work is meant there."""
    work.ends = [None]
    assert module_part(module) == _enter_restore.REHEARSAL
    work.ends = [end(changed=True), None]
    assert module_part(module) == _enter_restore.WHOLE
    engine.containers[1:] = []
    work.ends = [end(changed=True), stopping(end(**DONE)), None]
    assert module_part(module) == _enter_restore.LOOK
    module.check_mode = True
    work.ends = [None]
    assert module_part(module) == _enter_restore.WHOLE


def module_part(module: Module) -> str:
    hook, current, given = _enter.sys.excepthook, list(_enter._inside._current), dict(module.params)
    try:
        return _enter_restore.enter(module)
    finally:
        _enter.sys.excepthook = hook
        _enter._inside._current[:] = current
        module.params.update(given)


def test_a_look_that_fails(engine: Helpers, module: Module, work: Work) -> None:
    work.ends = [end(changed=True), stopping(end(**DONE)), refused("Not that server.")]
    told = answer_of(module)
    assert (told["failed"], told["msg"]) == (True, "Not that server.")
    assert engine.verbs()[-1] == "start"


def test_a_failure_before_the_stop_leaves_no_helper(engine: Helpers, module: Module, work: Work) -> None:
    work.ends = [end(changed=True), refused()]
    assert answer_of(module)["msg"] == "No."
    assert engine.verbs() == ["run", "rm"]
    assert engine.of().status == "running"


def test_a_failure_after_the_stop_keeps_the_helper(engine: Helpers, module: Module, work: Work) -> None:
    """Else the engine would start the server on what is half restored."""
    work.ends = [end(changed=True), stopping(refused())]
    assert answer_of(module)["msg"] == "No."
    assert engine.verbs() == ["run", "update", "stop"]
    assert (engine.of().restart, engine.of().status, len(engine.containers)) == ("no", "exited", 2)
    engine.calls.clear()
    work.ends = [end(**DONE), end(changed=False, restore={"state": "done"})]
    told = answer_of(module)
    assert (told["changed"], told["restore"]["started"]) == (True, True)
    assert engine.verbs() == ["update", "rm", "start"]
    assert (engine.of().restart, len(engine.containers)) == ("unless-stopped", 1)


def test_a_failure_that_had_a_helper_keeps_it(engine: Helpers, module: Module, work: Work) -> None:
    _helper.opened(engine, engine.of())
    engine.calls.clear()
    work.ends = [refused(), _session.End(None, 137)]
    for _turn in range(2):
        assert answer_of(module)["failed"] is True
    assert (work.where, engine.done(), len(engine.containers)) == ([BESIDE, BESIDE], [], 2)


@pytest.mark.parametrize("state", ["paused", "waiting", "recovering"])
def test_a_restore_that_goes_on_later_keeps_the_helper(engine: Helpers, module: Module, work: Work, state: str) -> None:
    answer = end(changed=True, restore={"state": state, "connect": "psql -h /tmp"})
    work.ends = [end(changed=True), stopping(answer)]
    told = answer_of(module)
    assert told["restore"] == {"state": state, "connect": f"docker exec -it {HELPER} psql -h /tmp"}
    assert engine.verbs() == ["run", "update", "stop"]
    assert (engine.of().restart, len(engine.containers)) == ("no", 2)


@pytest.mark.parametrize(
    ("state", "changed", "starts"),
    [
        ("done", True, True),
        ("rolled back", True, True),
        ("done", False, False),
        ("discarded", True, False),
        ("unknown", False, False),
    ],
)
def test_the_helper_goes_when_nothing_is_left(
    engine: Helpers, module: Module, work: Work, state: str, changed: bool, starts: bool
) -> None:
    down(engine)
    work.ends = [end(changed=changed, restore={"state": state}), end(changed=False, restore={"state": state})]
    told = answer_of(module)
    assert engine.verbs() == ["run", "update", "update", "rm", *(["start"] if starts else [])]
    assert (engine.of().restart, len(engine.containers)) == ("unless-stopped", 1)
    assert work.where == [BESIDE, SERVED][: 1 + starts]
    assert told["restore"].get("started") is {True: starts, False: None}[state in ("done", "rolled back")]
    assert bool(told["restore"].get("notes")) is (state == "done")


def test_the_work_itself_starts_it(engine: Helpers, module: Module, work: Work) -> None:
    def restore(offers: Any) -> _session.End:
        offers["stop"]({}, None)
        offers["start"]({}, None)
        return end(**DONE)

    work.ends = [end(changed=True), restore]
    assert answer_of(module)["restore"]["started"] is True
    assert engine.verbs() == ["run", "update", "stop", "update", "start", "rm"]
    assert work.where == [SERVED, BESIDE]


def test_started_and_failed(engine: Helpers, module: Module, work: Work) -> None:
    def restore(offers: Any) -> _session.End:
        offers["stop"]({}, None)
        offers["start"]({}, None)
        return refused()

    work.ends = [end(changed=True), restore]
    answer_of(module)
    assert (engine.verbs()[-1], engine.of().status, engine.of().restart) == ("rm", "running", "unless-stopped")


def test_a_server_that_runs_in_spite_of_a_helper(engine: Helpers, module: Module, work: Work) -> None:
    """Someone has started it while a restore was to go on: the restore itself asks for its stop."""
    _helper.opened(engine, engine.of())
    engine.calls.clear()
    work.ends = [end(changed=False, restore={"state": "done"})]
    answer_of(module)
    assert work.where == [BESIDE]
    assert engine.verbs() == ["rm"]


@pytest.mark.parametrize("status", ["paused", "restarting", "removing"])
@pytest.mark.parametrize("check", [False, True])
def test_a_container_that_is_neither_up_nor_down(
    engine: Helpers, module: Module, work: Work, status: str, check: bool
) -> None:
    down(engine, status)
    module.check_mode = check
    told = answer_of(module)
    assert (told["failed"], told["found"]) == (True, status)
    assert (work.where, engine.done()) == ([], [])


@pytest.mark.parametrize("answer", [end(changed=True, restore={"state": "planned"}), refused()])
def test_check_mode_with_a_server(engine: Helpers, module: Module, work: Work, answer: _session.End) -> None:
    module.check_mode = True
    work.ends = [answer]
    answer_of(module)
    assert (work.where, engine.done()) == ([SERVED], [])


@pytest.mark.parametrize("answer", [end(changed=True, restore={"state": "planned"}), refused()])
def test_check_mode_without_a_server(engine: Helpers, module: Module, work: Work, answer: _session.End) -> None:
    module.check_mode = True
    down(engine)
    work.ends = [answer, answer]
    answer_of(module)
    assert (work.where, engine.verbs()) == ([BESIDE], ["run", "rm"])
    assert (engine.of().status, engine.of().restart) == ("exited", "unless-stopped")
    _helper.opened(engine, engine.of())
    engine.calls.clear()
    answer_of(module)
    assert engine.verbs() == []


def test_an_engine_that_fails(engine: Helpers, module: Module, work: Work) -> None:
    engine.refusing = "stop"
    work.ends = [end(changed=True), stopping(end(**DONE))]
    assert answer_of(module)["msg"].startswith("Cannot stop the container: ")
    engine.refusing = "start"
    engine.calls.clear()
    down(engine)
    work.ends = [end(**DONE)]
    assert answer_of(module)["msg"].startswith("Cannot start the container: ")
