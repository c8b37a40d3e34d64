# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of modules: facts as they are, everything else fit to be shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _answer

SPEC = {
    "instance": {"type": "str"},
    "storage": {"type": "str", "no_log": True},
    "settings": {"type": "raw", "no_log": True},
    "secrets": {"type": "raw", "no_log": True},
    "google_credentials": {"type": "raw", "no_log": True},
    "url_password": {"type": "str", "no_log": True},
    "primary_conninfo": {"type": "str", "no_log": True},
}


class _EndError(Exception):
    pass


class Module:
    """What AnsibleModule does for us, without its own hiding."""

    def __init__(self, **params: Any) -> None:
        self.params = {name: params.get(name) for name in SPEC}
        self.argument_spec: dict[str, Any] = SPEC
        self.no_log_values = {"main"}
        self._tmpdir: str | None = None
        self.answer: dict[str, Any] = {}
        self.warned = ""

    def exit_json(self, **answer: Any) -> NoReturn:
        self.answer = answer
        raise _EndError

    def fail_json(self, msg: str, **answer: Any) -> NoReturn:
        self.exit_json(msg=msg, failed=True, **answer)

    def warn(self, warning: str) -> None:
        self.warned = warning


def test_facts_are_handed_on_as_they_are() -> None:
    module = Module(instance="main", secrets={"PGPASSWORD": "main", "OS_PASSWORD": "postgres", "SSH_PASSWORD": "var"})
    cluster = {"data_dir": "/var/lib/postgresql/14/main", "os_user": "postgres"}
    with pytest.raises(_EndError):
        _answer.succeed(module, changed=True, cluster=cluster, record_file="/etc/main.env", note="postgres said no")
    assert module.no_log_values == set(), "Ansible hides nothing in it"
    assert (module.answer["cluster"], module.answer["record_file"]) == (cluster, "/etc/main.env")
    assert module.answer["note"] == "******** said no"
    assert module.answer["changed"] is True


@pytest.mark.parametrize("credentials", [None, "null", "true", {"type": "x", "use_mtls": True, "delegates": [None]}])
def test_an_option_that_is_not_given_hides_no_word(credentials: object) -> None:
    module = Module(instance="main", google_credentials=credentials)
    said = "its format is None, null is not true, and True is not False"
    with pytest.raises(_EndError):
        _answer.fail(module, WalgError(said))
    assert module.answer["msg"] == said


def test_no_option_that_is_secret_comes_back() -> None:
    key = {"type": "service_account", "client_email": "a@b.example", "private_key": "PlantedKey7\nPlantedLine7"}
    module = Module(
        storage="s3://me:Planted7@bucket/path",
        settings={"AWS_REGION": "eu-north-1", "OS_PASSWORD": "PlantedOpen7", "TYPO": "PlantedTypo7"},
        secrets={"PGPASSWORD": "PlantedSecret7", "n": 12345678},
        google_credentials=key,
        url_password="PlantedWord7",
        primary_conninfo="host=a password=PlantedInfo7",
    )
    said = (
        "eu-north-1 PlantedOpen7 PlantedTypo7 PlantedSecret7 12345678 PlantedKey7 PlantedLine7 PlantedWord7 a@b.example "
        "host=a password=PlantedInfo7 https://x:Planted7@y \x1b[31m"
    )
    with pytest.raises(_EndError):
        _answer.fail(module, WalgError(said, stderr=said, cmd=["wal-g", said]))
    told = str(module.answer)
    assert "Planted" not in told
    assert "12345678" not in told
    assert "eu-north-1" in module.answer["msg"]
    assert "a@b.example" in module.answer["msg"]
    assert "\x1b" not in module.answer["msg"]
    options = module.answer["invocation"]["module_args"]
    assert options["storage"] == "s3://********@bucket/path"
    assert {options[name] for name in ("settings", "secrets", "google_credentials", "url_password")} == {
        "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    }
    _answer.warn(module, said)
    assert "Planted" not in module.warned


def test_the_file_that_ansible_sent_is_removed(tmp_path: Path) -> None:
    module = Module()
    _answer.begin(module)
    module._tmpdir = str(tmp_path)
    for name in ("AnsiballZ_walg_config.py", "AnsiballZ_other.py"):
        (tmp_path / name).write_text("")
    _answer.begin(module)
    assert [path.name for path in tmp_path.iterdir()] == ["AnsiballZ_other.py"]


def test_it_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    module = Module()
    module._tmpdir = str(tmp_path)
    module.__dict__["_keep_remote_files"] = True
    (tmp_path / "AnsiballZ_walg_config.py").write_text("")
    _answer.begin(module)
    assert len(list(tmp_path.iterdir())) == 1
