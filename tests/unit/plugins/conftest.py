# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clusters of unit tests belong to whoever runs these: root's are refused elsewhere, see test_whose.py."""

from __future__ import annotations

import os

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _whose


@pytest.fixture(autouse=True)
def _roots_clusters_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        monkeypatch.setattr(_whose, "refuse_other", lambda _cluster: None)
