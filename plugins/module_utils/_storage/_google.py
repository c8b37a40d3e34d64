# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on Google credentials files: what WAL-G can load, by version.

No message holds a value of the file: a key pasted into the wrong field would come out with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Version = tuple[int, int, int]

SETTING = "GOOGLE_APPLICATION_CREDENTIALS"


@dataclass(frozen=True)
class Kind:
    """A type of credentials: the first WAL-G whose Google library loads it, and the fields that it can't be without."""

    name: str
    since: Version
    fields: Sequence[str]


#: From the OAuth library that each WAL-G's go.mod names (1.1.3, 2.0.1, 3.0.0, 3.0.7, 3.0.9 were opened).
KINDS = (
    Kind("service_account", (0, 0, 0), ("client_email", "private_key")),
    Kind("authorized_user", (0, 0, 0), ("client_id", "client_secret", "refresh_token")),
    Kind("external_account", (2, 0, 1), ("audience", "subject_token_type", "credential_source")),
    Kind("external_account_authorized_user", (3, 0, 6), ("refresh_token", "token_url", "client_id", "client_secret")),
    Kind("impersonated_service_account", (3, 0, 6), ("service_account_impersonation_url", "source_credentials")),
    Kind("gdch_service_account", (3, 0, 9), ("project", "private_key", "name", "token_uri")),
)
#: Fields of credentials that are no secret, and whose texts are part of messages.
_NAMES = frozenset(
    [
        "type",
        "project_id",
        "project",
        "private_key_id",
        "client_email",
        "auth_uri",
        "token_uri",
        "universe_domain",
        "subject_token_type",
        "audience",
    ]
)
_HOW = "Create a key for a service account in the Google Cloud console (IAM, Service accounts, Keys, JSON) and give that file as it is"


def check(text: str, where: str, version: Version | None = None) -> None:
    """Raise WalgError unless this text is credentials that WAL-G of ``version`` can load (None: any).

    ``where`` names the option or the file, for messages.
    """
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        what = "is empty" if not text.strip() else "is not JSON"
        raise WalgError(
            f"{where} {what}, so it is not the JSON of a Google credentials file. {_HOW}.", problem="lacks_fields"
        )
    if "type" not in content:
        client = "installed" in content or "web" in content
        what = "describes an OAuth client, not an account" if client else "has no 'type'"
        raise WalgError(f"{where} {what}: not a Google credentials file. {_HOW}.", problem="wrong_type")
    kind = next((one for one in KINDS if one.name == content["type"]), None)
    if kind is None:
        known = ", ".join(one.name for one in KINDS)
        raise WalgError(
            f"The 'type' in {where} is none that Google's libraries know ({known}). {_HOW}.", problem="wrong_type"
        )
    if version is not None and version < kind.since:
        usable = ", ".join(one.name for one in KINDS if version >= one.since)
        raise WalgError(
            f"{where} is of the type {kind.name}, which WAL-G {_dotted(version)} can't load; it loads {usable}. "
            f"Use a key of such a type, or WAL-G {_dotted(kind.since)} or newer (walg_version).",
            found=kind.name,
            problem="wrong_type",
        )
    missing = [name for name in kind.fields if not content.get(name)]
    if missing:
        raise WalgError(
            f"{where} is of the type {kind.name}, but lacks {', '.join(missing)}. {_HOW}.",
            wanted=missing,
            problem="lacks_fields",
        )
    key = content.get("private_key")
    if key is not None and not _is_pem(key):
        raise WalgError(
            f"The private_key in {where} is not a PEM block (-----BEGIN ... -----END on lines of their own): were its line breaks "
            f"lost on the way through a template? {_HOW}.",
            problem="lacks_fields",
        )


def text_of(given: object, where: str) -> str:
    """Return the text of credentials that came as a text or, from a play that has read the file, as a dictionary. "" for none."""
    if isinstance(given, str):
        return given
    if isinstance(given, Mapping):
        return json.dumps(given, indent=2) if given else ""
    if given is None or given == []:
        return ""
    raise WalgError(f"{where} is neither the text of a Google credentials file nor its dictionary. {_HOW}.")


def secrets_of(given: object) -> Iterator[str]:
    """Yield what of given credentials must be hidden, whatever form they have: all texts but those that only name something."""
    content: object = given
    if isinstance(given, str):
        try:
            content = json.loads(given)
        except ValueError:
            yield given
            return
    if isinstance(content, Mapping):
        for name, value in content.items():
            if name not in _NAMES:
                yield from secrets_of(value) if not isinstance(value, str) else (value,)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from secrets_of(value)
    elif content is not None and not isinstance(content, bool):  # words of any message
        yield str(given)


def _is_pem(key: object) -> bool:
    lines = str(key).strip().splitlines()
    return len(lines) > 2 and lines[0].startswith("-----BEGIN ") and lines[-1].startswith("-----END ")


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
