# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore that waits goes on; what a recovered directory is left with; the second try of a server that can't be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _recovery
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _recovery_server, _state
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._options import RestoreOptions
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._run import RestoreRun
from support.restores import recovery_plan, restore_state
from support.scripted import Scripted
from support.walg_world import World, write_cluster

LSN, LATER = Target("lsn", "0/5000000"), Target("lsn", "0/6000000")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def restore(world: World) -> RestoreRun:
    return RestoreRun(Scripted(), world.instance, 9, 9)


# --- what waits goes on -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["paused", "recovered"])
def test_forward_recovers_in_the_same_directory_and_fetches_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    made, done = restore_state(world, "paused", target=LSN), []
    work = made.work_dirs()[-1]
    monkeypatch.setattr(_recovery_server, "stop_left_running", lambda path: done.append(("stop", path)))
    monkeypatch.setattr(RestoreRun, "_fetch", lambda *_arguments: done.append(("fetch", "")))

    def recover(_self: RestoreRun, given: _state.RestoreState, _wish: RestoreOptions, began: str) -> None:
        assert began == "moving on"
        assert Path(given.socket_dir).is_dir()
        assert (given.target, given.answer.target) == (LATER, LATER.as_dict())
        done.append(("recover", given.answer.action))
        given.state = state

    monkeypatch.setattr(RestoreRun, "_recover", recover)
    monkeypatch.setattr(RestoreRun, "swap", lambda _self, _marker, _wish: done.append(("swap", "")) or {})
    action = "pause" if state == "paused" else "promote"
    restore(world).forward(made, RestoreOptions("r1", LATER, action))
    assert done == [("stop", work), ("recover", action), *([] if state == "paused" else [("swap", "")])]
    assert Path(made.socket_dir).is_dir() is (state == "paused")
    _recovery_server.remove_directory(world.instance, made.socket_dir)


# --- what a recovered directory is left with --------------------------------------------------------------------------


@pytest.fixture
def recovered(world: World) -> tuple[_state.RestoreState, Path]:
    """As a server leaves its directory when it stops cleanly, with an old configuration from the base backup."""
    made = restore_state(world, "recovering")
    work = Path(made.work_dirs()[-1])
    write_cluster(work)
    for name in ("recovery.done", "postmaster.opts", "standby.signal"):
        (work / name).write_text("old")
    (work / "postgresql.auto.conf").write_text(
        "work_mem = '8MB'\nrecovery_target_time = 'x'\nprimary_conninfo = 'host=old'\narchive_mode = 'on'\n"
    )
    return made, work


def names(work: Path) -> list[str]:
    return sorted(path.name for path in work.iterdir())


CLUSTER = ["PG_VERSION", "global", "postgresql.auto.conf"]


def test_nothing_of_the_recovery_is_left(world: World, recovered: tuple[_state.RestoreState, Path]) -> None:
    made, work = recovered
    restore(world)._finish(made, str(work))
    assert names(work) == CLUSTER
    assert (work / "postgresql.auto.conf").read_text() == "work_mem = '8MB'\narchive_mode = 'on'\n"


@pytest.mark.parametrize("major", [11, 14])
def test_a_standby_has_its_signal_and_each_setting_once(
    world: World, recovered: tuple[_state.RestoreState, Path], major: int
) -> None:
    made, work = recovered
    made.standby = True
    made.recovery = recovery_plan(major=major, primary_conninfo="host=new")
    for _time in range(2):
        restore(world)._finish(made, str(work))
    signal, settings = ("recovery.conf", "recovery.conf") if major < 12 else ("standby.signal", "postgresql.auto.conf")
    assert names(work) == sorted([*CLUSTER, signal])
    text = (work / settings).read_text()
    for name in ("restore_command", "recovery_target_timeline", "primary_conninfo"):
        assert [line.split(" =")[0] for line in text.splitlines()].count(name) == 1
    assert "host=new" in text
    assert "host=old" not in text
    assert "wal-fetch standby" in text
    assert "work_mem = '8MB'\n" in (work / "postgresql.auto.conf").read_text()


@pytest.mark.parametrize(("named", "wanted"), [(None, "latest"), (2, "2")])
def test_a_named_timeline_stays_in_force(
    world: World, recovered: tuple[_state.RestoreState, Path], named: int | None, wanted: str
) -> None:
    made, work = recovered
    made.standby = True
    made.recovery = recovery_plan(stays_on=named)
    restore(world)._finish(made, str(work))
    assert f"recovery_target_timeline = '{wanted}'\n" in (work / "postgresql.auto.conf").read_text()


@pytest.mark.parametrize("major", [14, 15])
def test_a_copy_does_not_archive(world: World, recovered: tuple[_state.RestoreState, Path], major: int) -> None:
    made, work = recovered
    made.recovery = recovery_plan(major=major, archive="none")
    restore(world)._finish(made, str(work))
    lines = (work / "postgresql.auto.conf").read_text().splitlines()
    assert [line for line in lines if line.startswith("archive_mode")] == ["archive_mode = 'off'"]
    assert "archive_command = ''" in lines
    assert ("archive_library = ''" in lines) is (major == 15)


# --- a server that can't be read during recovery ----------------------------------------------------------------------


class Unreadable:
    """A server beside that can't be read; it goes on without."""

    directory = "/nowhere"

    def __init__(self) -> None:
        self.done: list[Any] = []

    def start(self, _recovery: Any, limits: Any) -> None:
        self.done.append(("start", limits))

    def wait(self, _action: str, _target: Target, _timeout: float) -> str:
        if self.done[-1] != ("start", None):
            raise _recovery_server.UnreadableError("hot standby is not possible")
        return "promoted"

    def kill(self) -> None:
        self.done.append("kill")


@pytest.mark.parametrize(
    ("action", "again"), [("promote", True), ("shutdown", True), ("pause", False), ("follow", False)]
)
def test_a_second_try_without_being_read(
    world: World, monkeypatch: pytest.MonkeyPatch, action: str, again: bool
) -> None:
    looked = type("Looked", (), {"limits": {"max_connections": 9}})
    monkeypatch.setattr(
        "ansible_collections.mapswipe.walg.plugins.module_utils._postgres._data_dir.inspect",
        lambda _path, _owner: looked,
    )
    server: Any = Unreadable()
    first = ("start", {"max_connections": 9})
    if again:
        assert restore(world)._through(server, _recovery.Recovery({}, {}), action, LSN) == "promoted"
        assert server.done == [first, "kill", ("start", None)]
        return
    with pytest.raises(WalgError, match="hot standby is not possible"):
        restore(world)._through(server, _recovery.Recovery({}, {}), action, LSN)
    assert server.done == [first]
