# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask Google about credentials: whose they are, whether they give a token, and what that may do in a bucket.

google-auth makes the tokens of credentials in a file; a machine's own come from its metadata server and need no library. WAL-G has the
last word: what is wrong here explains why it failed, and is no reason to refuse what it can do.
"""

from __future__ import annotations

import importlib
import json
import re
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from .._host._waiting import OutOfTimeError, limit
from . import _google_answers as _answers
from ._google_answers import About, ProblemError
from ._google_network import METADATA, Network, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from ._google_network import Answer

#: What a host needs that writes; every object is uploaded in parts, composed, and the parts are deleted.
WRITES = ("storage.objects.create", "storage.objects.get", "storage.objects.list", "storage.objects.delete")
READS = ("storage.objects.get", "storage.objects.list")
#: What WAL-G's library asks for.
_SCOPE = "https://www.googleapis.com/auth/devstorage.full_control"
_TOKEN_URI = "https://oauth2.googleapis.com/token"  # which Go's library takes where none is named
_WRITING = frozenset({"cloud-platform", "devstorage.full_control", "devstorage.read_write"})
_READING = _WRITING | {"devstorage.read_only", "cloud-platform.read-only"}
#: Imported before the rights of the database's user are taken on, who may not be able to read a virtual environment.
_PARTS = (
    "google.auth",
    "google.auth.credentials",
    "google.auth.exceptions",
    "google.auth.aws",
    "google.auth.external_account_authorized_user",
    "google.auth.identity_pool",
    "google.auth.impersonated_credentials",
    "google.auth.pluggable",
    "google.oauth2.credentials",
    "google.oauth2.gdch_credentials",
    "google.oauth2.service_account",
)
_ACCOUNT = re.compile(r"[\w.+-]{1,100}@[\w.-]{1,100}", re.ASCII)
_KEY_ID = re.compile("[0-9a-f]{1,64}")
_IMPERSONATED = re.compile(r"serviceAccounts/([\w.+@-]{1,200}):generateAccessToken", re.ASCII)
_PROJECT = re.compile(r"(?:[a-z0-9.-]{1,60}:)?[a-z0-9-]{1,60}")
_PATIENCE = 3.0  # seconds for the metadata server, which is near or not there
_TRIES = 3  # while it starts, as in a container that is just up

NO_LIBRARY = "google-auth is not installed for the Python that Ansible uses here"
TOO_OLD = "google-auth is older than 2.24 here"


@dataclass(frozen=True)
class Endpoints:
    """Where Google is."""

    storage: str = "https://storage.googleapis.com"
    metadata: str = f"http://{METADATA[0]}"


@dataclass(frozen=True)
class Question:
    """What is asked about. ``text``: the credentials, "" for the machine's own; ``where``: the option or the file they are in."""

    text: str
    where: str
    found_by: str
    bucket: str
    reads: bool  # only
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 30.0
    endpoints: Endpoints = field(default_factory=Endpoints)


def library() -> ModuleType | str:
    """Return google-auth, or why it can't be used. To be called with a clean environment: it reads variables when it is imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in _PARTS:
                importlib.import_module(name)
    except ImportError as exc:
        return TOO_OLD if (exc.name or "").startswith("google.") and exc.name not in _PARTS[:1] else NO_LIBRARY
    made = importlib.import_module("google.auth")
    return made if hasattr(made, "load_credentials_from_dict") else TOO_OLD


def check(question: Question, found: ModuleType | str) -> dict[str, Any]:
    """Return what is known of the credentials. Never raises for what is wrong: that is ``problem`` and ``advice``.

    ``found``: what library() gave. ``asked`` is false where Google was not asked, and ``reason`` says why.
    """
    about, facts = describe(question)
    network = Network(question.environment)
    if about.kind != "machine" and isinstance(found, str):
        return {**facts, "asked": False, "reason": found}
    try:
        with limit(question.timeout):
            if about.kind == "machine":
                about, token = _of_machine(network, question, about)
                facts.update(account=about.account)
            else:
                token = _of_library(network, question, about, found)
            facts.update(_permissions(network, question, about, token))
    except ProblemError as exc:
        return {**facts, "asked": True, "problem": exc.kind, "advice": exc.text}
    except (UnreachableError, OutOfTimeError) as exc:
        host = urlsplit(network.asked).hostname or question.endpoints.storage
        reason = str(exc) if isinstance(exc, UnreachableError) else f"no answer within {question.timeout:g} s"
        text = f"{host} can't be reached from here: {reason}. Check names, firewall and proxy (HTTPS_PROXY in walg_settings)."
        return {**facts, "asked": True, "problem": "unreachable", "advice": text}
    return {**facts, "asked": True}


def describe(question: Question) -> tuple[About, dict[str, Any]]:
    """Return what the credentials say of themselves. Only what has the form of a name is shown: a key may stand in the wrong field."""
    content = _content(question.text)
    kind = str(content.get("type")) if question.text else "machine"
    account = _named(_ACCOUNT, content.get("client_email") or content.get("account"))
    target = _IMPERSONATED.search(str(content.get("service_account_impersonation_url") or ""))
    account = target.group(1) if target else account
    key_id = _named(_KEY_ID, content.get("private_key_id"))
    project = _named(_PROJECT, content.get("project_id") or content.get("quota_project_id") or content.get("project"))
    about = About(kind, question.where, account, key_id, question.text, question.reads)
    facts = {"type": kind, "account": account, "project": project, "key_id": key_id, "found_by": question.found_by}
    return about, {name: value for name, value in facts.items() if value}


def needs_host(text: str) -> bool:
    """Say whether credentials take a token from the very host that they are for: a file, a program, or an address that it knows."""
    return _content(text).get("type") == "external_account"


def _content(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _named(form: re.Pattern[str], value: object) -> str:
    return value if isinstance(value, str) and form.fullmatch(value) else ""


def _of_library(network: Network, question: Question, about: About, auth: Any) -> str:
    """Return a token, as google-auth makes it."""
    errors = (auth.exceptions.GoogleAuthError, ValueError, TypeError, KeyError, AttributeError, OSError)
    content = _content(question.text)
    if about.kind == "service_account":
        content.setdefault("token_uri", _TOKEN_URI)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            credentials, _project = auth.load_credentials_from_dict(content, request=network)
            credentials = auth.credentials.with_scopes_if_required(credentials, [_SCOPE])
            credentials.refresh(network)
    except UnreachableError as exc:
        if _step(exc.host, network.asked, content) != "subject":
            raise
        raise _no_subject(content, f"{exc.host} can't be reached: {exc.reason}") from exc
    except errors as exc:
        raise _meaning(network, content, about, exc) from exc
    return str(credentials.token or "")


def _step(host: str, url: str, content: Mapping[str, Any]) -> str:
    """Return what a request of google-auth was for: subject, exchange, impersonation or token."""
    source = content.get("credential_source")
    named = [str(one) for one in source.values()] if isinstance(source, dict) else []
    if any(one and url.startswith(one.split("?")[0].split("{")[0]) for one in named if one.startswith("http")):
        return "subject"
    if ":generateAccessToken" in url:
        return "impersonation"
    if content.get("type") == "external_account":
        return "exchange" if host == urlsplit(str(content.get("token_url") or "")).hostname else "subject"
    return "token"


def _meaning(network: Network, content: Mapping[str, Any], about: About, exc: Exception) -> ProblemError:
    """Return what is wrong when google-auth gave up: the last answer tells, and where none was asked for, the credentials do."""
    last: Answer | None = network.answers[-1] if network.answers else None
    step = _step(urlsplit(last.url).hostname or "", last.url, content) if last else ""
    if last is not None and last.status >= 400:
        if step == "exchange":
            return _answers.exchange_refused(last, about)
        if step == "impersonation":
            return _answers.impersonation_refused(last, about)
        if step == "token":
            return _answers.token_refused(last, about)
        return _no_subject(content, f"{urlsplit(last.url).hostname} answered {last.status}")
    if (
        content.get("type") == "external_account"
        and step in ("", "subject")
        and isinstance(content.get("credential_source"), dict)
    ):
        return _no_subject(content, _answers.shown(_first(exc), about.text))
    said = _answers.shown(_first(exc), about.text)
    return ProblemError(
        "lacks_fields",
        f"google-auth can't use the credentials in {about.where} ({said}). Create new ones, and give the file as it is.",
    )


def _first(exc: Exception) -> str:
    """Return an exception's own words; google-auth appends whole answers to them."""
    inner = exc.args[1] if len(exc.args) > 1 and isinstance(exc.args[1], Exception) else exc
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(inner.args[0]) if inner.args else type(inner).__name__


def _no_subject(content: Mapping[str, Any], why: str) -> ProblemError:
    source = content.get("credential_source") or {}
    if source.get("file"):
        what, how = (
            f"the file {source['file']}",
            "Have whatever issues it write it there, readable by the user that runs PostgreSQL",
        )
    elif source.get("executable"):
        what = "a program"
        how = (
            "Google's libraries start one only where GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES is set, which WAL-G's environment never "
            "has: let the program write a file, and name that"
        )
    elif source.get("environment_id"):
        what, how = "the AWS role of this machine", "Give it an instance profile, and allow the metadata service"
    else:
        what = f"the address {urlsplit(str(source.get('url') or '')).hostname or 'in credential_source'}"
        how = "See that it answers this host, with the headers and in the format that credential_source says"
    return ProblemError("subject_token", f"The token of the other issuer is not to be had from {what}: {why}. {how}.")


def _of_machine(network: Network, question: Question, about: About) -> tuple[About, str]:
    """Return whose the machine's own token is, and the token."""
    root = f"{question.endpoints.metadata}/computeMetadata/v1/instance/service-accounts/default"
    info = _asked_metadata(network, f"{root}/?recursive=true", question)
    known = _content(info.data.decode("utf-8", "replace"))
    named = About(about.kind, "", _named(_ACCOUNT, known.get("email")), "", "", question.reads)
    scopes = known.get("scopes")
    if isinstance(scopes, list):
        held = {str(one).rpartition("/auth/")[2] for one in scopes}
        if not held & (_READING if question.reads else _WRITING):
            raise _answers.wrong_scope(named)
    reply = _asked_metadata(network, f"{root}/token?{urlencode({'scopes': _SCOPE})}", question)
    token = _content(reply.data.decode("utf-8", "replace")).get("access_token")
    if not token:
        raise _answers.busy(reply, named)
    return named, str(token)


def _asked_metadata(network: Network, url: str, question: Question) -> Answer:
    host = urlsplit(url).hostname or ""
    for turn in range(_TRIES):
        last = turn == _TRIES - 1
        try:
            answer = network(url, headers={"Metadata-Flavor": "Google"}, timeout=_PATIENCE)
        except UnreachableError as exc:
            if exc.refused and not last:
                time.sleep(1)
                continue
            raise _no_metadata(host, exc.reason, question) from exc
        if answer.status < 500 or last:
            break
        time.sleep(1)
    if answer.headers.get("Metadata-Flavor") != "Google":
        raise _no_metadata(
            host, f"something else answered {answer.status}, as another cloud's metadata server would", question
        )
    if answer.status == 404:
        raise ProblemError(
            "no_machine_account",
            f"The metadata server at {host} knows no service account of this machine. Attach one (gcloud compute instances "
            "set-service-account), or in GKE bind one to the Kubernetes service account (Workload Identity).",
        )
    if answer.status >= 400:
        said = _answers.shown(answer.data.decode("utf-8", "replace"), "")
        raise ProblemError(
            "rejected",
            f"The metadata server at {host} gives no token of this machine's service account: {answer.status} {said}.",
        )
    return answer


def _no_metadata(host: str, why: str, question: Question) -> ProblemError:
    return ProblemError(
        "no_metadata_server",
        f"There are no credentials: none in walg_google_credentials, no GOOGLE_APPLICATION_CREDENTIALS in walg_settings, no "
        f"{question.where}, and no metadata server of Google Cloud at {host} ({why}). "
        "Give a key, or set up workload identity federation (docs/storages.md).",
    )


def _permissions(network: Network, question: Question, about: About, token: str) -> dict[str, Any]:
    """Return what the account may do in the bucket."""
    wanted = READS if question.reads else WRITES
    query = urlencode([("permissions", one) for one in wanted])
    url = f"{question.endpoints.storage}/storage/v1/b/{quote(question.bucket, safe='')}/iam/testPermissions?{query}"
    answer = network(url, headers={"Authorization": f"Bearer {token}"})
    if answer.status != 200:
        problem = _answers.storage_refused(answer, about, question.bucket)
        if problem is not None:
            raise problem
        return {}
    body = _content(answer.data.decode("utf-8", "replace"))
    if body.get("kind") != "storage#testIamPermissionsResponse":
        return {}
    held = [one for one in wanted if one in (body.get("permissions") or [])]
    missing = [one for one in wanted if one not in held]
    facts: dict[str, Any] = {"permissions": held, "missing": missing}
    if missing:
        problem = _answers.missing_permissions(missing, about, question.bucket)
        facts.update(problem=problem.kind, advice=problem.text)
    return facts
