# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_verify: it answers what it documents, and hides no error of the storage."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.modules import walg_verify
from support.module_call import Call
from support.observe import files
from support.shelf import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf.of(tmp_path, 5)


@pytest.fixture
def call(shelf: Shelf, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    assert shelf.world is not None
    return Call(walg_verify, capfd, monkeypatch, config_dir=shelf.world.instance.config_dir)


def test_it_answers_what_it_documents(shelf: Shelf, call: Call) -> None:
    assert shelf.world is not None
    before = files(shelf.world.root)
    answer = call(shelf, check=True)
    assert (answer["changed"], answer["sound"], shelf.read) == (False, True, [])
    assert files(shelf.world.root) == before
    answer = call(shelf, everything=True)
    assert (answer["changed"], answer["sound"], answer["reread"]["objects"], len(shelf.read)) == (False, True, 11, 8)


def test_damage_is_an_answer_not_an_error(shelf: Shelf, call: Call) -> None:
    shelf.objects.pop(shelf.put_segment(4))
    answer = call(shelf)
    assert (answer["sound"], answer.get("failed")) == (False, None)
    assert answer["chain"]["gaps"][0]["first"].endswith("04")


def test_errors(shelf: Shelf, call: Call) -> None:
    assert "can't be negative" in call(shelf, days=-1)["msg"]
    assert "is not configured" in call(shelf, instance="other")["msg"]
    shelf.dead = "dial tcp: connection refused"
    assert "connection refused" in call(shelf)["msg"]
