# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage that follows from WAL-G's own names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _given

GS = "gs://x4m-test-bucket/walg-folder"


@pytest.mark.parametrize(
    ("settings", "storage"),
    [
        ({"WALG_GS_PREFIX": GS}, GS),
        ({"WALE_S3_PREFIX": "s3://b/p/"}, "s3://b/p"),
        ({"WALG_FILE_PREFIX": "/srv/a"}, "file:///srv/a"),
        ({"WALG_SSH_PREFIX": "ssh://h/p", "SSH_USERNAME": "u", "SSH_PORT": 2222}, "ssh://u@h:2222/p"),
    ],
)
def test_a_prefix_alone_names_the_storage(settings: dict[str, Any], storage: str) -> None:
    params: dict[str, Any] = {"storage": None, "settings": settings}
    _given.complete(params)
    assert params["storage"] == storage
    assert not set(_given.judge(params).settings) & {name for name in settings if name.endswith("_PREFIX")}


def test_what_the_play_gives_overrides_the_file(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(f"WALG_GS_PREFIX={GS}\nWALG_S3_SSE=a\nAWS_REGION=old\nWALG_COMPRESSION_METHOD=lz4\nPGP_KEY=x\n")
    params: dict[str, Any] = {
        "storage": "",
        "env_file": str(path),
        "settings": {"S3_SSE": "b"},
        "secrets": {"AWS_REGION": "new"},
    }
    _given.complete(params)
    assert params["storage"] == GS
    assert params["settings"] == {"S3_SSE": "b", "WALG_GS_PREFIX": GS, "WALG_COMPRESSION_METHOD": "lz4"}
    assert params["secrets"] == {"AWS_REGION": "new"}


@pytest.mark.parametrize("storage", [GS, GS + "/"])
def test_the_same_storage_twice_is_one(tmp_path: Path, storage: str) -> None:
    path = tmp_path / ".env"
    path.write_text(f"WALG_GS_PREFIX={GS}\n")
    params: dict[str, Any] = {"storage": storage, "env_file": str(path)}
    _given.complete(params)
    assert _given.judge(params).settings == {}


def test_two_storages_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(f"WALG_GS_PREFIX={GS}\n")
    with pytest.raises(WalgError, match=f"WALG_GS_PREFIX in {path}"):
        _given.complete({"storage": "gs://other/p", "env_file": str(path)})
    with pytest.raises(WalgError, match="Several storages"):
        _given.complete({"env_file": str(path), "settings": {"WALG_S3_PREFIX": "s3://b"}})


@pytest.mark.parametrize("settings", [{}, None, {"AWS_REGION": "r"}])
def test_no_storage_at_all(settings: dict[str, Any] | None) -> None:
    with pytest.raises(WalgError, match="No storage is set"):
        _given.complete({"settings": settings})
