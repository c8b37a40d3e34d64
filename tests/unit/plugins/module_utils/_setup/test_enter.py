# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module whose instance's server runs in a container: where it goes on, and how it ends outside."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _placed, _session
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _enter
from support.helper_engine import HELPER, SERVER, EndedError, Helpers, Module, Work, end, placed, write

Enter = Callable[..., dict[str, Any]]


def answer_of(module: Module, *args: Any) -> dict[str, Any]:
    with pytest.raises(EndedError) as caught:
        _enter.enter(module, *args)
    caught.value.answer.pop("invocation", None)
    return caught.value.answer


def finished(module: Module, offers: Any = None, complete: Any = None) -> dict[str, Any]:
    """The answer of a module that offers something of its own, or completes what comes from inside."""
    outside = _enter.of(module, offers)
    assert outside is not None
    end = outside.served()
    assert end is not None
    with pytest.raises(EndedError) as caught:
        outside.finish(end, complete)
    caught.value.answer.pop("invocation", None)
    return caught.value.answer


def test_an_instance_of_this_machine(engine: Helpers, work: Work, tmp_path: Path) -> None:
    here = Module({"instance": "main", "config_dir": str(tmp_path / "etc")})
    _enter.enter(here)
    assert _enter.of(here) is None
    assert (engine.calls, work.where) == ([], [])


def test_a_record_that_is_planned(engine: Helpers, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_placed.PLANNED, _placed.render(placed(tmp_path)))
    given = {"instance": "main", "config_dir": str(tmp_path / "none")}
    _enter.enter(Module(dict(given)))
    work.ends = [end(changed=True)]
    assert answer_of(Module(given, check_mode=True)) == {"changed": True}
    assert work.where == [(SERVER, True, "")]
    assert len(engine.calls) == 1


def test_an_answer(engine: Helpers, module: Module, work: Work) -> None:
    engine.containers[0]["Config"]["User"] = "999:998"
    work.ends = [end(changed=False, path="/x")]
    assert finished(module, complete=lambda answer: answer.update(more=1)) == {
        "changed": False,
        "path": "/x",
        "more": 1,
    }
    assert work.where == [(SERVER, True, "999:998")]
    assert engine.done() == []


def test_a_failure(engine: Helpers, module: Module, work: Work) -> None:
    work.ends = [_session.End({"fail": {"msg": "No.", "found": 3}}, 1)]
    assert finished(module, complete=lambda _answer: pytest.fail("not a good one")) == {
        "failed": True,
        "msg": "No.",
        "found": 3,
    }
    assert engine.done() == []


def test_no_answer(engine: Helpers, module: Module, work: Work) -> None:
    work.ends = [_session.End(None, 137)]
    answer = answer_of(module)
    assert answer["msg"] == (
        f"The work in the container {SERVER} ended without an answer (exit code 137). Did the container end? Run again."
    )
    assert engine.done() == []


def test_the_work_can_t_be_done(engine: Helpers, module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise WalgError("Not in there.", found=1)

    monkeypatch.setattr(_session, "work", fail)
    answer = answer_of(module)
    assert (answer["failed"], answer["msg"], answer["found"]) == (True, "Not in there.", 1)
    engine.containers.clear()
    assert answer_of(module)["msg"] == f"There is no container '{SERVER}' on this machine; there are: none."


def test_what_is_offered(engine: Helpers, module: Module, work: Work) -> None:
    def ask(offers: Any) -> _session.End:
        assert offers["more"]({}, None) == 5
        with pytest.raises(_session.AgainError):
            offers["restart"]({}, None)
        offers["warn"]({"text": "Mind."}, None)
        return end(changed=False)

    work.ends = [ask]
    answer = finished(module, offers={"more": lambda _message, _descriptor: 5})
    assert (answer, module.warnings) == ({"changed": True}, ["Mind."])
    assert engine.verbs() == ["restart"]


def test_a_restart_is_a_change_and_begins_again(engine: Helpers, module: Module, work: Work) -> None:
    pids = []

    def again(offers: Any) -> _session.End:
        pids.append(engine.of().pid)
        offers["restart"]({}, None)
        pytest.fail("the work ends with it")

    work.ends = [again, again, end(changed=False)]
    assert answer_of(module) == {"changed": True}
    assert engine.verbs() == ["restart", "restart"]
    assert work.where == [(SERVER, True, "")] * 3
    assert pids[0] != pids[1] == 4712


def test_a_container_that_did_not_come_back(engine: Helpers, module: Module, work: Work) -> None:
    def again(offers: Any) -> None:
        try:
            offers["restart"]({}, None)
        finally:
            engine.containers[0]["State"].update(Status="exited", Pid=0)

    work.ends = [again]
    assert answer_of(module)["msg"].startswith(f"The container {SERVER} is exited.")


@pytest.mark.parametrize("status", ["exited", "paused", "created"])
def test_a_server_is_needed(engine: Helpers, module: Module, work: Work, status: str) -> None:
    engine.containers[0]["State"].update(Status=status, Pid=0)
    answer = answer_of(module)
    assert (answer["failed"], answer["found"]) == (True, status)
    assert (engine.done(), work.where) == ([], [])


def test_files_are_reached_where_the_server_runs(engine: Helpers, module: Module, work: Work) -> None:
    work.ends = [end(changed=False)]
    answer_of(module, _enter.FILES)
    assert (work.where, engine.done()) == ([(SERVER, True, "")], [])


def test_files_are_reached_beside(engine: Helpers, module: Module, work: Work) -> None:
    """A helper that was there stays: a restore needs it."""
    engine.containers[0]["State"].update(Status="exited", Pid=0)
    work.ends = [end(changed=False), _session.End({"fail": {"msg": "No."}}, 1), end(changed=False)]
    answer_of(module, _enter.FILES)
    assert answer_of(module, _enter.FILES)["msg"] == "No."
    assert work.where == [(HELPER, False, "")] * 2
    assert engine.verbs() == ["run", "rm"] * 2
    assert len(engine.containers) == 1
    outside = _enter.of(module)
    assert outside
    _enter._helper.opened(engine, outside.container)
    engine.calls.clear()
    answer_of(module, _enter.FILES)
    assert engine.verbs() == []


def test_directories_of_the_machine_are_answered(engine: Helpers, work: Work, tmp_path: Path) -> None:
    config = tmp_path / "etc"
    where = placed(tmp_path)
    write(where, config)
    given = {"config_dir": str(config), "cron_dir": str(tmp_path / "cron"), "state_dir": "/not/used"}
    module = Module({"instance": "main", "directories": dict(given)})
    work.ends = [end(changed=False, directories={**where.directories(), "cron_dir": "/etc/cron.d"})]
    told = answer_of(module)["directories"]
    assert told == {**where.directories(), "config_dir": given["config_dir"], "cron_dir": given["cron_dir"]}
    other = Module({"instance": "main", "config_dir": str(config)})
    work.ends = [end(changed=False, directories=where.directories())]
    assert answer_of(other)["directories"]["config_dir"] == str(config)
    assert engine.done() == []


def test_servers_are_looked_for_by_the_machine_s_path(
    engine: Helpers, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    monkeypatch.setattr(_enter._servers, "servers_on", lambda path: looked.append(path) or [17])
    volume = engine.containers[0]["Mounts"][0]
    engine.containers[0]["HostConfig"]["Tmpfs"] = {"/var/lib/postgresql/data/tmp": ""}
    outside = _enter.of(module)
    assert outside

    def ask(path: str) -> Any:
        return outside.offers["servers"]({"path": path}, None)

    assert ask(volume["Destination"]) == [17]
    assert ask(f"{volume['Destination']}/14/main") == [17]
    assert looked == [volume["Source"], f"{volume['Source']}/14/main"]
    assert ask("/elsewhere") == ask(f"{volume['Destination']}-2") == []
    assert ask("/var/lib/postgresql/data/tmp/x") == []  # in memory: no path of the machine
    assert len(looked) == 2


def test_inside_options_mean_what_they_mean_there(
    engine: Helpers, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_enter.sys, "excepthook", _enter.sys.excepthook)
    monkeypatch.setattr(_enter._inside, "_current", [])
    where = placed(tmp_path)
    config = tmp_path / "etc"
    write(where, config)

    def inside(served: bool) -> Callable[[Any], None]:
        def enter(_offers: Any) -> None:
            line: Any = None
            _enter._inside.enter(_enter._inside.Inside(line, "m", served))

        return enter

    def module() -> Module:
        directories = {"config_dir": str(config), "cron_dir": "/etc/cron.d"}
        return Module(
            {"instance": "main", "directories": directories, "cluster": {"data_dir": "", "os_user": None}}, True
        )

    work.ends = [inside(True)]
    served = module()
    _enter.enter(served)
    assert served.params["directories"] == {"cron_dir": "/etc/cron.d", **where.directories()}
    assert served.params["cluster"] == {"data_dir": "", "os_user": None, "service": "container"}
    engine.containers[0]["State"].update(Status="exited", Pid=0)
    monkeypatch.setattr(_enter.os.path, "exists", lambda path: path == "/usr/lib/postgresql/14/bin/pg_ctl")
    for user, owner in (("", "postgres"), ("root", "postgres"), ("0:0", "postgres"), ("999:998", "999")):
        engine.containers[0]["Config"]["User"] = user
        work.ends = [inside(False)]
        beside = module()
        _enter.enter(beside, _enter.FILES)
        assert beside.params["cluster"] == {
            "data_dir": "/var/lib/postgresql/data",
            "bin_dir": "/usr/lib/postgresql/14/bin",
            "socket_dir": "/var/run/postgresql",
            "os_user": owner,
            "service": "container",
        }
    work.ends = [inside(True)]
    engine.containers[0]["State"].update(Status="running", Pid=os.getpid())
    other = Module({"instance": "main", "config_dir": str(config)})
    _enter.enter(other)
    assert other.params["config_dir"] == where.directories()["config_dir"]
