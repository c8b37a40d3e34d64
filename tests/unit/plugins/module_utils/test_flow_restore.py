# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restore's way from the marker to the swap, cut off at every point. Directories are real; no server runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils import (
    _backups,
    _data_dir,
    _flow_restore,
    _marker,
    _restore_plan,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._data_dir import DataDir
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._files import rename_directory
from ansible_collections.mapswipe.walg.plugins.module_utils._flow_restore import Restore, standing
from ansible_collections.mapswipe.walg.plugins.module_utils._marker import STATES, Marker
from ansible_collections.mapswipe.walg.plugins.module_utils._restore_plan import RestorePlan
from support.scripted import Call, Scripted
from support.walg_world import IDENTIFIER, SIZE, World, listed, segment, write_cluster

NAME = f"base_{segment(1, 2)}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def marker(world: World, state: str, request: str = "r1", keeps_old: bool = True) -> Marker:
    data = os.path.realpath(world.data_dir)
    digest = _restore_plan.request_digest(request, data)
    return Marker(
        request,
        digest,
        state,
        NAME,
        IDENTIFIER,
        data,
        f"{data}.restore-{request}",
        f"{data}.before-{request}",
        keeps_old,
    )


def plan(world: World, last_segments: list[str] | None = None, timeline: int = 1) -> RestorePlan:
    data = str(world.data_dir)
    (backup,) = _backups.parse_list(json.dumps([listed(1, 2, "2026-01-02T00:00:00Z")]))
    found = _data_dir.look(data, None)
    segments = [segment(1, 5)] if last_segments is None else last_segments
    work, aside = f"{data}.restore-r1", f"{data}.before-r1"
    digest = _restore_plan.request_digest("r1", data)
    return RestorePlan("r1", digest, backup, [], timeline, segments, SIZE, data, work, aside, found, 10**12)


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
        return "finish" if same else "cut off"
    if state == "done" and same:
        return "done" if place is cluster else "lost again"
    return "new"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("state", STATES)
def test_standing(world: World, state: str, same: bool, place: Callable[[World], None]) -> None:
    place(world)
    written = marker(world, state)
    _marker.save(world.instance, written)
    wanted = expected(state, same, place)
    request = "r1" if same else "r2"
    if wanted in ("cut off", "lost again"):
        with pytest.raises(WalgError, match="was cut off while" if wanted == "cut off" else "it was lost again"):
            standing(world.instance, request)
        return
    assert standing(world.instance, request) == (wanted, written)


def test_standing_without_a_marker(world: World) -> None:
    assert standing(world.instance, "r1")[0] == "new"


def test_a_marker_of_another_directory_says_nothing_of_this_one(world: World) -> None:
    _marker.save(world.instance, replace(marker(world, "done"), data_dir="/elsewhere"))
    assert standing(world.instance, "r1")[0] == "new"


def test_standing_checks_the_request_first(world: World) -> None:
    with pytest.raises(WalgError, match="Restore request"):
        standing(world.instance, "../r1")


# --- the swap ---------------------------------------------------------------------------------------------------------


def tell(path: Path, what: str) -> None:
    path.mkdir()
    (path / "who").write_text(what)


def told(path: Path) -> str | None:
    return (path / "who").read_text() if path.exists() else None


@pytest.fixture
def three(tmp_path: Path) -> tuple[Path, Path, Path]:
    return tmp_path / "data", tmp_path / "data.restore-r1", tmp_path / "data.before-r1"


def swap(three: tuple[Path, Path, Path], keeps_old: bool) -> None:
    data, work, aside = map(str, three)
    _flow_restore._swap(data, work, aside, keeps_old)


SWAPS = [
    # (what, data, work, aside, keeps old) -> (data, aside)
    ("from the start", ("old", "new", None, True), ("new", "old")),
    ("killed between the renames", (None, "new", "old", True), ("new", "old")),
    ("killed after both", ("new", None, "old", True), ("new", "old")),
    ("nothing was there before", (None, "new", None, False), ("new", None)),
    ("nothing was there, killed after", ("new", None, None, False), ("new", None)),
]


@pytest.mark.parametrize(("before", "after"), [row[1:] for row in SWAPS], ids=[row[0] for row in SWAPS])
def test_swap_ends_in_the_right_place_from_every_point(
    three: tuple[Path, Path, Path],
    before: tuple[str | None, str | None, str | None, bool],
    after: tuple[str, str | None],
) -> None:
    for path, what in zip(three, before[:3], strict=True):
        if what:
            tell(path, what)
    for _again in range(2):  # what is done is done
        swap(three, before[3])
        assert (told(three[0]), told(three[1]), told(three[2])) == (after[0], None, after[1])


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_swap_that_dies_at_a_rename_is_taken_up(
    three: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """The real one dies at its first, at its second, and behind its second rename."""
    data, work, aside = three
    tell(data, "old")
    tell(work, "new")
    done: list[str] = []

    def dying(source: str, target: str) -> None:
        if len(done) == renames:
            raise KeyboardInterrupt
        rename_directory(source, target)
        done.append(source)
        if renames == 2 and len(done) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_flow_restore, "rename_directory", dying)
        with pytest.raises(KeyboardInterrupt):
            swap(three, True)
    assert "old" in (told(data), told(aside))
    assert "new" in (told(data), told(work))
    swap(three, True)
    assert (told(data), told(work), told(aside)) == ("new", None, "old")


@pytest.mark.parametrize("keeps_old", [True, False])
def test_a_directory_that_appeared_meanwhile_is_not_replaced(three: tuple[Path, Path, Path], keeps_old: bool) -> None:
    """A service manager or a package makes PGDATA anew between a killed swap and the next run."""
    data, work, aside = three
    tell(work, "new")
    data.mkdir()
    if keeps_old:
        tell(aside, "old")
    with pytest.raises(WalgError, match="the target exists"):
        swap(three, keeps_old)
    assert os.listdir(data) == []
    assert told(work) == "new"


def test_a_swap_that_has_nothing_left_to_swap(three: tuple[Path, Path, Path]) -> None:
    tell(three[2], "old")
    with pytest.raises(WalgError, match="Somebody moved them") as caught:
        swap(three, True)
    assert str(three[2]) in caught.value.msg
    assert told(three[2]) == "old"


# --- a run that was killed in the swap, taken up by the next one ------------------------------------------------------


def started(world: World, timeline: int = 2, ready: str = "1\n", **facts: Any) -> list[Call]:
    """pg_ctl starts the restored server, which answers, is out of recovery, and is who it should be."""
    log = os.path.join(world.instance.log_dir, "server.log")
    pg_ctl = [
        os.path.join(world.instance.cluster.bin_dir, "pg_ctl"),
        "-D",
        str(world.data_dir),
        "-W",
        "-l",
        log,
        "start",
    ]
    return [
        Call(pg_ctl),
        world.psql("1\n", stdin="SELECT 1"),
        world.psql(ready, stdin="NOT pg_is_in_recovery()"),
        world.facts(timeline=timeline, **facts),
    ]


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
def test_swap_from_every_state(world: World, state: str, places: tuple[str | None, ...]) -> None:
    given = marker(world, state)
    paths = [Path(given.data_dir), Path(given.work_dir), Path(given.aside_dir)]
    for path, what in zip(paths, places, strict=True):
        if what:
            tell(path, what)
    runner = Scripted(calls=started(world))
    given.result = {"backup": NAME}
    done = Restore(runner, world.instance, 9, 9).swap(given)
    runner.finish()
    assert [told(path) for path in paths] == ["new", None, "old"]
    assert (done["backup"], done["timeline"]) == (NAME, 2)
    saved = _marker.load(world.instance)
    assert saved is not None
    assert (saved.state, saved.result) == ("done", done)


def test_the_marker_says_swapping_before_the_first_rename(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = marker(world, "recovered")
    tell(Path(given.data_dir), "old")
    tell(Path(given.work_dir), "new")
    seen: list[str] = []

    def watched(*_paths: Any) -> None:
        saved = _marker.load(world.instance)
        seen.append(saved.state if saved else "none")
        raise WalgError("killed here")

    monkeypatch.setattr(_flow_restore, "rename_directory", watched)
    with pytest.raises(WalgError, match="killed here"):
        Restore(Scripted(), world.instance, 9, 9).swap(given)
    assert seen == ["swapping"]
    assert standing(world.instance, "r1")[0] == "finish"


def test_a_server_started_on_the_old_directory_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = marker(world, "recovered")
    tell(Path(given.data_dir), "old")
    tell(Path(given.work_dir), "new")
    monkeypatch.setattr(_data_dir, "servers_on", lambda _path: [4711])
    with pytest.raises(WalgError, match="A server was started on"):
        Restore(Scripted(), world.instance, 9, 9).swap(given)
    assert (told(Path(given.data_dir)), told(Path(given.work_dir))) == ("old", "new")


def test_a_restored_server_of_another_identity_is_not_done(world: World) -> None:
    given = marker(world, "starting")
    tell(Path(given.data_dir), "new")
    runner = Scripted(calls=started(world, system_identifier="7"))
    with pytest.raises(WalgError, match="has system identifier 7"):
        Restore(runner, world.instance, 9, 9).swap(given)
    assert standing(world.instance, "r1")[0] in ("finish", "new")


# --- never silently less ----------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "system_identifier": IDENTIFIER,
    "timeline": 2,
    "replayed_lsn": "0/5000148",
    "last_commit": "2026-01-01 00:00:00+00",
}
LESS = [
    ("all replayed", {}, None, None),
    ("replayed beyond what was listed", {"replayed_lsn": "0/9000000"}, None, None),
    ("the first record of the last segment", {"replayed_lsn": "0/5000001"}, None, None),
    ("only up to the last segment", {"replayed_lsn": "0/5000000"}, None, "not all of it was replayed"),
    ("stopped in the segment before", {"replayed_lsn": "0/4FFFFFF"}, None, "not all of it was replayed"),
    ("a number, not a text, decides", {"replayed_lsn": "0/10000000"}, None, None),
    ("nothing was replayed", {"replayed_lsn": None}, None, "not all of it was replayed"),
    ("another cluster", {"system_identifier": "7"}, None, "has system identifier 7"),
    ("no new timeline", {"timeline": 1}, None, "is not above 1"),
    ("nothing was listed", {"replayed_lsn": None}, [], None),
    (
        "the last of several timelines counts",
        {"replayed_lsn": "0/5000148"},
        [segment(1, 4), segment(2, 9)],
        "not all of it",
    ),
]


@pytest.mark.parametrize(("proof", "segments", "text"), [row[1:] for row in LESS], ids=[row[0] for row in LESS])
def test_refuse_less(world: World, proof: dict[str, Any], segments: list[str] | None, text: str | None) -> None:
    made = plan(world, segments)
    if text is None:
        _flow_restore._refuse_less(made, {**GOOD, **proof})
        return
    with pytest.raises(WalgError, match=text):
        _flow_restore._refuse_less(made, {**GOOD, **proof})


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
    made = plan(world)
    with pytest.raises(WalgError, match=text) as caught:
        Restore(Scripted(calls=[fetch(world, **answer)]), world.instance, 9, 9).run(made, None)
    assert "was not touched" in caught.value.msg
    assert sorted(os.listdir(world.data_dir.parent)) == ["data"]
    assert told(world.data_dir) == "old"
    assert standing(world.instance, "r1")[0] == "new"


@pytest.mark.parametrize("state", STATES)
def test_leftovers_are_removed_by_the_marker_and_only_before_the_swap(world: World, state: str) -> None:
    before = marker(world, state, "r0")
    for path in (Path(before.work_dir), Path(before.aside_dir), Path(f"{world.data_dir}.restore-other")):
        tell(path, path.name)
    runner = Scripted(calls=[fetch(world, rc=1)])
    with pytest.raises(WalgError, match="Fetching the base backup"):
        Restore(runner, world.instance, 9, 9).run(plan(world), before)
    left = ["data.before-r0", "data.restore-other"]
    if state not in ("fetching", "recovering", "recovered"):
        left.append("data.restore-r0")
    assert sorted(os.listdir(world.data_dir.parent)) == sorted(left)


def test_the_marker_stands_before_the_directory_does(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed right after mkdir, the next run has to know that the directory is ours."""
    seen: list[tuple[str, bool]] = []

    def mkdir(path: str, *_owner: int) -> None:
        saved = _marker.load(world.instance)
        assert saved is not None
        seen.append((saved.state, os.path.exists(path)))
        raise WalgError("killed here")

    monkeypatch.setattr(_flow_restore, "_make_private", mkdir)
    with pytest.raises(WalgError, match="killed here"):
        Restore(Scripted(), world.instance, 9, 9).run(plan(world), None)
    assert seen == [("fetching", False)]


def test_the_directory_is_private_while_it_is_filled(world: World) -> None:
    modes: list[int] = []

    class Looking(Scripted):
        def run(self, argv: Any, **options: Any) -> Any:
            modes.append(os.stat(argv[-2]).st_mode & 0o777)
            return super().run(argv, **options)

    with pytest.raises(WalgError, match="Fetching"):
        Restore(Looking(calls=[fetch(world, rc=1)]), world.instance, 9, 9).run(plan(world), None)
    assert modes == [0o700]


@pytest.mark.parametrize(("kind", "keeps"), [("absent", False), ("empty", True), ("damaged", True), ("cluster", True)])
def test_what_is_kept(world: World, kind: str, keeps: bool) -> None:
    made = replace(plan(world), found=DataDir(str(world.data_dir), kind))
    assert Restore(Scripted(), world.instance, 9, 9)._new_marker(made).keeps_old is keeps
