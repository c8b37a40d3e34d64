# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job of an instance in a container: it goes on in there as the owner, and outside its exit code is that of the inside."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _session
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _exit_codes
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _record
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import JobSpec
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _enter, _main, _voice
from support.helper_engine import SERVER, Helpers, Work, placed, write
from support.walg_world import World


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Helpers:
    made = Helpers()
    monkeypatch.setattr(_main, "Runner", lambda: made)
    return made


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    made = Work([])
    monkeypatch.setattr(_session, "work", made)
    return made


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write(placed(tmp_path), tmp_path / "etc")
    return tmp_path / "etc"


def options(config: Path) -> argparse.Namespace:
    return argparse.Namespace(config_dir=str(config), instance="main")


def test_an_instance_of_this_machine(engine: Helpers, work: Work, tmp_path: Path) -> None:
    assert _main.main(["backup", "--config-dir", str(tmp_path / "none")]) == _exit_codes.FAILED
    assert (engine.calls, work.where) == ([], [])


@pytest.mark.parametrize("code", [0, 1, 75])
def test_the_exit_code(engine: Helpers, work: Work, config: Path, capfd: pytest.CaptureFixture[str], code: int) -> None:
    engine.containers[0]["Config"]["User"] = "999:998"
    run = {"verb": "backup", "occasion": "failure" if code == 1 else "", "complaint": "no"}
    run |= {"started": "", "ended": "", "seconds": 1, "code": code, "changed": False, "text": "no"}
    work.ends = [_session.End({"runs": [run]}, code)]
    assert _main.main(["backup", "--instance", "main", "--config-dir", str(config)]) == code
    assert work.where == [(SERVER, True, "999:998")]
    assert capfd.readouterr() == ("", "walg-job[main]: no\n" if code else "")  # cron mails what is printed


def test_work_that_was_killed_in_there_is_told(
    engine: Helpers, work: Work, config: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    work.ends = [_session.End(None, 137)]
    assert _main.main(["backup", "--config-dir", str(config)]) == 137
    assert "ended with exit code 137, and without a word" in capfd.readouterr().err
    assert engine.done() == []


@pytest.mark.parametrize("status", ["exited", "paused", "gone"])
def test_a_container_that_does_not_run(
    engine: Helpers, work: Work, config: Path, capfd: pytest.CaptureFixture[str], status: str
) -> None:
    engine.containers[0]["State"].update(Status=status, Pid=0)
    if status == "gone":
        engine.containers.clear()
    assert _main.main(["backup", "--config-dir", str(config)]) == _exit_codes.FAILED
    said = capfd.readouterr().err
    wanted = "There is no container" if status == "gone" else f"The container {SERVER} is {status}."
    assert said.startswith(f"walg-job[main]: {wanted}")
    assert work.where == []


def test_inside_it_is_the_owner_s(
    engine: Helpers, work: Work, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "world").mkdir()
    there = Path(placed(tmp_path).directories()["config_dir"])
    there.mkdir(parents=True)
    world = World(tmp_path / "world")
    instance = replace(world.instance, config_dir=str(there))
    (there / "main.env").write_text(_record.render(instance))
    done: list[str] = []
    monkeypatch.setattr(_enter, "dropper", lambda user: lambda: done.append(user.name))
    monkeypatch.setattr(_enter._guard, "end_with_parent", lambda: done.append("ends with its parent"))
    work.ends = [None, None]
    given = options(config)
    assert _enter.go_inside(_voice.Voice(engine, given, JobSpec()), placed(tmp_path)) is None
    assert (given.config_dir, done) == (str(there), [instance.owner.name, "ends with its parent"])
    monkeypatch.setattr(_enter, "dropper", lambda _user: None)  # it is the owner already
    assert _enter.go_inside(_voice.Voice(engine, options(config), JobSpec()), placed(tmp_path)) is None
    assert len(done) == 2
    assert engine.done() == []
