# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and compression are tried on the host: what is asked, with which settings, and what an answer means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _encryption_check
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._settings import Settings

KEY = {"WALG_LIBSODIUM_KEY": "k" * 32}


class Walg(Runner):
    """WAL-G that keeps one object; ``fails``: what it says to an act; ``garbles``: what it gives back."""

    def __init__(self, fails: dict[str, str] | None = None, garbles: str = "") -> None:
        super().__init__()
        self.fails, self.garbles = fails or {}, garbles
        self.acts: list[str] = []
        self.settings: dict[str, str] = {}
        self.text = ""

    def run(self, argv: Sequence[str], **options: Any) -> Result:
        act = argv[4]
        self.acts.append(act)
        self.settings = json.loads(Path(argv[2]).read_text())
        assert options["env"] == {"HTTPS_PROXY": "http://proxy"}
        if act in self.fails:
            return Result(list(argv), 1, "", self.fails[act])
        if act == "put":
            self.text = Path(argv[5]).read_text()
            Path(self.settings["WALG_FILE_PREFIX"], "text.br").touch()
        else:
            assert argv[5] == "text.br"
            Path(argv[6]).write_text(self.garbles or self.text)
        return Result(list(argv), 0)


def check(walg: Walg, values: dict[str, str]) -> None:
    settings = Settings({"WALG_S3_PREFIX": "s3://bucket/path", **values})
    _encryption_check.check(walg, settings, "/wal-g", {"HTTPS_PROXY": "http://proxy"})


@pytest.mark.parametrize("values", [KEY, {"WALG_COMPRESSION_METHOD": "zstd"}, {"WALG_PGP_KEY": "a key"}])
def test_what_it_encrypts_it_decrypts(values: dict[str, str]) -> None:
    """In a directory of its own, never in the archive."""
    walg = Walg()
    check(walg, values)
    assert walg.acts == ["put", "get"]
    assert values.items() <= walg.settings.items()
    assert "WALG_S3_PREFIX" not in walg.settings
    assert not Path(walg.settings["WALG_FILE_PREFIX"]).exists()


def test_without_a_key_nothing_is_tried() -> None:
    walg = Walg()
    check(walg, {"AWS_REGION": "eu-north-1"})
    assert walg.acts == []


@pytest.mark.parametrize(
    ("values", "walg", "text"),
    [
        (
            KEY,
            Walg({"put": "ERROR: something odd.\n"}),
            "can't encrypt and decrypt as WALG_LIBSODIUM_KEY says: ERROR: something odd",
        ),
        (KEY, Walg({"get": "panic: no such key\ngoroutine 1\n"}), "says: no such key. Nothing was archived."),
        (KEY, Walg(garbles="else"), "WAL-G decrypts something else than it encrypted with WALG_LIBSODIUM_KEY"),
        (
            {"WALG_COMPRESSION_METHOD": "x"},
            Walg({"put": "unknown\n"}),
            "can't compress as WALG_COMPRESSION_METHOD says",
        ),
    ],
)
def test_what_fails(values: dict[str, str], walg: Walg, text: str) -> None:
    with pytest.raises(WalgError) as caught:
        check(walg, values)
    assert text in caught.value.msg
    assert "k" * 32 not in str(caught.value.fields)
    assert not Path(walg.settings["WALG_FILE_PREFIX"]).exists()
