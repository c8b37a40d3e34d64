# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a cluster's files lie: a data directory that is a mount point is swapped entry by entry, again and again."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils import _journal, _layout
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._layout import Place


def mount(path: Path, request: str) -> Place:
    """A place as it is described where `path` is a mount point."""
    room = path / _layout.INSIDE
    return Place(str(path), "", True, str(room / f"restore-{request}"), str(room / f"before-{request}"))


def fetched(place: Place, *names: str) -> None:
    """What WAL-G puts there; directories end with a slash."""
    for name in names:
        path = Path(place.work, name)
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text(f"{place.work}\n")


def swap(place: Place) -> int:
    steps = _layout.swap_steps([place], {}, 0, 0)
    return _journal.run(_journal.encode(steps), lambda _directory, function, *arguments: function(*arguments))


def test_a_mount_point_is_restored_twice_from_base_backups_that_hold_the_first_ones_room(tmp_path: Path) -> None:
    first, second = mount(tmp_path, "one"), mount(tmp_path, "two")
    (tmp_path / "lost+found").mkdir()
    fetched(first, "PG_VERSION", "base/1")
    _layout.after_fetch(_layout.encode([first]))
    swap(first)
    # The room is in the next base backup without its content; so is what the file system's maker put there.
    fetched(second, "PG_VERSION", "base/2", ".mapswipe-walg/pgsql_tmp/", "lost+found/")
    _layout.after_fetch(_layout.encode([second]))
    swap(second)
    names = [".mapswipe-walg", "PG_VERSION", "base", "lost+found", "pg_wal"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert [path.name for path in (tmp_path / "base").iterdir()] == ["2"]
    assert [path.name for path in Path(second.aside, "base").iterdir()] == ["1"]


def test_the_room_does_not_come_along_to_where_nothing_is_mounted(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "data"), "", False, str(tmp_path / "work"), str(tmp_path / "aside"))
    fetched(place, "PG_VERSION", ".mapswipe-walg/pgsql_tmp/")
    _layout.after_fetch(_layout.encode([place]))
    swap(place)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["PG_VERSION", "pg_wal"]


# --- after the fetch --------------------------------------------------------------------------------------------------


def beside(root: Path, *links: str) -> list[Place]:
    """Fetched: a data directory and, beside their places, its tablespace and its WAL directory."""
    names = {"pg_tblspc/17": "space", "pg_wal": "wal", "": "data"}
    places = [_layout.place(str(root / names[link]), link, "r1") for link in (*links, "")]
    for place in places:
        Path(place.work).mkdir()
    fetched(places[-1], "PG_VERSION", "pg_wal/", "pg_tblspc/", "tablespace_map")
    return places


def test_wal_moves_out_and_a_link_leads_to_it(tmp_path: Path) -> None:
    places = beside(tmp_path, "pg_wal")
    fetched(places[-1], "pg_wal/000000010000000000000001", "pg_wal/archive_status/")
    _layout.after_fetch(_layout.encode(places))
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
    _layout.after_fetch(_layout.encode(places))
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
            _layout.after_fetch(_layout.encode(places))
        return
    _layout.after_fetch(_layout.encode(places))
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
    doomed = tmp_path / "doomed"
    if not is_mount:
        fetched(Place("", "", False, str(doomed), ""), "left by a killed run")
    _layout.clear(str(path), is_mount, str(doomed))
    assert not doomed.exists()
    left = sorted(one.name for one in path.iterdir()) if path.exists() else None
    assert left == ([".mapswipe-walg", "lost+found"] if is_mount else None)
    assert (kept / "file").exists()
    _layout.clear(str(tmp_path / "absent"), is_mount, str(doomed))


@pytest.mark.parametrize("left", ["nothing", "link"])
def test_a_separate_wal_directory_that_nobody_asked_for(tmp_path: Path, left: str) -> None:
    """The restored cluster has a pg_wal of its own, and nothing of the directory that the old one used."""
    live = tmp_path / "live"
    live.mkdir()
    place = _layout.Place(str(tmp_path / "data"), "", False, str(tmp_path / "work"), str(tmp_path / "aside"))
    (tmp_path / "work").mkdir()
    if left == "link":
        (tmp_path / "work" / "pg_wal").symlink_to(live)
    _layout.after_fetch(_layout.encode([place]))
    assert (tmp_path / "work" / "pg_wal").is_dir()
    assert not (tmp_path / "work" / "pg_wal").is_symlink()
    assert live.is_dir()
