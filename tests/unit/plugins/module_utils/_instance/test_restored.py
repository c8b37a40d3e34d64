# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore proved: left for the owner's job, and believed for this cluster and this storage only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _restored
from ansible_collections.mapswipe.walg.plugins.module_utils._report import _facts
from support.walg_world import IDENTIFIER, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def told(world: World, **changes: Any) -> _restored.Restored:
    made = _restored.Restored(
        "2026-01-21T04:05:06Z", "latest", "base_1", IDENTIFIER, world.instance.storage, "2026-01-21T03:00:00Z"
    )
    return replace(made, **changes)


def test_it_is_read_as_it_was_written(world: World) -> None:
    assert _restored.read(world.instance, IDENTIFIER) is None
    _restored.write(world.instance, told(world))
    assert _restored.read(world.instance, IDENTIFIER) == told(world)
    assert Path(world.instance.files.restored).stat().st_mode & 0o777 == 0o644
    assert _facts.proved(world.instance, IDENTIFIER) == {
        "proved": "2026-01-21T04:05:06Z",
        "proved_by": "restore",
        "proved_to": "2026-01-21T03:00:00Z",
        "proved_target": "latest, from base_1",
    }


def test_another_cluster_and_another_storage_are_not_proved_by_it(world: World) -> None:
    _restored.write(world.instance, told(world))
    assert _restored.read(world.instance, "1") is None
    assert _facts.proved(world.instance, "1")["proved_by"] is None
    _restored.write(world.instance, told(world, storage="gs://former/prefix"))
    assert _restored.read(world.instance, IDENTIFIER) is None


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "no json", '{"format": 2}', "time", "target", '{"time": 1}', '{"time": "yesterday"}']
)
def test_a_file_of_another_shape_proves_nothing(world: World, content: str) -> None:
    _restored.write(world.instance, told(world))
    path = Path(world.instance.files.restored)
    whole = json.loads(path.read_text())
    if content in whole:
        del whole[content]
        path.write_text(json.dumps(whole))
    else:
        path.write_text(json.dumps({**whole, **json.loads(content)}) if content.startswith('{"') else content)
    assert _restored.read(world.instance, IDENTIFIER) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31 04:05:06.123456+00", "2026-01-31T04:05:06Z"),
        ("2026-01-31 04:05:06+05:30", "2026-01-30T22:35:06Z"),
        ("2026-01-31 04:05:06-03", "2026-01-31T07:05:06Z"),
        ("2026-01-31T04:05:06Z", "2026-01-31T04:05:06Z"),
        ("soon", None),
        (None, None),
        (7, None),
    ],
)
def test_commit_times_as_postgresql_shows_them(text: Any, expected: str | None) -> None:
    assert _restored.commit_time(text) == expected
