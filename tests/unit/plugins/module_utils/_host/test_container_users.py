# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The user that a container was given: its group, and directories of the image that are another user's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _trust
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from support.box import Box, needs_box

pytestmark = needs_box
NOBODY = 65534


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """One with a mount in a directory of another user, and a directory beside it."""
    folder = tmp_path_factory.mktemp("box")
    mount = folder / "shared" / "data"
    mount.mkdir(parents=True)
    made = Box(folder / "root", mounts=[mount])
    beside = Path(f"{made.root}{folder}") / "shared"
    (beside / "own").mkdir()
    (beside / "link").symlink_to("data")
    os.chown(beside, NOBODY, NOBODY)
    beside.chmod(0o1777)
    yield made
    made.end()


@pytest.mark.parametrize(
    ("given", "uid", "gid"),
    [
        ("", 4711, 4711),
        ("4711", 4711, 0),
        ("4711:4712", 4711, 4712),
        ("4711:ssl-cert", 4711, 101),
        ("4711:unknown", 4711, 0),
        ("4711", 999, 998),
        ("999", 999, 998),
        ("999:4712", 999, 4712),
        ("postgres:ssl-cert", 999, 101),
        ("postgres", 999, 998),
    ],
)
def test_its_processes_are_in_the_group_that_it_was_given(box: Box, given: str, uid: int, gid: int) -> None:
    assert box.answer(lambda: User.by_uid(uid).gid, user=given) == gid
    name = {999: "postgres"}.get(uid, str(uid))
    assert box.answer(lambda: User.by_name(name).gid, user=given) == gid


@pytest.mark.parametrize(
    ("name", "loose"), [("data", False), ("data/new", False), ("own", True), ("link", True), ("", True)]
)
def test_a_mount_point_is_nobodys_to_exchange(box: Box, name: str, loose: bool) -> None:
    shared = os.path.dirname(str(box.mounts[0]))
    assert box.answer(lambda: _trust.is_loose(os.path.join(shared, name))) is loose


@pytest.mark.parametrize("name", ["data", "own", "new"])
def test_what_is_in_the_place_is_not_judged(box: Box, name: str) -> None:
    shared = os.path.dirname(str(box.mounts[0]))

    def look() -> str:
        try:
            _trust.refuse_exchangeable(os.path.join(shared, name), "PGDATA", 4711)
        except WalgError as exc:
            return exc.msg
        return ""

    told = box.answer(look)
    assert told == ("" if name == "data" else f"PGDATA: {shared} belongs to the user '65534'.")
