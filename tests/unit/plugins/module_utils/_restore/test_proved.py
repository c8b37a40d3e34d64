# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore says that it has proved the archive, and fails for nothing that keeps it from that."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _restored
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _proved
from support import restores
from support.walg_world import IDENTIFIER, World


def test_when_and_to_what(tmp_path: Path) -> None:
    world = World(tmp_path)
    saved = restores.restore_state(world, "recovering", target=Target("time", "2026-01-31T04:05:06Z"))
    saved.answer.last_commit = "2026-01-31 04:05:01.5+00"
    _proved.tell(world.instance, saved)
    found = _restored.read(world.instance, IDENTIFIER)
    assert found is not None
    assert (found.target, found.last_commit) == ("time 2026-01-31T04:05:06Z", "2026-01-31T04:05:01Z")
    assert (found.backup, found.storage) == (restores.NAME, world.instance.storage)
    assert not saved.answer.notes


def test_what_can_not_be_written_is_a_note(tmp_path: Path) -> None:
    world = World(tmp_path)
    saved = restores.restore_state(world, "recovering")
    saved.answer.notes = ["before"]
    Path(world.instance.files.restored).mkdir()
    _proved.tell(world.instance, saved)
    assert saved.answer.notes[0] == "before"
    assert "walg_status" in saved.answer.notes[1]
