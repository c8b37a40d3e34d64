# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the wrappers run is there, or named before anything is done."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _tools, _wrappers


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has all of them, and is the only place to look."""
    for name in _tools._NEEDED:
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(_tools, "_PLACES", (str(tmp_path),))
    return tmp_path


def test_all_are_there(places: Path) -> None:
    _tools.refuse_missing()


@pytest.mark.parametrize("missing", [["timeout"], ["od", "timeout"]])
def test_what_is_missing_is_named(places: Path, missing: list[str]) -> None:
    for name in missing:
        os.unlink(places / name)
    with pytest.raises(WalgError, match=f"^This host has no {', '.join(missing)}, which wal-push"):
        _tools.refuse_missing()


def test_the_wrappers_run_no_other(places: Path) -> None:
    """Words in a command's place that a minimal system may lack; the shell's own commands are always there."""
    text = "\n".join(_wrappers.texts().values())
    others = (
        "awk",
        "basename",
        "cat",
        "cut",
        "dirname",
        "grep",
        "head",
        "mktemp",
        "sed",
        "stat",
        "tail",
        "tr",
        "wc",
    )
    found = [name for name in others if re.search(rf"(?m)(?:^|[|;&(`]|\$\()\s*{name}\s", text)]
    assert found == []
