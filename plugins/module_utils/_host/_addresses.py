# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on credentials within addresses: user:password@host with and without a scheme, and tokens in a query."""

from __future__ import annotations

import re

HIDDEN = "********"
_WORD = r"[^\s\"'<>]"
#: Parameters that hold a credential, wherever they are written.
_NAMES = (
    r"(?:x-(?:amz|goog)-(?:signature|credential|security-token)|[a-z_]*signature|sig|awsaccesskeyid|googleaccessid|"
    r"(?:access|id|auth|refresh|session|sas)?_?token|api_?key|client_secret|secret|[a-z_]*password|passwd|pwd)"
)
_VALUE = r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s&;\"'<>,)]+)"
_PARAMETER = re.compile(rf"(?<![\w-])({_NAMES}\s*=\s*)(?!\*){_VALUE}", re.IGNORECASE)
#: What is a credential in a query only.
_QUERY = re.compile(r"([?&](?:key|code|auth)=)[^\s&\"'<>]+", re.IGNORECASE)
_HEADER = re.compile(r"(\b(?:Bearer|Basic)\s+)[A-Za-z0-9+/=._~-]{6,}")
#: An @ belongs to the authority, or follows a colon: a password may hold an unescaped slash.
_SCHEME = re.compile(rf"([A-Za-z][A-Za-z0-9+.-]*)://({_WORD}*)@(?={_WORD})")
_BARE = re.compile(r"(?<![\w@:/.%+-])([^\s:/@\"'<>=,;()]+):(?!//)([^\s@\"'<>]+)@(?=[A-Za-z0-9\[])")
_USER_ONLY = ("ssh", "sftp", "scp", "rsync")  # such an address names its user, which is no secret
_NO_USERS = ("systemd",)  # systemd:postgresql@14-main.service


def holds_credentials(text: str) -> bool:
    """Say whether a value seems to hold a user, a password or a token beside an address."""
    return without_credentials(text) != text


def without_credentials(text: str) -> str:
    """Return a text with those of its addresses hidden."""
    found = _SCHEME.sub(_of_url, text)
    found = _BARE.sub(_of_bare, found)
    found = _HEADER.sub(rf"\1{HIDDEN}", found)
    return _QUERY.sub(rf"\1{HIDDEN}", _PARAMETER.sub(rf"\1{HIDDEN}", found))


def _of_url(match: re.Match[str]) -> str:
    scheme, user = match.groups()
    authority = re.split(r"[/?#]", user)[0]
    if user != authority and ":" not in user:
        return match.group(0)  # an @ of the path
    if scheme.lower() in _USER_ONLY and ":" not in user:
        return match.group(0)
    return f"{scheme}://{HIDDEN}@"


def _of_bare(match: re.Match[str]) -> str:
    return match.group(0) if match.group(1).lower() in _NO_USERS or HIDDEN in match.group(0) else f"{HIDDEN}@"
