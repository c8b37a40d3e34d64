# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys for encryption: what can't be one is refused without showing it."""

from __future__ import annotations

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _encryption

P = "Planted7"
PRIVATE = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nabc\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----\n"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"PGPASSWORD": "x"},
        {"WALG_PGP_KEY": PRIVATE},
        {"WALG_PGP_KEY": f"\n{PRIVATE}\n{PRIVATE}"},
        {"WALG_ENVELOPE_PGP_KEY": PRIVATE.replace("\n", "\r\n")},
        {"WALG_LIBSODIUM_KEY": "x" * 32},
        {"WALG_LIBSODIUM_KEY": "0f" * 32, "WALG_LIBSODIUM_KEY_TRANSFORM": "hex"},
        {"WALG_LIBSODIUM_KEY": "QUJD" * 10 + "QUI=", "WALG_LIBSODIUM_KEY_TRANSFORM": "base64"},
    ],
)
def test_what_may_be_a_key(settings: dict[str, str]) -> None:
    _encryption.judge(settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"WALG_PGP_KEY": P}, "not an OpenPGP key in ASCII armor"),
        ({"WALG_PGP_KEY": f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n{P}"}, "not an OpenPGP key"),
        ({"WALG_PGP_KEY": PRIVATE.replace("PRIVATE", "PUBLIC").replace("abc", P)}, "is a public key"),
        (
            {"WALG_PGP_KEY": f"-----BEGIN RSA PRIVATE KEY-----\n{P}\n-----END RSA PRIVATE KEY-----"},
            "not an OpenPGP key",
        ),
        ({"WALG_ENVELOPE_PGP_KEY": P}, "not an OpenPGP key"),
        ({"WALG_LIBSODIUM_KEY": P}, "fewer than 25"),
        ({"WALG_LIBSODIUM_KEY": P, "WALG_LIBSODIUM_KEY_TRANSFORM": "rot13"}, "one of none, hex, base64"),
        ({"WALG_LIBSODIUM_KEY": P * 8, "WALG_LIBSODIUM_KEY_TRANSFORM": "hex"}, "openssl rand -hex 32"),
        ({"WALG_LIBSODIUM_KEY": "0f" * 31, "WALG_LIBSODIUM_KEY_TRANSFORM": "hex"}, "must be 32 bytes"),
        ({"WALG_LIBSODIUM_KEY": "é" + P, "WALG_LIBSODIUM_KEY_TRANSFORM": "base64"}, "is not base64"),
        ({"WALG_LIBSODIUM_KEY": "QUJD", "WALG_LIBSODIUM_KEY_TRANSFORM": "base64"}, "must be 32 bytes"),
    ],
)
def test_what_is_none(settings: dict[str, str], told: str) -> None:
    with pytest.raises(WalgError, match=told) as caught:
        _encryption.judge(settings)
    assert P not in f"{caught.value.msg}{caught.value.fields}"


#: As WAL-G 1.1.3 and 3.0.8 answered.
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("panic: openpgp: invalid argument: no armored data found", "not an OpenPGP key"),
        ("panic: ... cannot encrypt a message to key id e1 because it has no encryption keys", "has expired"),
        ("panic: ... cannot encrypt a message to key id e1 because it has no valid encryption keys", "has expired"),
        ("failed to init decrypt reader: openpgp: incorrect key", "public key alone"),
        ("openpgp: invalid data: private key checksum failure", "WALG_PGP_KEY_PASSPHRASE"),
        ("non-empty WALG_LIBSODIUM_KEY but wal-g was not compiled with libsodium", "without libsodium"),
        ("panic: open /nowhere: no such file or directory", "no such file"),
        ("something else", ""),
    ],
)
def test_meaning(said: str, told: str) -> None:
    found = _encryption.meaning(said)
    assert told in found if told else found == ""
