# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings without a name on disk: read by the program that inherits them, and by nobody once it is gone."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _scratch
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_program_reads_it_by_its_path_and_nothing_stays(place: Path) -> None:
    with _scratch.opened() as scratch:
        first, second = scratch.linked("main.json", "Planted"), scratch.unnamed("Other")
        assert first.endswith("/main.json")
        shown = Runner().run(["cat", first, second, first], descriptors=scratch.descriptors)
        assert shown.stdout == "PlantedOtherPlanted"
        assert Path(scratch.directory).stat().st_mode & 0o777 == 0o700
        assert [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()] == []
    assert list(place.iterdir()) == []


def test_what_a_killed_run_left_is_removed_by_the_next(place: Path) -> None:
    over = subprocess.Popen(["true"])
    over.wait()
    left = place / f"mapswipe-walg-settings-{over.pid}-x"
    left.mkdir()
    (left / "main.json").symlink_to("/proc/self/fd/9")
    others = [place / f"mapswipe-walg-settings-{os.getpid()}-x", place / "mapswipe-walg-settings-x", place / "else"]
    for one in others:
        one.mkdir()
    with _scratch.opened():
        assert not left.exists()
    assert all(one.exists() for one in others)
