# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What WAL-G 1.1.3 to 3.0.9 wrote when a storage did not do as asked, and what the reader is told to do."""

from __future__ import annotations

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._storage import _answers

LIST_403 = "ERROR: x Failed to list the folder: GCS error : Unable to iterate p/: googleapi: Error 403: a@b may not"
GET_403 = (
    'ERROR: x Failed to download the file: storage: got HTTP response code 403 with body: {"error": {"code": 403}}'
)
PUT_403 = """WARNING: x Unable to close object writer probe_chunks/chunk0, part 0, err: googleapi: Error 403: a@b may not
ERROR: x GCS error : Unable to upload an object chunk: retry limit has been exceeded, total attempts: 3
"""
NO_BUCKET = "ERROR: x Failed to list the folder: GCS error : Unable to iterate p/: storage: bucket doesn't exist"
PUT_NO_BUCKET = (
    "ERROR: x Failed to run a retryable func. Err: googleapi: Error 404: Not Found, notFound, retrying attempt 3"
)
CERTIFICATE = (
    'ERROR: x list folder: Get "https://s": tls: failed to verify certificate: x509: signed by unknown authority'
)
REFUSED = 'ERROR: x Unable to iterate p/: Get "https://s/": proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused'
TOKEN = 'ERROR: x Unable to iterate p/: Get "https://s/": oauth2: cannot fetch token: Post "http://t": connect: connection refused'
RESET = 'ERROR: x Unable to iterate p/: Get "https://storage.googleapis.com/": EOF'


@pytest.mark.parametrize(
    ("output", "kind", "act", "words"),
    [
        (LIST_403, "gs", "list", "may not list there; needed: storage.objects.list"),
        (GET_403, "gs", "read", "may not read there; needed: storage.objects.get"),
        (PUT_403, "gs", "write", "may not write there; needed: storage.objects.create, get, list and delete"),
        (LIST_403, "gs", "delete", "retention policy"),
        ("AccessDenied: Access Denied", "s3", "list", "needed: s3:ListBucket"),
        ("AuthorizationPermissionMismatch", "azure", "write", "Storage Blob Data Contributor"),
        ("open /dir/x: permission denied", "file", "write", "needed: to write below the prefix"),
        (NO_BUCKET, "gs", "list", "Create the bucket"),
        (PUT_NO_BUCKET, "gs", "write", "Create it"),
        ("lstat /no: no such file or directory", "file", "list", "Create it"),
        (CERTIFICATE, "gs", "list", "SSL_CERT_FILE"),
        (TOKEN, "gs", "list", "rejects the credentials"),
        ("google: could not find default credentials.", "gs", "list", "rejects the credentials"),
        (REFUSED, "gs", "list", "HTTPS_PROXY"),
        (RESET, "gs", "list", "Check the network"),
        ("write: no space left on device", "file", "write", "Free some space"),
    ],
)
def test_what_to_do(output: str, kind: str, act: str, words: str) -> None:
    assert words in _answers.advice(output, kind, act)


def test_silence() -> None:
    assert _answers.advice("", "gs", "list") == ""
    assert "missing bucket" in _answers.advice("", "gs", "list", timed_out=True)
    assert "may not list" in _answers.advice(LIST_403, "gs", "list", timed_out=True)
    assert _answers.telling_line("\n") == "no output"


def test_the_line_that_says_why() -> None:
    assert "Error 403" in _answers.telling_line(PUT_403)
    assert _answers.telling_line("one\ntwo\n") == "two"


@pytest.mark.parametrize(("output", "forbidden"), [(PUT_403, True), (GET_403, True), (NO_BUCKET, False), ("", False)])
def test_forbidden(output: str, forbidden: bool) -> None:
    assert _answers.forbidden(output) is forbidden
