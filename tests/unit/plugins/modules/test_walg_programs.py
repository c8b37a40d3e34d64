# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_programs: check, do, check, do; a wrapper that differs; and what it fails with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _wrappers
from ansible_collections.mapswipe.walg.plugins.modules import walg_programs
from support.module_call import Call
from support.observe import files

WRAPPERS = _wrappers.texts()


@pytest.fixture
def call(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    options = {"path": str(tmp_path / "lib"), "user": User.current().name}
    return Call(walg_programs, capfd, monkeypatch, **options)


def test_check_do_check_do(call: Call, tmp_path: Path) -> None:
    place = tmp_path / "lib"
    foretold = call(check=True)
    assert (foretold["changed"], foretold["path"], place.exists()) == (True, str(place), False)
    done = call()
    assert (done["files"], done["diff"]) == (foretold["files"], foretold["diff"])
    assert {str(place / name) for name in (*WRAPPERS, "walg-job")} < set(done["files"])
    assert all(os.access(place / name, os.X_OK) for name in (*WRAPPERS, "walg-job"))
    assert (place / "wal-push").read_text() == WRAPPERS["wal-push"]
    before = files(place)
    for check in (True, False):
        again = call(check=check)
        assert (again["changed"], again["files"], files(place)) == (False, [], before)


def test_what_differs_is_written_alone(call: Call, tmp_path: Path) -> None:
    call()
    (tmp_path / "lib" / "wal-push").write_text("#!/bin/sh\n: of another version\n")
    answer = call()
    assert answer["files"] == [str(tmp_path / "lib" / "wal-push")]
    assert (tmp_path / "lib" / "wal-push").read_text() == WRAPPERS["wal-push"]


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("user", "no_such_user", "no_such_user"),
        ("path", "lib", "The option path"),
        ("path", "/a/../b", "The option path"),
    ],
)
def test_what_it_fails_with(call: Call, tmp_path: Path, option: str, value: str, text: str) -> None:
    for check in (True, False):
        assert text in call(check=check, **{option: value})["msg"]
    assert not (tmp_path / "lib").exists()
