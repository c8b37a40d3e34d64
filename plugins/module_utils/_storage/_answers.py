# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on what a storage answers when it does not do as asked: what was meant, and what to do."""

from __future__ import annotations

import re

#: What each act needs, by the kind of storage.
_NEEDS = {
    "gs": {
        "list": "storage.objects.list and storage.objects.get (role Storage Object Viewer)",
        "read": "storage.objects.get (role Storage Object Viewer)",
        "write": "storage.objects.create, get, list and delete (role Storage Object User or Admin): every object is uploaded in parts, "
        "composed, and the parts are deleted",
        "delete": "storage.objects.delete (role Storage Object User or Admin), and no retention policy or hold on the bucket: every "
        "upload deletes its parts",
    },
    "s3": {
        "list": "s3:ListBucket",
        "read": "s3:GetObject",
        "write": "s3:PutObject and s3:AbortMultipartUpload",
        "delete": "s3:DeleteObject",
    },
    "azure": {
        "list": "the role Storage Blob Data Reader, or a SAS token with list",
        "read": "the role Storage Blob Data Reader, or a SAS token with read",
        "write": "the role Storage Blob Data Contributor, or a SAS token with create and write",
        "delete": "the role Storage Blob Data Contributor, or a SAS token with delete",
    },
}
_NEEDS_OTHER = {
    "list": "to list what is below the prefix",
    "read": "to read what is below the prefix",
    "write": "to write below the prefix",
    "delete": "to delete below the prefix",
}

_FORBIDDEN = "forbidden"
_CREDENTIALS = (
    "could not find default credentials|error getting credentials|NoCredentialProviders|no EC2 IMDS role|invalid_grant|"
    "cannot fetch token|InvalidAccessKeyId|SignatureDoesNotMatch|AuthenticationFailed|unable to authenticate|(?:Error|code:?) 401|"
    "Invalid JWT|private key should be a PEM"
)
_NETWORK = (
    "no such host|connection refused|connection reset|EOF|i/o timeout|network is unreachable|no route to host|"
    "(?:Error|code:?) 50[0-9]"
)
#: First match wins: what WAL-G and its libraries write, and what to do then. What is forbidden depends on the act.
_ANSWERS = (
    (
        _CREDENTIALS,
        "The storage, or the issuer of its tokens, rejects the credentials. Were they revoked? Is this host's clock right?",
    ),
    (
        "x509|certificate|tls: ",
        "The certificate that answered is not trusted here. If it is a proxy's or of a CA of your own, name that in SSL_CERT_FILE.",
    ),
    (
        "bucket doesn.t exist|NoSuchBucket|ContainerNotFound|bucket does not exist|Container Not Found",
        "Create the bucket (WAL-G does not), or correct its name in walg_storage.",
    ),
    (
        "(?:Error|code:?) 403|AccessDenied|Access Denied|Forbidden|AuthorizationPermissionMismatch|permission denied",
        _FORBIDDEN,
    ),
    ("no such file or directory|(?:Error|code:?) 404", "Create it (WAL-G does not), or correct walg_storage."),
    ("no space left|(?:Error|code:?) 429|SlowDown|quota", "Free some space there, or raise the quota."),
    (
        _NETWORK,
        "Check the network from this host to the storage: names, firewall, proxy (HTTPS_PROXY in walg_settings), and whether it is up.",
    ),
)
_TIMED_OUT = (
    "WAL-G retries that long on a missing bucket, a blocked network or a storage that is down: check these, and the proxy "
    "(HTTPS_PROXY in walg_settings)."
)


def forbidden(output: str) -> bool:
    """Say whether the storage took the credentials and refused the act. ``output``: all that WAL-G wrote."""
    return _meaning(output) == _FORBIDDEN


def advice(output: str, kind: str, act: str, timed_out: bool = False) -> str:
    """Return what to do, one or two sentences, or "". ``act``: list, read, write or delete; ``kind`` as in _storage."""
    found = _meaning(output)
    if found == _FORBIDDEN:
        return f"These credentials may not {act} there; needed: {_NEEDS.get(kind, _NEEDS_OTHER)[act]}."
    return found or (_TIMED_OUT if timed_out else "")


def telling_line(output: str) -> str:
    """Return the line of WAL-G's output that says why: the last words are often only that it gave up trying."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if _meaning(line)]
    return (telling or lines or ["no output"])[-1]


def _meaning(output: str) -> str:
    return next((advice for pattern, advice in _ANSWERS if re.search(pattern, output)), "")
