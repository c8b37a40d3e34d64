# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another cluster in the place of the one to restore, such as an empty one that a new container made: only by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._data_dir import DataDir
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _host_check, _options, _plan
from support.scripted import Scripted
from support.walg_world import IDENTIFIER, World, write_cluster


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    write_cluster(made.data_dir, "7")
    return made


def there(world: World, **changes: Any) -> DataDir:
    return DataDir(str(world.data_dir), **{"kind": "cluster", "major": 14, "system_identifier": "7", **changes})


def refuse(world: World, other: str, **changes: Any) -> None:
    options = _options.RestoreOptions("r", action="pause", other_cluster=other)
    _host_check.refuse_directory(Scripted(), world.instance, there(world, **changes), options)


@pytest.mark.parametrize("other", ["", "8", IDENTIFIER])
def test_it_is_left_alone_until_it_is_named(world: World, other: str) -> None:
    with pytest.raises(WalgError, match="holds another cluster: system identifier 7") as caught:
        refuse(world, other)
    assert caught.value.msg.endswith('\n  walg_restore_other_cluster: "7"')
    assert (caught.value.fields["found"], caught.value.fields["wanted"]) == ("7", IDENTIFIER)


def test_it_is_named(world: World) -> None:
    refuse(world, "7")
    refuse(world, "", system_identifier=IDENTIFIER)
    refuse(world, "8", system_identifier=IDENTIFIER)  # of a run before: it is kept beside already


@pytest.mark.parametrize("kind", ["other"])
def test_it_is_no_leave_for_what_is_no_cluster(world: World, kind: str) -> None:
    with pytest.raises(WalgError, match="is not a PostgreSQL cluster"):
        refuse(world, "7", kind=kind)


@pytest.mark.parametrize(
    ("recorded", "found", "other", "known"),
    [
        ("5", "7", "7", "5"),
        ("", "7", "7", ""),
        ("", "7", "", "7"),
        ("7", "7", "7", ""),
        ("5", "", "", "5"),
        ("5", "5", "7", "5"),
        ("", "", "", ""),
    ],
)
def test_which_cluster_to_restore(world: World, recorded: str, found: str, other: str, known: str) -> None:
    instance = replace(world.instance, cluster=replace(world.instance.cluster, system_identifier=recorded))
    options = _options.RestoreOptions("r", other_cluster=other)
    assert _plan._known_identifier(instance, options, there(world, system_identifier=found)) == known


def test_it_is_a_number() -> None:
    assert _options.from_params({"request": "r", "other_cluster": IDENTIFIER}).other_cluster == IDENTIFIER
    assert _options.from_params({"request": "r"}).other_cluster == ""
    with pytest.raises(WalgError, match="the system identifier of the cluster that is there, a number"):
        _options.from_params({"request": "r", "other_cluster": "db"})


@pytest.mark.parametrize("found", ["7", "5"])
def test_what_a_storage_without_its_backups_advises(world: World, found: str) -> None:
    assert ('walg_restore_other_cluster: "7"' in _plan._advice_for_new("7", there(world, system_identifier=found))) is (
        found == "7"
    )
