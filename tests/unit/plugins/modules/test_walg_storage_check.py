# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_storage_check: of an instance as it is configured, and of settings that are not on the host yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner
from ansible_collections.mapswipe.walg.plugins.modules import walg_storage_check
from support.module_call import Call
from support.observe import files
from support.walg_world import VERSION_LINE, World

SECRET = "s3cr3t/value+1"


class Storage(Runner):
    """WAL-G with an empty storage that keeps one object; ``fails``: what it answers to an act."""

    def __init__(self, **fails: str) -> None:
        super().__init__()
        self.fails = fails
        self.acts: list[str] = []
        self.text = ""

    def run(self, argv: Sequence[str], **_options: Any) -> Result:
        if argv[1] == "--version":
            return Result(list(argv), 0, VERSION_LINE)
        act = argv[4] if argv[3] == "st" else argv[3]
        self.acts.append(act)
        if act in self.fails:
            return Result(list(argv), 1, "", self.fails[act])
        if act == "put":
            self.text = Path(argv[5]).read_text()
        if act == "cat" and not self.text:
            return Result(list(argv), 1, "", "ERROR: no such object\n")
        answers = {"cat": self.text, "ls": "type size last modified name\n", "backup-list": "[]"}
        return Result(list(argv), 0, answers.get(act, ""))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def call(world: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return Call(walg_storage_check, capfd, monkeypatch, config_dir=world.instance.config_dir)


@pytest.fixture
def wanted(world: World) -> dict[str, Any]:
    """Settings that are not on the host yet."""
    cluster = {name: value for name, value in asdict(world.instance.cluster).items() if isinstance(value, str)}
    directories = {
        name: str(world.root / "new" / name) for name in ("config_dir", "state_dir", "log_dir", "program_dir")
    }
    return {
        "storage": "s3://bucket/path",
        "secrets": {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": SECRET},
        "binary": world.instance.binary,
        "cluster": cluster,
        "directories": directories,
    }


def test_an_instance_as_it_is_configured(world: World, call: Call) -> None:
    before = files(world.root)
    storage = Storage()
    answer = call(storage)
    assert (answer["changed"], answer["backups"], answer["can_write"]) == (False, 0, True)
    assert storage.acts[-3:] == ["put", "cat", "rm"]
    storage = Storage()
    assert "can_write" not in call(storage, check=True)
    assert "put" not in storage.acts, "check mode only lists"
    assert files(world.root) == before


def test_settings_that_are_not_there_yet(world: World, call: Call, wanted: dict[str, Any]) -> None:
    before = files(world.root)
    answer = call(Storage(), **wanted)
    assert (answer["can_write"], files(world.root)) == (True, before)
    assert SECRET not in str(answer)
    for name in ("binary", "cluster", "directories"):
        assert "required by 'storage'" in call(Storage(), **{**wanted, name: None})["msg"]


def test_a_host_that_only_restores(call: Call) -> None:
    denied = call(Storage(put="Error 403: forbidden\n"), access="read_only")
    assert (denied["can_write"], denied["warnings"]) == (False, [])
    assert "403" in denied["write_answer"]
    allowed = call(Storage(), access="read_only")
    assert allowed["can_write"] is True
    assert "These credentials can change the archive" in allowed["warnings"][0]
    storage = Storage()
    assert "can_write" not in call(storage, access="read")
    assert "put" not in storage.acts


def test_what_the_storage_answers_is_told(call: Call) -> None:
    for check in (True, False):
        answer = call(Storage(ls="Error 403: forbidden\n"), check=check)
        assert "may not list there" in answer["msg"]
        assert (answer["rc"], answer["stderr"]) == (1, "Error 403: forbidden\n")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"timeout": 0}, "The option timeout is 0"),
        ({"instance": "other"}, "is not configured"),
        ({"config_dir": "etc"}, "walg_config_dir"),
    ],
)
def test_what_it_fails_with(call: Call, change: dict[str, Any], text: str) -> None:
    storage = Storage()
    assert text in call(storage, **change)["msg"]
    assert storage.acts == []
