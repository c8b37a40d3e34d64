# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of an instance: written once, read by Python and by sh, with the same outcome."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._instance import _record
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._record import Instance
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _cluster
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from hypothesis import given, settings
from hypothesis import strategies as st

CLUSTER = Cluster(
    "/data/14 main", "/usr/lib/postgresql/14/bin", "/run/postgresql", system_identifier="18446744073709551557"
)
INSTANCE = Instance(
    "main", "/etc/walg", "/var/lib/walg", "/var/log/walg", "/usr/lib/walg", "/bin/wal-g-3.0.8", "gs://b/p", CLUSTER
)
AWKWARD = [
    "plain",
    " two  blanks ",
    "it's",
    "''",
    "'",
    '"double"',
    "$HOME `id` $(id) ${x}",
    "100%p %% %",
    "back\\slash \\n \\",
    "#no comment",
    "a=b=c",
    "* ? [a-z] ~ ! & ; | < >",
    "Zürich 東京 🐘",
    "-n",
    "",
]
#: No line break of any kind and no control character: such a value is refused.
TEXTS = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=40)


def by_sh(path: Path, key: str) -> str:
    """What a POSIX shell has in a variable after sourcing a file."""
    script = f'set -eu; . "$1"; printf %s "${key}"'
    return subprocess.run(["sh", "-c", script, "sh", str(path)], capture_output=True, check=True).stdout.decode()


@pytest.mark.parametrize("value", AWKWARD)
def test_python_and_sh_read_what_was_written(tmp_path: Path, value: str) -> None:
    made = replace(
        INSTANCE, storage=value, cluster=replace(CLUSTER, data_dir=value), environment={"HTTPS_PROXY": value}
    )
    path = tmp_path / "main.env"
    path.write_text(_record.render(made), encoding="utf-8")
    assert _record.parse(path.read_text(encoding="utf-8"), "x") == made
    assert by_sh(path, "STORAGE") == by_sh(path, "DATA_DIR") == by_sh(path, "HTTPS_PROXY") == value


@given(TEXTS, TEXTS, TEXTS, st.integers(0, 10**9), st.dictionaries(st.sampled_from(_record.ENVIRONMENT), TEXTS))
def test_record_round_trip(data_dir: str, options: str, binary: str, seconds: int, environment: dict[str, str]) -> None:
    cluster = replace(CLUSTER, data_dir=data_dir, start_options=options)
    made = replace(INSTANCE, binary=binary, cluster=cluster, push_timeout=seconds, environment=environment)
    assert _record.parse(_record.render(made), "x") == made


@settings(max_examples=20)
@given(value=TEXTS)
def test_sh_agrees_on_any_text(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    path = tmp_path_factory.mktemp("record") / "main.env"
    path.write_text(_record.render(replace(INSTANCE, storage=value)), encoding="utf-8")
    assert by_sh(path, "STORAGE") == value


def test_what_the_wrappers_need_is_in_the_record() -> None:
    """wal-push and wal-fetch stop when one of these is missing."""
    lines = dict(line.split("=", 1) for line in _record.render(INSTANCE).splitlines() if not line.startswith("#"))
    assert lines["WALG_CONFIG"] == "'/etc/walg/main.json'"
    assert lines["SYSTEM_IDENTIFIER"] == "'18446744073709551557'"
    assert {"WALG_BINARY", "WALG_INSTANCE", "PUSH_TIMEOUT", "FETCH_TIMEOUT", "STATE_DIR", "DATA_DIR"} <= set(lines)


def test_the_owner_s_home_is_in_the_record() -> None:
    """An owner that this host does not know (yet) has none."""
    me = User.current()
    mine = replace(INSTANCE, cluster=replace(CLUSTER, os_user=me.name))
    assert f"HOME='{me.home}'" in _record.render(mine).splitlines()
    nobody = replace(INSTANCE, cluster=replace(CLUSTER, os_user="no-such-user"))
    assert "\nHOME=" not in _record.render(nobody)


def test_variables_that_are_not_for_the_network_stay_out() -> None:
    text = _record.render(replace(INSTANCE, environment={"HTTP_PROXY": "http://p", "LD_PRELOAD": "/x.so"}))
    assert "HTTP_PROXY='http://p'" in text
    assert "LD_PRELOAD" not in text


@pytest.mark.parametrize("value", ["a\nLD_PRELOAD='x'", "a\rb", "a\0b", "\x1b[0m", "tab\there"])
def test_a_control_character_is_refused(value: str) -> None:
    with pytest.raises(WalgError, match="control character in STORAGE"):
        _record.render(replace(INSTANCE, storage=value))


def test_a_record_from_before_configuration_files_were_noted() -> None:
    made = replace(INSTANCE, cluster=replace(CLUSTER, config_file="/etc/postgresql/14/main/postgresql.conf"))
    text = _record.render(made)
    assert _record.parse(text, "x") == made
    older = "\n".join(line for line in text.splitlines() if not line.startswith("PG_CONFIG_FILE="))
    assert _record.parse(older, "x") == replace(made, cluster=replace(CLUSTER, config_file=""))


@pytest.mark.parametrize("key", ["DATA_DIR", "WALG_INSTANCE", "BACKUP_TIMEOUT"])
def test_a_record_of_another_version_is_refused(key: str) -> None:
    text = "\n".join(line for line in _record.render(INSTANCE).splitlines() if not line.startswith(f"{key}="))
    with pytest.raises(WalgError, match=rf"/x/main\.env lacks {key}"):
        _record.parse(text, "/x/main.env")


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("main", True),
        ("m", True),
        ("14-main_2", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("", False),
        ("Main", False),
        ("-x", False),
        ("_x", False),
        ("a/b", False),
        ("..", False),
        ("a b", False),
        ("ä", False),
    ],
)
def test_instance_name(name: str, good: bool) -> None:
    if good:
        _record.check_name(name)
        return
    with pytest.raises(WalgError, match="Instance name"):
        _record.check_name(name)


def test_load_and_require(tmp_path: Path) -> None:
    made = replace(INSTANCE, config_dir=str(tmp_path))
    assert _record.load(str(tmp_path), "main") is None
    with pytest.raises(WalgError, match="not configured") as caught:
        _record.require(str(tmp_path), "main")
    assert str(tmp_path / "main.env") in caught.value.msg
    (tmp_path / "main.env").write_text(_record.render(made))
    assert _record.load(str(tmp_path), "main") == _record.require(str(tmp_path), "main") == made


def test_load_checks_the_name_before_it_is_a_path(tmp_path: Path) -> None:
    with pytest.raises(WalgError, match="Instance name"):
        _record.load(str(tmp_path), "../main")


@pytest.mark.parametrize(
    ("given_options", "expected"),
    [
        ({}, {}),
        ({"port": 5433}, {"port": "5433"}),
        ({"port": None, "user": ""}, {}),
        ({"service": "none", "unknown": "x"}, {"service": "none"}),
    ],
)
def test_given_options_win(given_options: dict[str, Any], expected: dict[str, str]) -> None:
    assert _cluster.with_cluster(CLUSTER, given_options) == replace(CLUSTER, **expected)


def test_cluster_as_a_plain_dict_and_back() -> None:
    assert Cluster(**_cluster.cluster_dict(CLUSTER)) == CLUSTER


def test_paths() -> None:
    assert INSTANCE.settings_file == "/etc/walg/main.json"
    assert INSTANCE.record_file == "/etc/walg/main.env"
    assert _record.credentials_path("/etc/walg", "main") == "/etc/walg/main.credentials.json"
