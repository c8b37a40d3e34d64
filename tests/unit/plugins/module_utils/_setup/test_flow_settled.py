# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands already needs no step; what differs in the least does."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._install import _installed
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _config, _up_to_date
from support.control_file import control

VERSION = "3.0.8"
SAYS = f"wal-g version v{VERSION}\tabc\t2026.01.20\tPostgreSQL\n"
BUILD = b"a build of WAL-G"


class Walg(Runner):
    """WAL-G that says its version, and whose storage is empty."""

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        return Result(list(argv), 0, SAYS if argv[-1] == "--version" else "[]")


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    names = ("bin_dir", "config_dir", "program_dir", "state_dir", "log_dir", "cron_dir")
    return {name: str(tmp_path / name / ("main" if name in ("state_dir", "log_dir") else "")) for name in names}


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    me = User.current().name
    (tmp_path / "data" / "global").mkdir(parents=True)
    (tmp_path / "data" / "global" / "pg_control").write_bytes(control(1300))
    return {
        "data_dir": str(tmp_path / "data"),
        "bin_dir": "/bin",
        "socket_dir": "/run/pg",
        "port": "5432",
        "user": "postgres",
        "os_user": me,
    }


@pytest.fixture
def params(tmp_path: Path) -> dict[str, Any]:
    source = tmp_path / "wal-g"
    source.write_bytes(BUILD)
    return {
        "instance": "main",
        "version": VERSION,
        "storage": f"file://{tmp_path}/storage",
        "settings": {},
        "secrets": None,
        "google_credentials": None,
        "wanted": {
            "binary": None,
            "managed": True,
            "src": str(source),
            "checksum": f"sha256:{hashlib.sha256(BUILD).hexdigest()}",
            "mirror": "https://mirror.example.com/walg",
            "keep": 1,
            "access": "write",
            "push_timeout": 15,
            "fetch_timeout": 60,
            "backup_timeout": 86400,
        },
    }


@pytest.fixture
def standing(params: dict[str, Any], cluster: dict[str, str], place: dict[str, str]) -> dict[str, Any]:
    """All of it is there; returns the options that it was made with."""
    directory = Path(place["bin_dir"])
    directory.mkdir()
    binary = directory / f"wal-g-{VERSION}"
    binary.write_bytes(BUILD)
    binary.chmod(0o755)
    record = _installed.Record(str(directory), config_dirs=[place["config_dir"]])
    entry = {"sha256": hashlib.sha256(BUILD).hexdigest(), "version": VERSION, "asset": "wal-g-pg-22.04-amd64"}
    record.add(str(binary), entry)
    record.save()
    given = {name: params[name] for name in ("instance", "storage", "settings", "secrets", "google_credentials")}
    options = {**given, **params["wanted"], "binary": str(binary), "cluster": cluster, "directories": place}
    _config.plan(options).apply(Walg())
    return params


def settled(params: dict[str, Any], cluster: dict[str, str], place: dict[str, str]) -> list[str]:
    return list(_up_to_date.look(Walg(), params, cluster, place)["settled"])


def test_nothing_is_there(params: dict[str, Any], cluster: dict[str, str], place: dict[str, str]) -> None:
    assert _up_to_date.look(Walg(), params, cluster, place) == {"settled": [], "record": ""}


def test_all_is_there(standing: dict[str, Any], cluster: dict[str, str], place: dict[str, str]) -> None:
    """The storage is not: no segment has reached it yet."""
    found = _up_to_date.look(Walg(), standing, cluster, place)
    assert found["settled"] == ["binary", "settings"]
    assert found["record"] == (Path(place["config_dir"]) / "main.env").read_text()


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"settings": {"WALG_UPLOAD_CONCURRENCY": 4}}, ["binary"]),
        ({"settings": {"NO_SUCH_SETTING": 4}}, ["binary"]),
        ({"storage": "file:///elsewhere"}, ["binary"]),
        ({"secrets": {"PGPASSWORD": "s"}}, ["binary"]),
        ({"google_credentials": "no JSON"}, ["binary"]),
        ({"wanted": {"push_timeout": 16}}, ["binary"]),
        ({"wanted": {"checksum": f"sha256:{0:064}"}}, ["settings"]),
        ({"wanted": {"checksum": "md5:0"}}, ["settings"]),
        ({"wanted": {"managed": False}}, ["binary", "settings"]),
        ({"version": "3.0.7"}, []),
    ],
)
def test_what_differs_is_left_to_its_step(
    standing: dict[str, Any], cluster: dict[str, str], place: dict[str, str], change: dict[str, Any], left: list[str]
) -> None:
    wanted = {**standing["wanted"], **change.pop("wanted", {})}
    assert settled({**standing, **change, "wanted": wanted}, cluster, place) == left


def test_the_binary_is_another(standing: dict[str, Any], cluster: dict[str, str], place: dict[str, str]) -> None:
    binary = Path(place["bin_dir"]) / f"wal-g-{VERSION}"
    binary.chmod(0o700)
    assert settled(standing, cluster, place) == ["settings"], "only root could start it"
    binary.chmod(0o755)
    binary.write_bytes(BUILD + b"!")
    assert settled(standing, cluster, place) == ["settings"]


def test_something_is_left_to_remove(standing: dict[str, Any], cluster: dict[str, str], place: dict[str, str]) -> None:
    record = _installed.load(place["bin_dir"])
    for version in ("3.0.5", "3.0.7"):
        old = Path(place["bin_dir"]) / f"wal-g-{version}"
        old.write_bytes(BUILD)
        entry = {"sha256": hashlib.sha256(BUILD).hexdigest(), "version": version, "asset": ""}
        record.binaries = {old.name: entry, **record.binaries}
    record.save()
    assert settled(standing, cluster, place) == ["settings"], "two old ones, of which one stays"


def test_a_release_by_its_record(
    standing: dict[str, Any], cluster: dict[str, str], place: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No network is needed where the record knows the digest of this build; for another build it is."""
    monkeypatch.setattr(_up_to_date._binary, "host_glibc", lambda: (2, 36))
    monkeypatch.setattr(_up_to_date.os, "uname", lambda: os.uname_result(("Linux", "db", "5", "1", "x86_64")))
    released = {**standing, "wanted": {**standing["wanted"], "src": None, "checksum": None}}
    assert settled(released, cluster, place) == ["binary", "settings"]
    monkeypatch.setattr(_up_to_date._binary, "host_glibc", lambda: (2, 31))
    assert settled(released, cluster, place) == ["settings"]


def test_of_a_lost_cluster_the_archive_has_to_be_asked(
    standing: dict[str, Any], cluster: dict[str, str], place: dict[str, str]
) -> None:
    (Path(cluster["data_dir"]) / "global" / "pg_control").unlink()
    assert settled(standing, cluster, place) == ["binary"]
