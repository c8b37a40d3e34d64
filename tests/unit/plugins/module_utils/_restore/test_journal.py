# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The swap on real directories, killed before and after every step: taken on it ends in the new state, back in the old one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _mounts
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _data_dir
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _journal, _layout
from support.restores import tell, told

Entries = list[dict[str, Any]]
ENTRY = "PG_14_202107181"


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _fd: None)


def tree(root: Path) -> dict[str, str]:
    """Every path with its content: what a file says, where a link leads."""
    found = {}
    for path in sorted(root.rglob("*")):
        kind = f"-> {os.readlink(path)}" if path.is_symlink() else path.read_text() if path.is_file() else "directory"
        found[str(path.relative_to(root))] = kind
    return found


def calls(_directory: str, function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def part(path: Path, what: str) -> None:
    path.mkdir(parents=True, exist_ok=True)
    (path / "PG_VERSION").write_text(what)
    (path / "file").write_text(what)


def prepare(root: Path, mounts: set[str], monkeypatch: pytest.MonkeyPatch, *, old: bool = True) -> Entries:
    """A cluster with a tablespace and a WAL directory of its own, and a restored one beside each of its places."""
    paths = {"": root / "data", "pg_wal": root / "wal", "pg_tblspc/17": root / "space"}
    if mounts:
        points = [str(root / name) for name in sorted(mounts)]
        monkeypatch.setattr(
            _mounts, "at_or_below", lambda path: [one for one in points if f"{one}/".startswith(f"{path}/")]
        )
    for path in paths.values():
        if old:
            part(path / ENTRY if path.name == "space" else path, f"old {path.name}")
        elif path.name in mounts:
            path.mkdir(parents=True)
            (path / "lost+found").mkdir()
    places = [_layout.place(str(paths[link]), link, "r1") for link in ("pg_tblspc/17", "pg_wal", "")]
    data = places[-1]
    for place in places:
        part(Path(place.work, ENTRY if place.tablespace else ""), f"new {Path(place.path).name}")
    monkeypatch.setattr(_data_dir, "own_entry", lambda _data_dir: ENTRY)
    for base, to in [(data.work, "work"), (data.path, "path")][: 2 if old else 1]:
        os.mkdir(os.path.join(base, "pg_tblspc"))
        for place in places[:-1]:
            os.symlink(getattr(place, to), os.path.join(base, place.link))
    links = _data_dir.links(data.path) if old else {}
    return _layout.swap_steps(places, links, os.getuid(), os.getgid())


def kill_before(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Die before that change of the disk, which is right behind the one before it."""
    left = [step]

    def dying(function: Callable[..., None]) -> Callable[..., None]:
        def call(one: Any, uid: int) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            function(one, uid)

        return call

    for name in ("do", "undo"):
        monkeypatch.setattr(_journal.Step, name, dying(getattr(_journal.Step, name)))


SHAPES: list[set[str]] = [set(), {"data"}, {"data", "wal", "space"}]
SHAPE = pytest.mark.parametrize("mounts", SHAPES, ids=["no mount point", "data", "all mount points"])


@SHAPE
@pytest.mark.parametrize("old", [True, False])
def test_forth_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: set[str], old: bool) -> None:
    entries = prepare(tmp_path / "x", mounts, monkeypatch, old=old)
    before = tree(tmp_path)
    assert _journal.run(entries, calls, os.getuid()) == len(entries)
    after = tree(tmp_path)
    for path in ("data", "wal", f"space/{ENTRY}"):
        assert after[f"x/{path}/PG_VERSION"] == f"new {path.split('/', maxsplit=1)[0]}"
    assert after["x/data/pg_wal"] == f"-> {tmp_path}/x/wal"
    assert after["x/data/pg_tblspc/17"] == f"-> {tmp_path}/x/space"
    assert sum(content.startswith("old ") for content in after.values()) == (6 if old else 0)
    assert _journal.run(entries, calls, os.getuid()) == 0
    assert tree(tmp_path) == after
    assert _journal.back(entries, calls, os.getuid()) == len(entries)
    assert tree(tmp_path) == before
    assert _journal.back(entries, calls, os.getuid()) == 0


@SHAPE
@pytest.mark.parametrize("way", ["run", "back"])
def test_killed_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: set[str], way: str) -> None:
    """From any point the same list leads on to the new state, and back to the old one."""
    at, steps = 0, 1
    while at < steps:
        with monkeypatch.context() as patch:
            root = tmp_path / str(at)
            entries = prepare(root, mounts, patch)
            steps = len(entries)
            states = {"back": tree(root)}
            _journal.run(entries, calls, os.getuid())
            states["run"] = tree(root)
            for end in ("run", "back"):
                getattr(_journal, "back" if way == "run" else "run")(entries, calls, os.getuid())
                with monkeypatch.context() as killing:
                    kill_before(killing, at)
                    with pytest.raises(KeyboardInterrupt):
                        getattr(_journal, way)(entries, calls, os.getuid())
                getattr(_journal, end)(entries, calls, os.getuid())
                assert tree(root) == states[end], (at, end)
        at += 1
    assert steps >= 8


def simple(root: Path, *, old: bool = True) -> Entries:
    tell(root / "data.restore-r1", "new")
    if old:
        tell(root / "data", "old")
    return _layout.swap_steps([_layout.place(str(root / "data"), "", "r1")], {}, 0, 0)


@pytest.mark.parametrize("old", [True, False])
def test_a_directory_that_appeared_meanwhile_is_not_replaced(tmp_path: Path, old: bool) -> None:
    """A service manager or a package makes PGDATA anew between a killed swap and the next run."""
    entries = simple(tmp_path, old=old)
    if old:
        (tmp_path / "data").rename(tmp_path / "data.before-r1")
    (tmp_path / "data").mkdir()
    with pytest.raises(WalgError, match="the target exists"):
        _journal.run(entries, calls, os.getuid())
    assert os.listdir(tmp_path / "data") == []
    assert told(tmp_path / "data.restore-r1") == "new"


@pytest.mark.parametrize("way", ["run", "back"])
def test_what_somebody_moved_away_is_an_error(tmp_path: Path, way: str) -> None:
    entries = simple(tmp_path)
    (tmp_path / "data.restore-r1").rename(tmp_path / "elsewhere")
    (tmp_path / "data").rename(tmp_path / "data.before-r1")
    with pytest.raises(WalgError, match="neither exists: somebody moved it"):
        getattr(_journal, way)(entries, calls, os.getuid())
    assert told(tmp_path / "data.before-r1") == "old"


def test_a_link_that_somebody_turned_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = prepare(tmp_path / "x", set(), monkeypatch)
    link = tmp_path / "x" / "data.restore-r1" / "pg_wal"
    link.unlink()
    link.symlink_to("/elsewhere")
    with pytest.raises(WalgError, match="somebody changed it"):
        _journal.run(entries, calls, os.getuid())
    assert (tmp_path / "x" / "data" / "PG_VERSION").read_text() == "old data"
