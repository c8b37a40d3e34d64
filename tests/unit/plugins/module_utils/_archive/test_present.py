# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the archive leads to what the server holds now: what its archiver says, and what will never be sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _present
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._present import Present
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _wal
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._server import Server, ServerFacts
from support.scripted import Scripted
from support.walg_world import SIZE, World, inventory, segment, shown, write_cluster


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    write_cluster(made.data_dir)
    return made


def facts(world: World) -> ServerFacts:
    return ServerFacts(**json.loads(world.facts().stdout))


def now(world: World, *ready: int, **changes: Any) -> Present:
    """What the server says at the end of segment 5, with files that wait."""
    status = world.data_dir / "pg_wal" / "archive_status"
    status.mkdir(parents=True, exist_ok=True)
    for number in ready:
        (status / f"{segment(1, number)}.ready").touch()
    (status / f"{segment(1, 1)}.done").touch()
    return _present.ask(Server(Scripted(calls=[world.present(**changes)]), world.instance.cluster), facts(world))


def test_what_waits(world: World) -> None:
    assert now(world, 4, 5).waiting == {segment(1, 4), segment(1, 5)}
    assert now(world, 4, 5).trouble() == ""


def test_a_server_without_that_directory(world: World) -> None:
    assert (
        _present.ask(Server(Scripted(calls=[world.present()]), world.instance.cluster), facts(world)).waiting
        == frozenset()
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"fails": True, "failed_wal": "W", "failed_time": "T"},
            "the last try to archive W failed at T; 2 files wait in pg_wal, the first is ",
        ),
        ({"idle": 901.0}, "nothing was archived for 901 s; 2 files wait in pg_wal, the first is "),
    ],
)
def test_trouble(world: World, changes: dict[str, Any], text: str) -> None:
    assert now(world, **changes).trouble() == "", "nothing waits"
    assert now(world, 4, 5, **changes).trouble() == text + segment(1, 4)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, ""),
        ({"mode": "always"}, ""),
        ({"mode": "off"}, "archive_mode is off"),
        ({"library": "other"}, "archive_library is 'other'"),
        ({"command": "cp %p /x"}, "archive_command is 'cp %p /x'"),
        ({"command": ""}, "archive_command is ''"),
    ],
)
def test_who_archives(world: World, changes: dict[str, Any], text: str) -> None:
    assert _present.not_archiving(now(world, **changes)) == text


@pytest.mark.parametrize(("last", "older"), [(5, False), (6, True), (9, True)])
def test_an_archive_that_is_ahead_of_the_server(world: World, last: int, older: bool) -> None:
    """Its data directory is an older state; what it writes can't follow."""
    archive = inventory(shown(1, 1, last))
    present = now(world)
    if not older:
        _present.refuse_older(present, facts(world), archive, "s3://b")
        _present.refuse_older(present, facts(world), inventory(shown(2, 1, 9)), "s3://b")
        _present.refuse_older(now(world, lsn=_wal.format_lsn(6 * SIZE)), facts(world), archive, "s3://b")
        return
    with pytest.raises(WalgError, match=r"The archive s3://b is ahead of the server .* Restore the latest state"):
        _present.refuse_older(present, facts(world), archive, "s3://b")


@pytest.mark.parametrize(
    ("last", "start", "ready", "lost"),
    [(5, 2, (), []), (3, 2, (), [4, 5]), (3, 2, (5,), [4]), (3, 2, (4, 5), []), (None, 4, (), [4, 5])],
)
def test_segments_that_will_never_be_sent(
    world: World, last: int | None, start: int, ready: tuple[int, ...], lost: list[int]
) -> None:
    archive = inventory(shown(1, 1, last)) if last else inventory(shown(2, 1, 1))
    found = _present.lost(now(world, *ready), facts(world), archive, start * SIZE)
    assert found == [segment(1, number) for number in lost]
