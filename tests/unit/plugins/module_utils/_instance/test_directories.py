# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where files go: by the filesystem hierarchy standard for root, below the home for everybody else."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _directories

ROOT = User("root", 0, 0, "/root-home")
OTHER = User("postgres", 999, 999, "/var/lib/postgresql")


def chosen(monkeypatch: pytest.MonkeyPatch, user: User, name: str = "main", **given: Any) -> dict[str, str]:
    monkeypatch.setattr(User, "current", classmethod(lambda _cls: user))
    return _directories.of_instance(name, given)


def test_for_root(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, ROOT) == {
        "bin_dir": "/usr/local/bin",
        "config_dir": "/etc/mapswipe-walg",
        "program_dir": "/usr/local/lib/mapswipe-walg",
        "state_dir": "/var/lib/mapswipe-walg/main",
        "log_dir": "/var/log/mapswipe-walg/main",
        "cron_dir": "/etc/cron.d",
    }


def test_for_others_all_is_below_their_home(monkeypatch: pytest.MonkeyPatch) -> None:
    found = chosen(monkeypatch, OTHER, "second")
    assert all(path.startswith("/var/lib/postgresql/.") for path in found.values())
    assert found["state_dir"] == "/var/lib/postgresql/.local/state/mapswipe-walg/second"


def test_given_ones_win_and_are_made_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    found = chosen(monkeypatch, ROOT, state_dir="/srv//walg/", config_dir="/srv/x/../etc", log_dir="", bin_dir=None)
    assert (found["state_dir"], found["config_dir"]) == ("/srv/walg/main", "/srv/etc")
    assert (found["log_dir"], found["bin_dir"]) == ("/var/log/mapswipe-walg/main", "/usr/local/bin")


def test_two_instances_share_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = chosen(monkeypatch, ROOT, "one"), chosen(monkeypatch, ROOT, "two")
    assert {key for key in one if one[key] != two[key]} == {"state_dir", "log_dir"}


def test_a_name_that_is_a_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WalgError, match="Instance name"):
        chosen(monkeypatch, ROOT, "../etc")
