# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovered cluster's catalog names has to be there: tablespaces, databases, files of relations, in this order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _catalog_check
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._server import Server
from support.scripted import Call, Scripted
from support.walg_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def database(name: str, *, there: bool = True, connects: bool = True) -> dict[str, Any]:
    return {"name": name, "connects": connects, "directory": f"base/{name}", "there": there}


def asks(world: World, spaces: Any, databases: Any = None, *relations: Any) -> list[Call]:
    asked = [world.psql(spaces, stdin="FROM pg_tablespace")]
    asked += [world.psql(databases, stdin="FROM pg_database")] if databases else []
    return asked + [world.psql(one, stdin="pg_relation_filepath") for one in relations]


def test_a_whole_cluster(world: World) -> None:
    """A database that takes no connections can't be looked into."""
    databases = [database("postgres"), database("shop"), database("template0", connects=False)]
    runner = Scripted(calls=asks(world, None, databases, None, []))
    _catalog_check.refuse_missing(Server(runner, world.instance.cluster))
    runner.finish()


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (
            ([{"oid": "16390", "name": "fast", "location": "/ssd"}, {"oid": "16391", "name": "slow", "location": ""}],),
            "the files of the tablespaces fast (OID 16390, at /ssd), slow (OID 16391, at no place) are missing",
        ),
        (
            (None, [database("postgres"), database("shop", there=False, connects=False)]),
            "the files of the databases shop (base/shop) are missing",
        ),
        (
            (
                None,
                [database("postgres"), database("shop")],
                None,
                [f"t{number} (base/2/{number})" for number in range(9)],
            ),
            "the files of t0 (base/2/0), t1 (base/2/1), t2 (base/2/2), t3 (base/2/3), t4 (base/2/4) in the database shop are missing",
        ),
    ],
)
def test_what_is_missing_is_named(world: World, answers: tuple[Any, ...], text: str) -> None:
    runner = Scripted(calls=asks(world, *answers))
    with pytest.raises(WalgError) as caught:
        _catalog_check.refuse_missing(Server(runner, world.instance.cluster))
    assert text in caught.value.msg
    assert caught.value.msg.startswith(f"The cluster recovered in {world.data_dir} is not whole")
    assert caught.value.msg.endswith("Choose another base backup (walg_restore_backup).")
    assert caught.value.fields["found"]
    runner.finish()
