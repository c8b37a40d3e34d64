# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_config as Ansible calls it: check, do, check, do; and what it never prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.modules import walg_config

SECRET = "s3cr3t/value+1"


def options(root: Path) -> dict[str, Any]:
    return {
        "storage": "s3://bucket/path",
        "secrets": {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": SECRET},
        "binary": "/bin/true",  # an empty storage, as WAL-G up to 3.0.5 lists it
        "cluster": {"data_dir": "/d", "bin_dir": "/b", "socket_dir": "/s", "os_user": User.current().name},
        "directories": {
            "config_dir": str(root / "etc"),
            "state_dir": str(root / "state" / "main"),
            "log_dir": str(root / "log" / "main"),
            "program_dir": str(root / "lib"),
        },
    }


def run(capfd: pytest.CaptureFixture[str], arguments: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """Run the module and return what it printed, with its exit code."""
    given = {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}
    with patch_module_args(given), pytest.raises(SystemExit) as caught:
        walg_config.main()
    text = capfd.readouterr().out
    assert SECRET not in text
    answer: dict[str, Any] = json.loads(text)
    return {**answer, "rc": caught.value.code}


def test_check_do_check_do(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first = run(capfd, options(tmp_path), check=True)
    assert (first["changed"], first["rc"], list(tmp_path.iterdir())) == (True, 0, [])
    second = run(capfd, options(tmp_path))
    assert second["changed"] is True
    assert second["diff"] == first["diff"]
    assert second["diff"][1]["after"] == (tmp_path / "etc" / "main.env").read_text()
    assert SECRET in (tmp_path / "etc" / "main.json").read_text()
    written = (tmp_path / "etc" / "main.json").stat().st_mtime_ns
    assert run(capfd, options(tmp_path), check=True)["changed"] is False
    assert run(capfd, options(tmp_path))["changed"] is False
    assert (tmp_path / "etc" / "main.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"secrets": f"AWS_SECRET_ACCESS_KEY={SECRET}"}, "must be a dictionary"),
        ({"secrets": [SECRET]}, "must be a dictionary"),
        ({"google_credentials": SECRET}, "not the JSON"),
        ({"storage": "bucket"}, "bucket"),
        ({"storage": None}, "storage"),
    ],
)
def test_refusals(capfd: pytest.CaptureFixture[str], tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    """A plain message, nothing written, and the secret nowhere, in whatever option it was put by mistake."""
    answer = run(capfd, {**options(tmp_path), **changes})
    assert (answer["rc"], answer["failed"]) == (1, True)
    assert text in answer["msg"]
    assert list(tmp_path.iterdir()) == []
