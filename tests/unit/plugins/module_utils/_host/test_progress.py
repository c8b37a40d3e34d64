# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress file, as somebody who watches it finds it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._progress import Progress
from ansible_collections.mapswipe.walg.plugins.module_utils._host._times import moment, now
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_now_has_a_zone() -> None:
    assert now().endswith("Z")
    assert moment(now()).utcoffset() is not None


def test_phases(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    progress = Progress(str(path), "restore", owner=User.current())
    progress.phase("fetch", expected_bytes=7)
    first = read(path)
    assert (first["what"], first["phase"], first["expected_bytes"], first["pid"]) == (
        "restore",
        "fetch",
        7,
        os.getpid(),
    )
    progress.phase("recover")
    second = read(path)
    assert second["phase"] == "recover"
    assert "expected_bytes" not in second
    assert second["started"] == first["started"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["progress.json"]


def test_details_are_asked_for_at_each_rewrite_and_not_after_the_end(tmp_path: Path) -> None:
    path, asked = tmp_path / "progress.json", []

    def watch() -> dict[str, Any]:
        asked.append(1)
        return {"bytes": len(asked)}

    progress = Progress(str(path), "backup", watch)
    progress.phase("push")
    progress.touch()
    assert read(path)["bytes"] == 2
    progress.done({"backup": "base_1"})
    assert len(asked) == 2
    assert (read(path)["phase"], read(path)["backup"]) == ("done", "base_1")
    assert "bytes" not in read(path)


def test_a_disk_that_is_full_ends_no_run(tmp_path: Path) -> None:
    progress = Progress(str(tmp_path / "none" / "progress.json"), "backup")
    progress.phase("push")
    progress.done({})
    held = Progress(str(tmp_path / "none" / "progress.json"), "restore", owner=User.current())
    with pytest.raises(WalgError):
        held.phase("fetch")


def test_what_fails_says_that_it_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    progress = Progress(str(path), "backup")
    progress.phase("push")
    with pytest.raises(ZeroDivisionError), progress.ending():
        raise ZeroDivisionError
    assert read(path)["phase"] == "failed"
    with progress.ending():
        progress.done({})
    assert read(path)["phase"] == "done"
