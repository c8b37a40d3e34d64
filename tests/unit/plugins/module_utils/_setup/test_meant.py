# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which cluster is meant, where a new container has made another one in its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _record
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _find, _make_ready
from support.walg_world import World


def meant(root: Path, recorded: str | None, other: str | None, **changes: Any) -> str:
    """Return the system identifier of the cluster that is meant; the one that is there has 7."""
    world = World(root)
    cluster = world.instance.cluster
    if recorded is None:
        (root / "config" / "main.env").unlink()
    else:
        instance = replace(world.instance, cluster=replace(cluster, system_identifier=recorded))
        (root / "config" / "main.env").write_text(_record.render(instance))
    data_dir = changes.pop("data_dir", cluster.data_dir)
    found = _find.Found(
        replace(cluster, system_identifier="7", data_dir=data_dir), {"config_dir": str(root / "config")}
    )
    params = {"instance": "main", "purpose": "restore", "restore": {"other_cluster": other}, **changes}
    answer = _make_ready._meant(params, found)
    assert answer == replace(found, cluster=replace(found.cluster, system_identifier=answer.cluster.system_identifier))
    return answer.cluster.system_identifier


@pytest.mark.parametrize(
    ("recorded", "other", "identifier"),
    [
        ("5", None, "5"),
        ("5", "7", "5"),
        ("7", "7", ""),
        ("7", None, "7"),
        ("", None, "7"),
        ("", "7", ""),
        ("", "8", "7"),
        (None, None, "7"),
        (None, "7", ""),
    ],
)
def test_for_a_restore(tmp_path: Path, recorded: str | None, other: str | None, identifier: str) -> None:
    assert meant(tmp_path, recorded, other) == identifier


def test_otherwise_the_one_that_is_there(tmp_path: Path) -> None:
    for name, changes in {"a": {"purpose": "backup"}, "b": {"restore": None}, "c": {"data_dir": "/elsewhere"}}.items():
        (tmp_path / name).mkdir()
        assert meant(tmp_path / name, "" if name == "b" else "5", "8", **changes) == "7"
