# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine's record of a server in a container: read back as written, planned in check mode, not believed when odd."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._container import _placed
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from support.fake_engine import Engine, recorded
from support.helper_engine import SERVER, Helpers, placed, write


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    where = placed(tmp_path, container="", project_dir="/srv-of-maps", service="dü")
    text = _placed.render(where)
    assert _placed.parse(text, "x") == where
    assert (text[-1], json.loads(text)["format"]) == ("\n", 1)
    assert _placed.record_path("/etc/c", "main") == "/etc/c/main.container.json"


def test_where_its_files_are(tmp_path: Path) -> None:
    where = placed(tmp_path)
    folders = where.directories()
    assert set(folders) == {"bin_dir", "config_dir", "program_dir", "state_dir", "log_dir"}
    assert {os.path.dirname(path) for path in folders.values()} == {where.kit}
    assert len(set(folders.values())) == len(folders)
    assert not where.fragment.startswith(f"{where.base}/")  # the project's owner reads it, and can't enter there
    assert where.where() == f"the container {SERVER}"
    assert placed(tmp_path, container="", project_dir="/p", service="db").where() == "the service db in /p"


def test_the_container_is_found(tmp_path: Path) -> None:
    engine = Helpers()
    assert placed(tmp_path).find(engine).name == SERVER
    told = recorded("docker-20.10")
    labels = told["Config"]["Labels"]
    by_service = placed(
        tmp_path,
        container="",
        project_dir=labels["com.docker.compose.project.working_dir"],
        service=labels["com.docker.compose.service"],
    )
    assert by_service.find(Engine(containers=[told])).identifier == told["Id"]
    with pytest.raises(WalgError, match="There is no container 'other'"):
        placed(tmp_path, container="other").find(engine)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '"text"', "{}", '{"format": 1}', '{"format": 2, "instance": "main"}'],
)
def test_damaged_records(text: str) -> None:
    with pytest.raises(
        WalgError, match=r"^/etc/x is not a record of this version: run the role mapswipe\.walg\.walg\.$"
    ):
        _placed.parse(text, "/etc/x")


def test_a_record_of_another_version(tmp_path: Path) -> None:
    told = json.loads(_placed.render(placed(tmp_path)))
    assert _placed.parse(json.dumps({**told, "later": 1}), "x") == placed(tmp_path)
    for name in told:
        with pytest.raises(WalgError, match="not a record of this version"):
            _placed.parse(json.dumps({key: value for key, value in told.items() if key != name}), "x")
    with pytest.raises(WalgError, match="not a record of this version"):
        _placed.parse(json.dumps({**told, "format": 2}), "x")


def test_it_is_loaded(tmp_path: Path) -> None:
    config = tmp_path / "etc"
    assert _placed.load(str(config), "main") is None
    write(placed(tmp_path), config)
    assert _placed.load(str(config), "main") == placed(tmp_path)
    assert _placed.load(str(config), "other") is None
    (config / "main.container.json").write_text("{}")
    with pytest.raises(WalgError, match=r"main\.container\.json is not a record"):
        _placed.load(str(config), "main")
    with pytest.raises(WalgError):
        _placed.load(str(config), "../main")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root judges whose a record is")
@pytest.mark.parametrize("kind", ["user's", "everybody's", "directory"])
def test_a_record_that_others_can_write(tmp_path: Path, kind: str) -> None:
    config = tmp_path / "etc"
    write(placed(tmp_path), config)
    path = config / "main.container.json"
    if kind == "user's":
        os.chown(path, 1234, 1234)
    elif kind == "everybody's":
        path.chmod(0o666)
    else:
        config.chmod(0o777)
    with pytest.raises(WalgError, match=r"^The container.s record: "):
        _placed.load(str(config), "main")


def test_a_record_that_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "etc"
    there, planned = placed(tmp_path), placed(tmp_path, container="new")
    monkeypatch.setenv(_placed.PLANNED, _placed.render(planned))
    assert _placed.load(str(config), "main") is None  # a real run reads what is written
    assert _placed.load(str(config), "main", check_mode=True) == planned
    assert _placed.load(str(config), "other", check_mode=True) is None
    write(there, config)
    assert _placed.load(str(config), "main", check_mode=True) == planned
    assert _placed.load(str(config), "main") == there
    monkeypatch.setenv(_placed.PLANNED, "")
    assert _placed.load(str(config), "main", check_mode=True) == there
    monkeypatch.setenv(_placed.PLANNED, "{")
    with pytest.raises(WalgError, match=r"^The record that is planned is not a record"):
        _placed.load(str(config), "main", check_mode=True)
    assert _placed.load(str(config), "main") == there
