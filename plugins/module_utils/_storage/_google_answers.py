# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on what Google answers when credentials do not work: what is wrong, and what to do.

A text of Google's is repeated only where it tells more than its code, without anything that is secret or looks like a token.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from . import _google

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._google_network import Answer

#: Google takes an assertion whose times are off by less than that.
_SKEW = 60.0
_TOKEN = re.compile(r"eyJ[\w-]+(?:\.[\w-]*)*|ya29\.\S+|1//\S+|GOCSPX-\S+")
_LEAST = 8  # characters of a text that is worth hiding
_GONE = re.compile("Invalid JWT Signature|No valid verifier|expired or revoked|Bad Request|invalid_rapt|Malformed auth")
_DISABLED = re.compile("account not found|disabled|has been deleted|account has been|not a valid email", re.IGNORECASE)
_CLIENT = ("invalid_client", "deleted_client", "disabled_client", "unauthorized_client")
_SCOPE = re.compile("insufficient authentication scopes|insufficientPermissions|ACCESS_TOKEN_SCOPE_INSUFFICIENT")
_BUSY = (408, 429, 500, 502, 503, 504)


class ProblemError(Exception):
    """Something is wrong with the credentials or with what they may do. ``kind`` as in KINDS."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text


#: What can be wrong; the docs list these.
KINDS = (
    "not_readable",
    "wrong_type",
    "lacks_fields",
    "clock_skew",
    "key_gone",
    "account_disabled",
    "wrong_scope",
    "no_metadata_server",
    "no_machine_account",
    "subject_token",
    "token_exchange",
    "impersonation",
    "no_bucket",
    "permissions",
    "unreachable",
    "rejected",
)


@dataclass(frozen=True)
class About:
    """What messages name. ``where``: the option or the file that the credentials are in; ``text``: they themselves."""

    kind: str
    where: str
    account: str
    key_id: str
    text: str
    reads: bool  # only

    @property
    def who(self) -> str:
        return self.account or f"the account in {self.where}"


@dataclass(frozen=True)
class _Said:
    """An error as Google's services write it: OAuth's two texts, or an object with a message, a status and reasons."""

    code: str = ""
    text: str = ""
    reasons: tuple[str, ...] = field(default_factory=tuple)

    @property
    def whole(self) -> str:
        return " ".join([self.code, self.text, *self.reasons])


def token_refused(answer: Answer, about: About) -> ProblemError:
    """Return what it means that no token was issued for a key or for a user."""
    said, host = _said(answer), urlsplit(answer.url).hostname or ""
    if answer.status in _BUSY:
        return busy(answer, about)
    if said.code == "invalid_scope" or _SCOPE.search(said.whole):
        return wrong_scope(about)
    if said.code in _CLIENT:
        return ProblemError(
            "key_gone",
            f"{host} does not know the OAuth client in {about.where} any more ({said.code}): it was deleted or disabled. Use a service "
            "account's key, or sign in again with gcloud auth application-default login.",
        )
    if _DISABLED.search(said.text):
        return ProblemError(
            "account_disabled",
            f"{host} says that {about.who} does not exist or is disabled ({_shown(said.text, about)}). Enable it (gcloud iam "
            f"service-accounts enable {about.account or 'ACCOUNT'}), or create another one and its key.",
        )
    if about.kind == "service_account" and _is_clock(answer, said):
        return _clock(answer, about)
    if _GONE.search(said.whole):
        return _key_gone(host, said, about)
    return ProblemError(
        "rejected",
        f"{host} issues no token for {about.who}: {answer.status} {_shown(said.whole, about)}. Create new credentials and put them "
        f"into {about.where}.",
    )


def _is_clock(answer: Answer, said: _Said) -> bool:
    off = answer.skew is not None and abs(answer.skew) >= _SKEW
    return off or bool(re.search("short-lived|timeframe|issued in the future", said.text))


def _clock(answer: Answer, about: About) -> ProblemError:
    skew = answer.skew or 0.0
    off = f"{abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} Google's"
    return ProblemError(
        "clock_skew",
        f"This host's clock is {off} (by the Date of {urlsplit(answer.url).hostname}'s answer), so the request for a token that it signs "
        f"for {about.who} is not accepted. Set the clock: timedatectl set-ntp true, or chronyc makestep.",
    )


def _key_gone(host: str, said: _Said, about: About) -> ProblemError:
    if about.kind == "service_account":
        key = f"the key {about.key_id}" if about.key_id else "the key"
        return ProblemError(
            "key_gone",
            f"{host} does not accept {key} of {about.who} ({_shown(said.text, about)}): it was disabled, deleted or has expired. See "
            f"gcloud iam service-accounts keys list --iam-account={about.account or 'ACCOUNT'}, create a new key, and put it into "
            f"{about.where}.",
        )
    return ProblemError(
        "key_gone",
        f"{host} does not accept the sign-in in {about.where} any more ({_shown(said.text, about)}): it has expired or was revoked, or the "
        "organisation wants users to sign in again now and then. Use a service account for a server, or run gcloud auth "
        "application-default login again.",
    )


def exchange_refused(answer: Answer, about: About) -> ProblemError:
    """Return what it means that Google's STS gave no token for the one of another issuer."""
    said = _said(answer)
    if answer.status in _BUSY:
        return busy(answer, about)
    clock = ""
    if answer.skew is not None and abs(answer.skew) >= _SKEW:
        clock = f" This host's clock is {abs(answer.skew):.0f} s {'behind' if answer.skew > 0 else 'ahead of'} Google's, too."
    return ProblemError(
        "token_exchange",
        f"{urlsplit(answer.url).hostname} does not exchange the token of the other issuer: {answer.status} {_shown(said.whole, about)}. "
        f"Compare the workload identity pool and its provider with {about.where}: audience, issuer, attribute condition, and whether "
        f"both are enabled.{clock}",
    )


def impersonation_refused(answer: Answer, about: About) -> ProblemError:
    """Return what it means that IAM issues no token of the service account that should be impersonated."""
    said = _said(answer)
    if answer.status in _BUSY:
        return busy(answer, about)
    if _SCOPE.search(said.whole):
        return wrong_scope(about)
    if "SERVICE_DISABLED" in said.reasons:
        return ProblemError(
            "impersonation",
            f"The IAM Service Account Credentials API, which issues tokens of {about.who}, is not enabled: gcloud services enable "
            "iamcredentials.googleapis.com in the project of these credentials.",
        )
    if re.search("account is disabled|disabled service account", said.text, re.IGNORECASE):
        return ProblemError(
            "account_disabled", f"{about.who} is disabled: gcloud iam service-accounts enable {about.who}."
        )
    role = (
        "roles/iam.workloadIdentityUser" if about.kind == "external_account" else "roles/iam.serviceAccountTokenCreator"
    )
    return ProblemError(
        "impersonation",
        f"These credentials may not act as {about.who}: {answer.status} {_shown(said.text, about)}. Grant the role {role} on that service "
        "account to the identity that signs in.",
    )


def storage_refused(answer: Answer, about: About, bucket: str) -> ProblemError | None:
    """Return what it means that Cloud Storage does not say which permissions there are; None if that can't be told."""
    said = _said(answer)
    if answer.status in _BUSY:
        return busy(answer, about)
    if answer.status == 404 and "bucket" in said.text:
        return ProblemError(
            "no_bucket",
            f"There is no bucket {bucket}. Create it (WAL-G does not), or correct its name in walg_storage.",
        )
    if _SCOPE.search(said.whole):
        return wrong_scope(about)
    if answer.status == 401:
        return ProblemError(
            "account_disabled",
            f"Cloud Storage does not accept a token that was just issued for {about.who}: is the account disabled, or just deleted?",
        )
    if "requester pays" in said.text:
        text = f"The bucket {bucket} is set to requester pays, which WAL-G can't use: switch that off."
        return ProblemError("permissions", text)
    if answer.status == 403:
        return ProblemError(
            "permissions",
            f"Cloud Storage lets {about.who} not even ask what it may do in {bucket}: {_shown(said.whole, about)}. A policy of the "
            "organisation, a VPC service perimeter, the bucket's IP filter or disabled billing can be the reason.",
        )
    return None


def wrong_scope(about: About) -> ProblemError:
    """Return that the token is limited to less than the storage needs."""
    if about.kind == "machine":
        scope = "storage-ro" if about.reads else "storage-rw"
        how = (
            f"Stop the machine, run gcloud compute instances set-service-account MACHINE --service-account={about.account or 'ACCOUNT'} "
            f"--scopes={scope} (or cloud-platform, and leave the limits to the account's roles), and start it"
        )
    elif about.kind == "authorized_user":
        how = "Sign in again with gcloud auth application-default login, without --scopes"
    else:
        how = "Allow the scope https://www.googleapis.com/auth/cloud-platform for it"
    return ProblemError(
        "wrong_scope",
        f"The tokens of {about.who} are limited to scopes without {'reading' if about.reads else 'writing'} in Cloud Storage, whatever "
        f"roles it has. {how}.",
    )


def missing_permissions(missing: list[str], about: About, bucket: str) -> ProblemError:
    """Return which permissions are missing, and the role that holds them."""
    role = "roles/storage.objectViewer" if about.reads else "roles/storage.objectUser"
    member = f"serviceAccount:{about.account}" if "gserviceaccount" in about.account else "MEMBER"
    return ProblemError(
        "permissions",
        f"{about.who} lacks {', '.join(missing)} on the bucket {bucket} as a whole. Grant the role {role}: gcloud storage buckets "
        f"add-iam-policy-binding gs://{bucket} --member={member} --role={role}. "
        "(A condition that allows one prefix only does not show here.)",
    )


def busy(answer: Answer, about: About) -> ProblemError:
    """Return that a server had no time or broke down."""
    return ProblemError(
        "unreachable",
        f"{urlsplit(answer.url).hostname} answered {answer.status} when it was asked for {about.who}. Try again later, and see Google's "
        "status page.",
    )


def shown(text: str, secret: str) -> str:
    """Return what somebody else said, in one line, without texts of these credentials and without tokens."""
    hidden = {line.strip() for one in _google.secrets_of(secret or "{}") for line in one.splitlines()}
    for line in sorted((line for line in hidden if len(line) >= _LEAST), key=len, reverse=True):
        text = text.replace(line, "(secret)")
    text = _TOKEN.sub("(token)", " ".join(text.split()))
    return "".join(char if char.isprintable() else "?" for char in text)[:300].rstrip(". ")


def _shown(text: str, about: About) -> str:
    return shown(text, about.text) or "without a reason"


def _said(answer: Answer) -> _Said:
    try:
        body: Any = json.loads(answer.data)
    except ValueError:
        return _Said()
    if not isinstance(body, dict):
        return _Said()
    error = body.get("error")
    if isinstance(error, dict):
        listed = [*_dictionaries(error.get("errors")), *_dictionaries(error.get("details"))]
        reasons = tuple(str(one["reason"]) for one in listed if one.get("reason"))
        return _Said(str(error.get("status") or ""), str(error.get("message") or ""), reasons)
    return _Said(str(error or ""), str(body.get("error_description") or ""), (str(body.get("error_subtype") or ""),))


def _dictionaries(listed: object) -> list[Mapping[str, Any]]:
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
