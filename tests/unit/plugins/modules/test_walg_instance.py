# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules walg_instance and walg_instance_info on a host whose server is stopped: find, make ready, and leave it clean again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner
from ansible_collections.mapswipe.walg.plugins.modules import walg_instance, walg_instance_info
from support.control_file import control
from support.module_call import Call
from support.observe import files, kept

SECRET = "s3cr3t/value+1"
SAYS = "wal-g version v3.0.8\tabc\t2026.01.20\tPostgreSQL\n"
NAMES = ("bin_dir", "config_dir", "program_dir", "state_dir", "log_dir", "cron_dir")


class Host(Runner):
    """PostgreSQL's programs, WAL-G and an empty storage; ``fails``: what the storage answers."""

    def __init__(self, fails: str = "") -> None:
        super().__init__()
        self.fails = fails
        self.text = ""

    def run(self, argv: Sequence[str], **_options: Any) -> Result:
        fixed = {"-V": "postgres (PostgreSQL) 14.23\n", "--version": SAYS}
        if argv[1] in fixed or argv[1] == "-c":
            return Result(list(argv), 0, fixed.get(argv[1], ""))
        act = argv[4] if argv[3] == "st" else argv[3]
        if self.fails or (act == "cat" and not self.text):
            return Result(list(argv), 1, "", self.fails or "ERROR: no such object\n")
        if act == "put":
            self.text = Path(argv[5]).read_text()
        if act == "rm":
            self.text = ""
        answers = {"cat": self.text, "ls": "type size last modified name\n", "backup-list": "[]"}
        return Result(list(argv), 0, answers.get(act, ""))


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "data" / "global").mkdir(parents=True)
    (tmp_path / "data" / "global" / "pg_control").write_bytes(control(1300))
    (tmp_path / "data" / "PG_VERSION").write_text("14\n")
    cluster = {"data_dir": str(tmp_path / "data"), "bin_dir": "/opt/pg", "socket_dir": "/run/pg", "service": "none"}
    return {"cluster": cluster, "directories": {name: str(tmp_path / "host" / name) for name in NAMES}}


@pytest.fixture
def info(options: dict[str, Any], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return Call(walg_instance_info, capfd, monkeypatch, **options)


@pytest.fixture
def call(
    options: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Call:
    build = tmp_path / "wal-g"
    build.write_bytes(b"a build of WAL-G")
    given = {
        "storage": "s3://bucket/path",
        "secrets": {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": SECRET},
        "version": "3.0.8",
        "binary_src": str(build),
        "binary_checksum": "sha256:" + hashlib.sha256(build.read_bytes()).hexdigest(),
    }
    return Call(walg_instance, capfd, monkeypatch, **options, **given)


def steps(answer: dict[str, Any]) -> list[str]:
    return [one["step"] for one in answer["steps"]]


def test_ready_and_clean_again(call: Call, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    foretold = call(Host(), check=True)
    assert (foretold["changed"], steps(foretold), files(host)) == (True, ["install", "programs", "settings"], {})
    done = call(Host())
    assert (done["steps"], done["diff"], done["warnings"]) == (foretold["steps"], foretold["diff"], [])
    assert (done["storage"]["can_write"], done["cluster"]["data_dir"]) == (True, str(tmp_path / "data"))
    assert SECRET in Path(done["settings_file"]).read_text()
    assert SECRET not in json.dumps([foretold, done])
    before = files(host)
    for check in (True, False):
        again = call(Host(), check=check)
        assert (again["changed"], again["steps"], files(host)) == (False, [], before)
    (tmp_path / "data").rename(tmp_path / "lost")  # a cluster that is there has to be asked whether it archives
    gone = call(Host(), check=True, state="absent")
    assert (steps(gone), files(host)) == (["programs", "settings"], before)
    assert steps(call(Host(), state="absent")) == ["programs", "settings"]
    assert kept(host) == {}
    assert call(Host(), state="absent")["changed"] is False


def test_what_a_present_instance_needs(call: Call) -> None:
    del call.options["version"]
    assert "state is present but all of the following are missing: version" in call(Host())["msg"]


def test_a_failed_step_is_named_with_what_was_done(call: Call, tmp_path: Path) -> None:
    answer = call(Host("Error 403: forbidden\n"))
    assert answer["msg"].startswith("Storage: ")
    assert (answer["step"], answer["steps"], answer["rc"]) == ("storage", [], 1)
    assert not (tmp_path / "host").exists()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"keep": -1}, "The option keep is -1"),
        ({"version": None}, "walg_version is ''"),
        ({"storage": "bucket"}, "bucket"),
        ({"secrets": [SECRET]}, "must be a dictionary"),
        ({"binary_checksum": None}, "required by 'binary_src'"),
        ({"variables": ["walg_storge"], "known_variables": ["walg_storage"]}, "did you mean walg_storage"),
    ],
)
def test_what_it_fails_with(call: Call, tmp_path: Path, change: dict[str, Any], text: str) -> None:
    for check in (True, False):
        answer = call(Host(), check=check, **change)
        assert text in answer["msg"]
        assert SECRET not in json.dumps(answer)
        assert not (tmp_path / "host").exists()


def test_what_is_found_is_told(info: Call, options: dict[str, Any], tmp_path: Path) -> None:
    before = files(tmp_path)
    answer = info(Host())
    assert (answer["changed"], files(tmp_path)) == (False, before)
    assert options["cluster"].items() <= answer["cluster"].items()
    assert answer["cluster"]["system_identifier"]
    assert answer["directories"]["state_dir"] == str(tmp_path / "host" / "state_dir" / "main")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"instance": "../x"}, "Instance name '../x' is not allowed"),
        ({"cluster": {"data_dir": "data"}}, "walg_pg_data_dir"),
        (
            {"cluster": {"data_dir": "/none/data", "bin_dir": "/b", "socket_dir": "/s"}},
            "does not exist: set walg_pg_os_user",
        ),
        ({"cluster": {"data_dir": "/none/data"}}, "set walg_pg_bin_dir and walg_pg_socket_dir too, or start it"),
    ],
)
def test_what_can_not_be_found(info: Call, change: dict[str, Any], text: str) -> None:
    assert text in info(Host(), **change)["msg"]


def test_programs_that_are_none(info: Call) -> None:
    class Without(Host):
        def run(self, argv: Sequence[str], **_options: Any) -> Result:
            return Result(list(argv), 127, "", "not found\n")

    assert "/opt/pg/postgres -V ended with 127: not found. Correct walg_pg_bin_dir." in info(Without())["msg"]
