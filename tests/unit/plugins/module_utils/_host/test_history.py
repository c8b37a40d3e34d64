# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _history
from ansible_collections.mapswipe.walg.plugins.module_utils._host._history import Run


def run(verb: str, number: int) -> Run:
    return Run(verb, "2026-01-31T04:05:06Z", "2026-01-31T04:05:07Z", 1.0, 0, True, f"number {number}", {"a": [1]})


def test_runs_are_read_back_in_their_order(tmp_path: Path) -> None:
    path = str(tmp_path / "history")
    for number in range(3):
        _history.append(path, run("backup", number))
    assert _history.read(path) == [run("backup", number) for number in range(3)]
    assert _history.last(_history.read(path)) == {"backup": run("backup", 2)}


def test_many_checks_push_no_base_backup_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_history, "KEPT", 3)
    path = str(tmp_path / "history")
    _history.append(path, run("backup", 0))
    for number in range(10):
        _history.append(path, run("check", number))
    assert [one.text for one in _history.read(path)] == ["number 0", "number 7", "number 8", "number 9"]


def test_a_damaged_line_hides_no_other(tmp_path: Path) -> None:
    path = tmp_path / "history"
    _history.append(str(path), run("backup", 0))
    path.write_text('{"verb": "ch\n[]\n{"verb": 1}\n' + path.read_text())
    _history.append(str(path), run("backup", 1))
    assert [one.text for one in _history.read(str(path))] == ["number 0", "number 1"]


@pytest.mark.parametrize(
    "change",
    [
        {"started": "yesterday"},
        {"ended": 5},
        {"details": []},
        {"details": None},
        {"code": "x"},
        {"seconds": None},
        {"more": 1},
    ],
)
def test_a_line_that_is_no_run_is_passed_over(tmp_path: Path, change: dict[str, Any]) -> None:
    """Whoever counts and compares runs need not doubt what is in them."""
    path = tmp_path / "history"
    path.write_text(json.dumps({**asdict(run("check", 0)), **change}) + "\n")
    assert _history.read(str(path)) == []
    assert _history.append(str(path), run("check", 1)) == 1
    assert _history.append(str(path), run("check", 1)) == 0
    assert [one.text for one in _history.read(str(path))] == ["number 1", "number 1"]


def test_bytes_that_are_no_text_cost_their_line_only(tmp_path: Path) -> None:
    path = tmp_path / "history"
    _history.append(str(path), run("backup", 0))
    path.write_bytes(b"\0\xff\xfe\n" + path.read_bytes() + b"{\xff")
    _history.append(str(path), run("backup", 1))
    assert [one.text for one in _history.read(str(path))] == ["number 0", "number 1"]


def test_no_file_is_no_history(tmp_path: Path) -> None:
    assert _history.read(str(tmp_path / "none")) == []
