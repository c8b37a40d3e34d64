# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module whose instance's server is in a container, with an engine in memory and work that is only said to be done."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _session
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _enter
from support.helper_engine import Helpers, Module, Work, placed, write


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Helpers:
    made = Helpers()
    monkeypatch.setattr(_enter, "Runner", lambda: made)
    return made


@pytest.fixture
def module(tmp_path: Path) -> Module:
    config = tmp_path / "etc"
    write(placed(tmp_path), config)
    return Module({"instance": "main", "config_dir": str(config)})


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    made = Work([])
    monkeypatch.setattr(_session, "work", made)
    return made
