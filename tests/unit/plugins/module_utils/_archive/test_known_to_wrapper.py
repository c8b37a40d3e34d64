# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the push wrapper of a container is told in the record, and that it is read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive import _ownership
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _inside
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _record
from support.inside import work_inside
from support.walg_world import World

SETTINGS = {"WALG_FILE_PREFIX": "/storage/maps"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_on_a_machine_it_needs_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inside, "_current", [])
    assert _ownership.known_to_wrapper(world.instance, SETTINGS) is world.instance


def test_in_a_container(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    work_inside(monkeypatch, machine="0123456789abcdef /place/of/the/kit")
    told = _ownership.known_to_wrapper(world.instance, SETTINGS)
    writer = _ownership.writer_on(str(world.data_dir))
    assert (told.machine, told.writer) == ("0123456789abcdef", writer.name)
    name, _equals, value = told.owner_place.partition("=")
    assert (name, value.startswith("/storage/maps"), value == "/storage/maps") == ("WALG_FILE_PREFIX", True, False)
    assert told == replace(world.instance, machine=told.machine, writer=told.writer, owner_place=told.owner_place)
    work_inside(monkeypatch, machine="0123456789abcdef /another/kit")
    assert _ownership.known_to_wrapper(world.instance, SETTINGS).writer != told.writer


def test_the_root_of_a_bucket_has_no_place_beside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    work_inside(monkeypatch)
    assert _ownership.known_to_wrapper(world.instance, {"WALG_GS_PREFIX": "gs://bucket"}).owner_place == ""


def test_the_record_is_read_as_it_was_written(world: World) -> None:
    told = replace(world.instance, machine="m", writer="w1", owner_place="WALG_FILE_PREFIX=/it's/here")
    text = _record.render(told)
    assert {"MACHINE='m'", "WRITER='w1'"} < set(text.splitlines())
    assert _record.parse(text, "x") == told


def test_a_record_of_a_machine_names_none(world: World) -> None:
    text = _record.render(replace(world.instance, machine="m", owner_place="p"))
    assert not [one for one in text.splitlines() if one.startswith(("MACHINE=", "WRITER=", "OWNER_PLACE="))]
    found = _record.parse(text, "x")
    assert (found.machine, found.writer, found.owner_place) == ("", "", "")
