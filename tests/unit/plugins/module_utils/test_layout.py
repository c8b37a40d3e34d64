# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a cluster's files lie: a data directory that is a mount point is swapped entry by entry, again and again."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.mapswipe.walg.plugins.module_utils import _journal, _layout
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
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mapswipe-walg", "PG_VERSION", "base", "lost+found"]
    assert [path.name for path in (tmp_path / "base").iterdir()] == ["2"]
    assert [path.name for path in Path(second.aside, "base").iterdir()] == ["1"]


def test_the_room_does_not_come_along_to_where_nothing_is_mounted(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "data"), "", False, str(tmp_path / "work"), str(tmp_path / "aside"))
    fetched(place, "PG_VERSION", ".mapswipe-walg/pgsql_tmp/")
    _layout.after_fetch(_layout.encode([place]))
    swap(place)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["PG_VERSION"]
