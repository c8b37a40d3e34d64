# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_install: check, do, check, do from a file; old versions go; what it fails with leaves the old one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import urls
from ansible_collections.mapswipe.walg.plugins.module_utils._install import _installed
from ansible_collections.mapswipe.walg.plugins.modules import walg_install
from support.module_call import Call
from support.observe import files


def build(path: Path, version: str) -> str:
    """Write a stand-in that says its version; return its checksum."""
    path.write_text(f"#!/bin/sh\nprintf 'wal-g version v{version}\\tx\\ty\\tPostgreSQL\\n'\n")
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where it is installed."""
    return tmp_path / "bin" / "wal-g-3.0.8"


@pytest.fixture
def call(tmp_path: Path, place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    digest = build(tmp_path / "src", "3.0.8")
    options = {"path": str(place), "version": "3.0.8", "src": str(tmp_path / "src"), "checksum": digest}
    return Call(walg_install, capfd, monkeypatch, **options)


def test_check_do_check_do(call: Call, tmp_path: Path, place: Path) -> None:
    foretold = call(check=True)
    assert (foretold["changed"], place.parent.exists()) == (True, False)
    done = call()
    assert {name: done[name] for name in foretold} == {**foretold, "invocation": done["invocation"]}
    digest = hashlib.sha256((tmp_path / "src").read_bytes()).hexdigest()
    assert (done["path"], done["version"], done["sha256"], done["others"]) == (str(place), "v3.0.8", digest, [])
    before = files(place.parent)
    for check in (True, False):
        again = call(check=check)
        assert (again["changed"], again["diff"]["before"], files(place.parent)) == (
            False,
            again["diff"]["after"],
            before,
        )


def older(tmp_path: Path) -> dict[str, Any]:
    """The options of an older version."""
    digest = build(tmp_path / "older", "3.0.7")
    return {
        "path": str(tmp_path / "bin" / "wal-g-3.0.7"),
        "version": "3.0.7",
        "src": str(tmp_path / "older"),
        "checksum": digest,
    }


def test_versions_that_nobody_uses_go(call: Call, tmp_path: Path, place: Path) -> None:
    options = {"keep": 0, "config_dir": str(tmp_path / "etc")}
    call(**older(tmp_path))
    installed = call(config_dir=options["config_dir"])
    assert (installed["changed"], installed["others"]) == (True, [str(tmp_path / "bin" / "wal-g-3.0.7")])
    before = files(place.parent)
    foretold = call(check=True, **options)
    assert (foretold["changed"], foretold["removed"]) == (True, [str(tmp_path / "bin" / "wal-g-3.0.7")])
    assert files(place.parent) == before
    done = call(**options)
    assert (done["changed"], done["removed"], done["diff"]) == (True, foretold["removed"], foretold["diff"])
    assert sorted(os.listdir(place.parent)) == [_installed.NAME, "wal-g-3.0.8"]
    again = call(**options)
    assert (again["changed"], again["removed"]) == (False, [])


def test_where_use_can_not_be_told_a_warning_says_so(call: Call, tmp_path: Path, place: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "other.env").write_text("damaged")
    call(**older(tmp_path))
    answer = call(keep=0, config_dir=str(tmp_path / "etc"))
    assert answer["removed"] == []
    assert answer["warnings"] == [
        f"No version of WAL-G is removed: what these instances use can't be read: {tmp_path}/etc/other.env."
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"checksum": "sha256:" + "0" * 64}, "it is another file, or damaged. Nothing was installed."),
        ({"checksum": None}, "missing parameter(s) required by 'src': checksum"),
        ({"version": "3.0.7"}, "reports version 'v3.0.8', expected '3.0.7'"),
        ({"src": "/none"}, "There is no file /none"),
        ({"path": "wal-g"}, "The option path is 'wal-g', a relative path"),
        ({"timeout": 0}, "The option timeout is 0"),
        ({"keep": 1}, "missing parameter(s) required by 'keep': config_dir"),
        ({"src": None, "checksum": None, "managed": False}, "Install the package that brings it"),
        (
            {"src": None, "checksum": None, "mirror": "https://me:s3cr3t@example.com"},
            "holds credentials, and it is shown",
        ),
    ],
)
def test_what_it_fails_with(call: Call, place: Path, change: dict[str, Any], text: str) -> None:
    for check in (True, False):
        answer = call(check=check, **change)
        assert text in answer["msg"]
        assert "s3cr3t" not in str(answer)
        assert not place.parent.exists()


def test_a_server_that_can_not_be_reached(call: Call, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible's own client is asked, with the mirror's credentials; its error becomes a sentence."""
    asked: list[Any] = []

    def offline(url: str, **options: Any) -> Any:
        asked.append((url, options["url_username"], options["url_password"], options["follow_redirects"]))
        raise urls.ConnectionError("no route")

    monkeypatch.setattr(urls, "open_url", offline)
    monkeypatch.setattr(walg_install._wanted._binary, "host_glibc", lambda: (2, 36))
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "db", "6", "1", "x86_64")))
    options = {"url_username": "me", "url_password": "s3cr3t", "mirror": "https://mirror.example.com/walg"}
    answer = call(src=None, checksum=None, **options)
    assert "could not be fetched: no route" in answer["msg"]
    url = "https://mirror.example.com/walg/v3.0.8/wal-g-pg-22.04-amd64.sha256"
    assert asked == [(url, "me", "s3cr3t", "none")]
    assert "s3cr3t" not in str(answer)
