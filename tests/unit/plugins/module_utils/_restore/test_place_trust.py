# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which places root lets a restore use for the cluster's owner; what links and records name counts for less than the play."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _layout, _place_trust
from support.walg_world import World

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root works for another user")
NOBODY = 65534
HINTS = {
    "": "walg_pg_data_dir: {path}",
    "pg_wal": "walg_restore_wal_dir: {path}",
    "pg_tblspc/16390": 'walg_restore_tablespaces: {{"16390": {path}}}',
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.instance = replace(made.instance, cluster=replace(made.instance.cluster, os_user="nobody"))
    return made


def refuse(world: World, path: Path, link: str = "", *, named: bool = True, mount: bool = False) -> None:
    place = replace(_layout.place(str(path), link, "r1"), mount=mount)
    _place_trust.refuse(world.instance, place, str(path) if named else "")


def rejected(world: World, path: Path, link: str = "", *, named: bool = True, mount: bool = False) -> str:
    with pytest.raises(WalgError) as caught:
        refuse(world, path, link, named=named, mount=mount)
    return caught.value.msg


def owned(path: Path) -> Path:
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)
    return path


def test_places_that_will_do(world: World) -> None:
    """What the play names may be missing; what a link names has to be the owner's already."""
    there = owned(world.root / "there")
    for link in HINTS:
        refuse(world, there, link)
        refuse(world, there, link, named=False)
        refuse(world, world.root / "new", link)
    refuse(world, there, named=False, mount=True)


@pytest.mark.parametrize("link", HINTS)
@pytest.mark.parametrize("what", ["root's", "file"])
def test_what_is_not_the_owners(world: World, link: str, what: str) -> None:
    path = world.root / "it"
    if what == "file":
        path.touch()
        os.chown(path, NOBODY, NOBODY)
    else:
        path.mkdir()
    for named in (True, False):
        text = rejected(world, path, link, named=named)
        assert (
            f"{path} ({link or 'data directory'}) {'is no directory' if what == 'file' else 'belongs to user 0'}"
            in text
        )
        assert text.endswith(f"Or choose another place: {HINTS[link].format(path=path)}.")
    if what == "root's":
        assert "no option makes root use a file system that is not that user's" in rejected(
            world, path, link, mount=True
        )


@pytest.mark.parametrize("name", ["state", "log", "config", "programs", "state/below"])
def test_where_the_collection_keeps_its_own_files(world: World, name: str) -> None:
    path = world.root / name
    path.mkdir(exist_ok=True)
    os.chown(path, NOBODY, NOBODY)
    kept = world.root / name.partition("/")[0]
    assert f"overlaps {kept}, where this collection keeps its own files" in rejected(world, path)


def test_a_directory_above_it(world: World) -> None:
    os.chown(world.root, NOBODY, NOBODY)
    assert "overlaps" in rejected(world, world.root)


def test_root_makes_nothing_on_the_word_of_a_link(world: World) -> None:
    path = world.root / "new"
    text = rejected(world, path, "pg_tblspc/16390", named=False)
    assert f"does not exist, and 'nobody' can't make it: {world.root} is not that user's to write" in text
    assert f"(install -d -m 0700 -o nobody {path}), or name it: walg_restore_tablespaces" in text


def test_below_a_directory_that_a_third_one_can_write(world: World) -> None:
    """The play may mean that; a link does not count there."""
    shared = world.root / "shared"
    shared.mkdir()
    os.chown(shared, 12345, 12345)
    path = owned(shared / "it")
    text = rejected(world, path, "pg_wal", named=False)
    assert "The play does not name this place" in text
    assert "walg_restore_wal_dir" in text
    assert "(Here 'nobody' can't write into" in rejected(world, path, "pg_wal")


def test_a_user_who_works_for_himself_is_asked_nothing(world: World) -> None:
    world.instance = replace(world.instance, cluster=replace(world.instance.cluster, os_user="root"))
    refuse(world, Path("/"), named=False)
