# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an env file gives of WAL-G's settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _env_file

PLANTED = "tok-7f3a"


def read(tmp_path: Path, text: str) -> tuple[dict[str, str], dict[str, str]]:
    path = tmp_path / ".env"
    path.write_text(text)
    return _env_file.read(str(path))


def test_the_file_of_a_compose_project(tmp_path: Path) -> None:
    text = f"""
# the database
POSTGRES_USER=maps
POSTGRES_PASSWORD={PLANTED}
PGHOST=db
WALG_GS_PREFIX=gs://x4m-test-bucket/walg-folder   # where backups go
export AWS_REGION = eu-1
AWS_SECRET_ACCESS_KEY='{PLANTED}$x'
WALG_COMPRESSION_METHOD="zstd"
WALG_DELTA_MAX_STEPS=
SOME_APP_URL=http://app#frag
"""
    assert read(tmp_path, text) == (
        {
            "WALG_GS_PREFIX": "gs://x4m-test-bucket/walg-folder",
            "AWS_REGION": "eu-1",
            "WALG_COMPRESSION_METHOD": "zstd",
        },
        {"AWS_SECRET_ACCESS_KEY": f"{PLANTED}$x"},
    )


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("AWS_REGION=a#b", "a#b"),
        ("AWS_REGION=a #b", "a"),
        ("AWS_REGION=#b", None),
        ("AWS_REGION='a #b'", "a #b"),
        ("AWS_REGION='it\\'s'", "it's"),
        ('AWS_REGION="a\\"b" # c', 'a"b'),
        ('AWS_REGION="a\\$b"', "a$b"),
        ('AWS_REGION="a\\qb"', "a\\qb"),
        ('AWS_REGION=""', None),
        ("  AWS_REGION=a  ", "a"),
        ("AWS_REGION: a", "a"),
        ("AWS_REGION=a\r", "a"),
        ("AWS_REGION=a\nAWS_REGION=b", "b"),
        ("aws_region=a", None),
        ("AWS_REGION", None),
        ("# AWS_REGION=a", None),
        ("\ufeffAWS_REGION=a", "a"),
        ("OTHER='never closed\nAWS_REGION=a", "a"),
    ],
)
def test_how_a_line_is_read(tmp_path: Path, line: str, value: str | None) -> None:
    assert read(tmp_path, line)[0].get("AWS_REGION") == value


def test_a_key_of_several_lines(tmp_path: Path) -> None:
    assert read(tmp_path, 'WALG_PGP_KEY="one\ntwo"\nAWS_REGION=r') == (
        {"AWS_REGION": "r"},
        {"WALG_PGP_KEY": "one\ntwo"},
    )


def test_an_address_with_credentials_is_a_secret(tmp_path: Path) -> None:
    assert read(tmp_path, f"HTTPS_PROXY=http://me:{PLANTED}@proxy")[1] == {"HTTPS_PROXY": f"http://me:{PLANTED}@proxy"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"AWS_REGION=${{{PLANTED}}}", "line 1, holds a $"),
        (f'\nAWS_REGION="{PLANTED}$X"', "line 2, holds a $"),
        (f"AWS_REGION='{PLANTED}", "never closed"),
        (f"GODEBUG={PLANTED}", "is not allowed"),
    ],
)
def test_what_is_rejected(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(WalgError, match=said.replace("$", r"\$")) as raised:
        read(tmp_path, text)
    assert PLANTED not in f"{raised.value.msg} {raised.value.fields}"


def test_names_that_mean_something_else_are_left_alone(tmp_path: Path) -> None:
    assert read(tmp_path, "PGPASSWORD=$x\nPGSERVICE=s\nGODEBUG=\nWALG_NO_SUCH=$y\n") == ({}, {})


def test_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(WalgError, match="There is no file"):
        _env_file.read(str(tmp_path / ".env"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to fear")
def test_a_file_that_others_can_write_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("AWS_REGION=r")
    path.chmod(0o666)
    with pytest.raises(WalgError, match="walg_env_file"):
        _env_file.read(str(path))
