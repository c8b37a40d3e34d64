# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a base backup is: what a process has read, of what is to be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _pushed
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from support.walg_world import World


def test_the_content_is_what_a_base_backup_reads(tmp_path: Path) -> None:
    data, space = tmp_path / "data", tmp_path / "space"
    for name, size in (("base/1/16384", 100), ("PG_VERSION", 3), ("pg_wal/1", 5000), ("log/a", 5000)):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(b"x" * size)
    (space / "PG_14/1").mkdir(parents=True)
    (space / "PG_14/1/2").write_bytes(b"x" * 20)
    (data / "pg_tblspc").mkdir()
    (data / "pg_tblspc" / "16400").symlink_to(space)
    assert _pushed.content(str(data)) == 123


def test_bytes_that_a_program_reads_are_seen_while_it_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    runner, seen = Runner(tick_every=0.1), []
    pushed = _pushed.Pushed(runner, str(tmp_path), whole=True)
    runner.tick = lambda: seen.append(pushed.details())
    assert runner.run(["sh", "-c", f"read x < /dev/null; exec sh -c 'cat {tmp_path}/file | wc -c; sleep 0.5'"]).rc == 0
    assert runner.child is None
    assert seen[-1]["bytes_planned"] == 3_000_000
    assert _pushed.read_by(runner.child) == 0
    before = pushed.bytes
    assert pushed.details()["bytes"] == before  # never less than was seen


@pytest.mark.parametrize(("steps", "expected"), [(None, False), ("0", False), (0, False), ("6", True), (6, True)])
def test_whether_deltas_are_taken(tmp_path: Path, steps: object, expected: bool) -> None:
    world = World(tmp_path)
    told = {} if steps is None else {"WALG_DELTA_MAX_STEPS": steps}
    Path(world.instance.settings_file).write_text(json.dumps(told))
    assert _pushed.deltas(world.instance) is expected
