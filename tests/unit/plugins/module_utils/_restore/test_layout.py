# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a cluster's files lie: a data directory that is a mount point is swapped entry by entry, again and again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _restorable
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _fetched, _journal, _layout
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._hands import Hands
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._layout import Location
from support.walg_world import write_cluster


def mount(path: Path, request: str) -> Location:
    """A place as it is described where `path` is a mount point."""
    room = path / _layout.INSIDE
    return Location(str(path), "", True, str(room / f"restore-{request}"), str(room / f"before-{request}"))


def fetched(place: Location, *names: str) -> None:
    """What WAL-G puts there; directories end with a slash."""
    for name in names:
        path = Path(place.work, name)
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text(f"{place.work}\n")


SPEC = {"base_prefix": "/old/data", "tablespaces": ["17"], "17": {"loc": "/old/space", "link": "pg_tblspc/17"}}
ENTRY = "PG_14_202107181"


def swap(place: Location) -> int:
    steps = _layout.swap_steps([place], {}, os.getuid(), os.getgid())
    calls = Hands(User.current()).call
    return _journal.run(steps, calls, os.getuid())


def test_a_mount_point_is_restored_twice_from_base_backups_that_hold_the_first_ones_room(tmp_path: Path) -> None:
    first, second = mount(tmp_path, "one"), mount(tmp_path, "two")
    (tmp_path / "lost+found").mkdir()
    fetched(first, "PG_VERSION", "base/1")
    _fetched.settle([first], {})
    swap(first)
    # The room is in the next base backup without its content; so is what the file system's maker put there.
    fetched(second, "PG_VERSION", "base/2", ".mapswipe-walg/pgsql_tmp/", "lost+found/")
    _fetched.settle([second], {})
    swap(second)
    names = [".mapswipe-walg", "PG_VERSION", "base", "lost+found", "pg_wal"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name not in _restorable._EMPTIED) == names
    assert [path.name for path in (tmp_path / "base").iterdir()] == ["2"]
    assert [path.name for path in Path(second.aside, "base").iterdir()] == ["1"]


def test_the_room_does_not_come_along_to_where_nothing_is_mounted(tmp_path: Path) -> None:
    place = Location(str(tmp_path / "data"), "", False, str(tmp_path / "work"), str(tmp_path / "aside"))
    fetched(place, "PG_VERSION", ".mapswipe-walg/pgsql_tmp/")
    _fetched.settle([place], {})
    swap(place)
    names = sorted(path.name for path in (tmp_path / "data").iterdir() if path.name not in _restorable._EMPTIED)
    assert names == ["PG_VERSION", "pg_wal"]


# --- after the fetch --------------------------------------------------------------------------------------------------


def beside(root: Path, *links: str) -> list[Location]:
    """Fetched: a data directory and, beside their places, its tablespace and its WAL directory."""
    names = {"pg_tblspc/17": "space", "pg_wal": "wal", "": "data"}
    places = [_layout.place(str(root / names[link]), link, "r1") for link in (*links, "")]
    for place in places:
        Path(place.work).mkdir()
        if place.tablespace:
            fetched(place, f"{ENTRY}/1/2")
    fetched(places[-1], "pg_wal/", "pg_tblspc/", "tablespace_map")
    write_cluster(Path(places[-1].work))
    return places


def test_wal_moves_out_and_a_link_leads_to_it(tmp_path: Path) -> None:
    places = beside(tmp_path, "pg_wal")
    fetched(places[-1], "pg_wal/000000010000000000000001", "pg_wal/archive_status/")
    _fetched.settle(places, SPEC)
    link = Path(places[-1].work, "pg_wal")
    assert str(link.readlink()) == places[0].work
    assert sorted(path.name for path in link.iterdir()) == ["000000010000000000000001", "archive_status"]


def test_a_link_in_wals_place_is_turned_and_not_followed(tmp_path: Path) -> None:
    places, live = beside(tmp_path, "pg_wal"), tmp_path / "live"
    live.mkdir()
    (live / "segment").write_text("")
    link = Path(places[-1].work, "pg_wal")
    link.rmdir()
    link.symlink_to(live)
    _fetched.settle(places, SPEC)
    assert str(link.readlink()) == places[0].work
    assert [path.name for path in live.iterdir()] == ["segment"]


@pytest.mark.parametrize("led", ["work", "elsewhere", "nowhere"])
def test_a_tablespace_is_where_it_was_told_and_its_map_is_gone(tmp_path: Path, led: str) -> None:
    """WAL-G up to 2.0.1 restores the map, which makes PostgreSQL turn the links to where a live cluster may be."""
    places = beside(tmp_path, "pg_tblspc/17")
    link = Path(places[-1].work, "pg_tblspc", "17")
    if led == "work":  # by another name of the same directory
        (tmp_path / "name").symlink_to(tmp_path)
        link.symlink_to(tmp_path / "name" / Path(places[0].work).name)
    elif led == "elsewhere":
        link.symlink_to(tmp_path)
    if led != "work":
        with pytest.raises(WalgError, match="it ignored the restore specification"):
            _fetched.settle(places, SPEC)
        return
    _fetched.settle(places, SPEC)
    assert str(link.readlink()) == places[0].work
    assert not Path(places[-1].work, "tablespace_map").exists()


@pytest.mark.parametrize("is_mount", [True, False])
def test_clear(tmp_path: Path, is_mount: bool) -> None:
    kept, path = tmp_path / "kept", tmp_path / "data"
    kept.mkdir()
    for name in ("lost+found", ".mapswipe-walg", "base"):
        (path / name).mkdir(parents=True)
        (path / name / "file").write_text("")
    (path / "PG_VERSION").write_text("14\n")
    (path / "link").symlink_to(kept)
    (kept / "file").write_text("")
    place = Location(str(path), "", is_mount, str(tmp_path / "work"), "")
    doomed = tmp_path / "work~old"
    if not is_mount:
        fetched(Location("", "", False, str(doomed), ""), "left by a killed run")
    for _turn in range(2):  # the second finds nothing
        Hands(User.current()).clear(place, "")
        assert not doomed.exists()
        left = sorted(one.name for one in path.iterdir()) if path.exists() else None
        assert left == ([".mapswipe-walg", "lost+found"] if is_mount else None)
        assert (kept / "file").exists()


def test_of_a_shared_tablespace_only_the_own_entry_is_cleared(tmp_path: Path) -> None:
    place = _layout.place(str(tmp_path / "space"), "pg_tblspc/17", "r1")
    for name in (f"{ENTRY}/1/2", "PG_13_202007201/1/2", "notes/file"):
        path = Path(place.path, name)
        path.parent.mkdir(parents=True)
        path.write_text("")
    Hands(User.current()).clear(place, ENTRY)
    assert sorted(os.listdir(place.path)) == ["PG_13_202007201", "notes"]


def test_what_was_somebody_elses_in_a_tablespace_does_not_come_along(tmp_path: Path) -> None:
    places = beside(tmp_path, "pg_tblspc/17")
    Path(places[-1].work, "pg_tblspc", "17").symlink_to(places[0].work)
    fetched(places[0], "PG_13_202007201/1/2", "notes")
    _fetched.settle(places, SPEC)
    assert os.listdir(places[0].work) == [ENTRY]


@pytest.mark.parametrize("outer", ["data", "nothing"])
def test_a_tablespace_that_came_back_inside_the_data_directory(tmp_path: Path, outer: str) -> None:
    """Its files are where they lay in the data directory; the directory that was named for them is empty."""
    places = beside(tmp_path, "pg_tblspc/17")
    Path(places[-1].work, "pg_tblspc", "17").symlink_to(places[0].work)
    nested = Path(places[-1].work, "nested")
    nested.mkdir()
    Path(places[0].work, ENTRY).rename(nested / ENTRY if outer == "data" else tmp_path / "gone")
    spec = {**SPEC, "17": {"loc": "/old/data/nested", "link": "pg_tblspc/17"}}
    if outer == "nothing":
        with pytest.raises(WalgError, match="lacks the files of the tablespace pg_tblspc/17"):
            _fetched.settle(places, spec)
        return
    _fetched.settle(places, spec)
    assert Path(places[0].work, ENTRY, "1", "2").exists()


@pytest.mark.parametrize("name", ["pg_xact", "base/16384", "base/1/1259", "pg_tblspc/18"])
def test_a_link_of_postgresqls_own_has_lost_what_it_led_to(tmp_path: Path, name: str) -> None:
    places = beside(tmp_path)
    path = Path(places[-1].work, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/elsewhere")
    with pytest.raises(WalgError, match=name):
        _fetched.settle(places, SPEC)


def test_a_link_to_what_one_run_needs_becomes_an_empty_directory(tmp_path: Path) -> None:
    places, live = beside(tmp_path), tmp_path / "live"
    live.mkdir()
    (live / "file").write_text("")
    path = Path(places[-1].work, "pg_stat_tmp")
    path.symlink_to(live)
    _fetched.settle(places, SPEC)
    assert not path.is_symlink()
    assert os.listdir(path) == []
    assert os.listdir(live) == ["file"]


@pytest.mark.parametrize("left", ["nothing", "link"])
def test_a_separate_wal_directory_that_nobody_asked_for(tmp_path: Path, left: str) -> None:
    """The restored cluster has a pg_wal of its own, and nothing of the directory that the old one used."""
    live = tmp_path / "live"
    live.mkdir()
    place = _layout.Location(str(tmp_path / "data"), "", False, str(tmp_path / "work"), str(tmp_path / "aside"))
    (tmp_path / "work").mkdir()
    if left == "link":
        (tmp_path / "work" / "pg_wal").symlink_to(live)
    _fetched.settle([place], {})
    assert (tmp_path / "work" / "pg_wal").is_dir()
    assert not (tmp_path / "work" / "pg_wal").is_symlink()
    assert live.is_dir()


def test_only_the_clusters_own_entry_of_a_tablespace_must_hold_no_mount(tmp_path: Path) -> None:
    """In another version's it is none of our business, and so is what lies beside in a WAL volume."""
    space = Location(str(tmp_path), "pg_tblspc/17", False, "/w", "/a", ("PG_13_202007201/5", "backups"))
    _layout.refuse_mounts(space, 14)
    with pytest.raises(WalgError, match="PG_13_202007201/5"):
        _layout.refuse_mounts(space, 13)
    _layout.refuse_mounts(Location(str(tmp_path), "pg_wal", True, "/w", "/a", (".snapshot",)), 14)
    with pytest.raises(WalgError, match=r"archive_status.*its owner may not write to it"):
        _layout.refuse_mounts(Location(str(tmp_path), "pg_wal", True, "/w", "/a", ("archive_status",)), 14)
