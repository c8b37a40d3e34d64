# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A WAL-G build at its path: real files, and shell scripts that say which version they are."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils import _flow_install
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._flow_install import InstallPlan
from ansible_collections.mapswipe.walg.plugins.module_utils._process import Runner


def build(path: Path, version: str = "v3.0.8", flavour: str = "PostgreSQL", code: int = 0) -> str:
    """Write a stand-in, not executable, as a download is; return its checksum."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nprintf 'wal-g version {version}\\tx\\ty\\t{flavour}\\n'\nexit {code}\n")
    path.chmod(0o600)
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def plan(tmp_path: Path, checksum: str, version: str = "3.0.8") -> InstallPlan:
    return _flow_install.plan(
        Runner(), str(tmp_path / "src" / "it"), checksum, str(tmp_path / "bin" / "wal-g"), version
    )


def test_install(tmp_path: Path) -> None:
    checksum = build(tmp_path / "src" / "it")
    made = plan(tmp_path, checksum)
    assert (made.changed, made.reported, made.installed) == (True, "v3.0.8", None)
    assert not (tmp_path / "bin").exists()
    _flow_install.apply(made)
    target = tmp_path / "bin" / "wal-g"
    assert target.read_bytes() == (tmp_path / "src" / "it").read_bytes()
    assert target.stat().st_mode & 0o7777 == 0o755
    assert os.listdir(tmp_path / "bin") == ["wal-g"]
    again = plan(tmp_path, checksum)
    assert (again.changed, again.diff()["before"]) == (False, again.diff()["after"])


def test_an_installed_one_needs_no_source(tmp_path: Path) -> None:
    checksum = build(tmp_path / "src" / "it")
    _flow_install.apply(plan(tmp_path, checksum))
    (tmp_path / "src" / "it").unlink()
    assert not plan(tmp_path, checksum).changed


def test_another_version_replaces_it_in_one_step(tmp_path: Path) -> None:
    _flow_install.apply(plan(tmp_path, build(tmp_path / "src" / "it")))
    with (tmp_path / "bin" / "wal-g").open() as running:
        made = plan(tmp_path, build(tmp_path / "src" / "it", "v3.0.7"), "3.0.7")
        assert made.changed
        _flow_install.apply(made)
        assert "v3.0.8" in running.read()  # who has it open keeps the old one whole
    assert "v3.0.7" in (tmp_path / "bin" / "wal-g").read_text()


def test_a_wrong_mode_is_mended_without_a_copy(tmp_path: Path) -> None:
    checksum = build(tmp_path / "src" / "it")
    _flow_install.apply(plan(tmp_path, checksum))
    target = tmp_path / "bin" / "wal-g"
    inode = target.stat().st_ino
    target.chmod(0o700)
    made = plan(tmp_path, checksum)
    assert made.changed
    _flow_install.apply(made)
    assert (target.stat().st_mode & 0o7777, target.stat().st_ino) == (0o755, inode)


@pytest.mark.parametrize("checksum", ["", "x", "sha256:", "sha256:" + "0" * 63, "md5:" + "0" * 32, "0" * 64])
def test_a_checksum_that_is_none(tmp_path: Path, checksum: str) -> None:
    build(tmp_path / "src" / "it")
    with pytest.raises(WalgError, match="is not sha256:HEX"):
        plan(tmp_path, checksum)


def test_a_wrong_digest_is_never_started(tmp_path: Path) -> None:
    build(tmp_path / "src" / "it")
    with (tmp_path / "src" / "it").open("a") as stream:
        stream.write(f"touch {tmp_path}/started\n")
    with pytest.raises(WalgError, match="it is another file, or damaged") as caught:
        plan(tmp_path, "sha256:" + "0" * 64)
    assert caught.value.fields["wanted"] == "0" * 64
    assert not (tmp_path / "started").exists()


def test_upper_case_and_blanks_in_a_checksum_do_not_matter(tmp_path: Path) -> None:
    checksum = build(tmp_path / "src" / "it")
    assert plan(tmp_path, f" {checksum.upper()}\n").changed


@pytest.mark.parametrize(
    ("version", "flavour", "code", "wanted", "text"),
    [
        ("v3.0.7", "PostgreSQL", 0, "3.0.8", r"reports version 'v3\.0\.7', wanted '3\.0\.8'"),
        ("v3.0.8", "MySQL", 0, "3.0.8", "MySQL"),
        ("v3.0.8", "PostgreSQL", 1, "3.0.8", "ended with 1"),
        ("devel", "PostgreSQL", 0, "3.0.8", "reports version 'devel'"),
    ],
)
def test_what_it_says_of_itself_has_to_fit(
    tmp_path: Path, version: str, flavour: str, code: int, wanted: str, text: str
) -> None:
    checksum = build(tmp_path / "src" / "it", version, flavour, code)
    with pytest.raises(WalgError, match=text):
        plan(tmp_path, checksum, wanted)
    assert not (tmp_path / "bin").exists()


def test_a_build_without_a_release_is_asked_for_by_its_own_name(tmp_path: Path) -> None:
    assert plan(tmp_path, build(tmp_path / "src" / "it", "devel"), "devel").reported == "devel"


def test_no_source(tmp_path: Path) -> None:
    with pytest.raises(WalgError, match="There is no file"):
        plan(tmp_path, "sha256:" + "0" * 64)


def test_a_source_that_changes_after_the_plan_is_not_installed(tmp_path: Path) -> None:
    made = plan(tmp_path, build(tmp_path / "src" / "it"))
    build(tmp_path / "src" / "it", "v9.9.9")
    with pytest.raises(WalgError, match="changed while it was copied"):
        _flow_install.apply(made)
    assert os.listdir(tmp_path / "bin") == []


def test_a_full_disk_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _flow_install.apply(plan(tmp_path, build(tmp_path / "src" / "it")))
    made = plan(tmp_path, build(tmp_path / "src" / "it", "v3.0.7"), "3.0.7")

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WalgError, match=r"Cannot write .*No space left on device"):
        _flow_install.apply(made)
    assert os.listdir(tmp_path / "bin") == ["wal-g"]
    assert "v3.0.8" in (tmp_path / "bin" / "wal-g").read_text()
