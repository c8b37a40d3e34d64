# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files behind gcs_host.py, made once for a checkout: CA, certificate, and the keys of two service accounts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from support.gcs import certificate, private_pem
from support.gcs_host import READER

WRITER = "walg@x4m-test.iam.gserviceaccount.com"
TOKEN_URI = "http://oauth2.googleapis.com/token"
DAYS = 365


def prepare(directory: Path) -> None:
    """Write them into an existing directory."""
    certificate(directory, days=DAYS)
    for name, account in (("serviceAccountKey.json", WRITER), ("readOnlyKey.json", READER)):
        content = {
            "type": "service_account",
            "project_id": "x4m-test",
            "private_key_id": "1",
            "private_key": private_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
            "client_email": account,
            "client_id": "1",
            "token_uri": TOKEN_URI,
        }
        key_file = directory / name
        key_file.write_text(json.dumps(content), encoding="ascii")
        key_file.chmod(0o600)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
