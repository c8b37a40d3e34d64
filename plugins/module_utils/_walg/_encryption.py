# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on the keys that WAL-G encrypts an archive with: what can be known of them without WAL-G, and what its answers mean.

No message holds a key or a part of one.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PGP_TEXTS = ("WALG_PGP_KEY", "WALG_ENVELOPE_PGP_KEY")
_SODIUM, _TRANSFORM = "WALG_LIBSODIUM_KEY", "WALG_LIBSODIUM_KEY_TRANSFORM"
#: Any of these makes WAL-G encrypt.
NAMES = frozenset(
    (
        *_PGP_TEXTS,
        _SODIUM,
        "WALG_PGP_KEY_PATH",
        "WALG_ENVELOPE_PGP_KEY_PATH",
        "WALG_LIBSODIUM_KEY_PATH",
        "WALG_GPG_KEY_ID",
        "WALE_GPG_KEY_ID",
        "WALG_CSE_KMS_ID",
        "YC_CSE_KMS_KEY_ID",
    )
)
_SODIUM_BYTES, _SODIUM_LEAST = 32, 25  # WAL-G takes 32 bytes, and of a key as it is at least 25
_TRANSFORMS = ("none", "hex", "base64")
_ARMOR = re.compile(r"-----BEGIN PGP (PUBLIC|PRIVATE) KEY BLOCK-----\s.*-----END PGP \1 KEY BLOCK-----", re.DOTALL)
_PRIVATE = "WAL-G decrypts with it too: what is archived with a public key alone can't be restored by this host"

#: What WAL-G and its libraries answer to a key that does not do, and what that means.
_ANSWERS = (
    ("no armored data|unexpected EOF|malformed|structural error", "It is not an OpenPGP key in ASCII armor"),
    ("no (?:valid )?encryption key", "It has expired, or it can't encrypt: only sign"),
    (
        "checksum failure|decryption failed",
        "The passphrase in WALG_PGP_KEY_PASSPHRASE (walg_secrets) is not the key's",
    ),
    (
        "incorrect key|no such private",
        f"It is a public key alone, or its passphrase is not given: set WALG_PGP_KEY_PASSPHRASE in walg_secrets. {_PRIVATE}",
    ),
    (
        "not compiled with libsodium",
        "This WAL-G was built without libsodium: use a build that has it, or an OpenPGP key",
    ),
    ("no such file", "There is no such file on this host"),
    ("permission denied", "The user who owns the data directory must be able to read it"),
)


def used(settings: Mapping[str, object]) -> list[str]:
    """Return the names among settings that make WAL-G encrypt."""
    return sorted(NAMES & settings.keys())


def judge(settings: Mapping[str, object]) -> None:
    """Raise WalgError for a key that can't be one."""
    for name in _PGP_TEXTS:
        text = str(settings.get(name, "")).strip()
        found = _ARMOR.fullmatch(_first_block(text))
        if text and not found:
            raise WalgError(
                f"{name} is not an OpenPGP key in ASCII armor (-----BEGIN PGP PRIVATE KEY BLOCK----- and its lines). Export it with: "
                "gpg --armor --export-secret-keys KEY"
            )
        if found and found.group(1) == "PUBLIC":
            raise WalgError(
                f"{name} is a public key. {_PRIVATE}. Give the private one (gpg --armor --export-secret-keys KEY)."
            )
    if _SODIUM in settings:
        _judge_sodium(str(settings[_SODIUM]), str(settings.get(_TRANSFORM, "none")))


def _first_block(text: str) -> str:
    """Return a text up to the end of its first block: several keys may follow one another."""
    head, mark, tail = text.partition("-----END PGP")
    return head + mark + tail.partition("\n")[0].rstrip()


def _judge_sodium(key: str, transform: str) -> None:
    if transform not in _TRANSFORMS:
        raise WalgError(f"{_TRANSFORM} must be one of {', '.join(_TRANSFORMS)}.", wanted=list(_TRANSFORMS))
    try:
        size = {"none": _plain, "hex": binascii.unhexlify, "base64": _base64}[transform](key)
    except ValueError:
        raise WalgError(
            f"{_SODIUM} is not {transform}, as {_TRANSFORM} says. Create one with: openssl rand -{transform} 32"
        ) from None
    if transform == "none" and len(size) < _SODIUM_LEAST:
        raise WalgError(
            f"{_SODIUM} has fewer than {_SODIUM_LEAST} bytes. Create one with `openssl rand -hex 32`, and set {_TRANSFORM}: hex."
        )
    if transform != "none" and len(size) != _SODIUM_BYTES:
        raise WalgError(f"{_SODIUM} must be {_SODIUM_BYTES} bytes. Create one with: openssl rand -{transform} 32")


def _plain(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _base64(key: str) -> bytes:
    return base64.b64decode(key, validate=True)


def meaning(output: str) -> str:
    """Return what an answer of WAL-G's to a key means, or ""."""
    return next((told for pattern, told in _ANSWERS if re.search(pattern, output)), "")
