# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each way in, and each thing that can be wrong with it, against Google's endpoints on loopback; google-auth is the real one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._storage import _google_answers, _google_check
from ansible_collections.mapswipe.walg.plugins.module_utils._storage._google_check import Endpoints, Question
from support.google_endpoints import (
    ACCOUNT,
    KEY_ID,
    SUBJECT,
    TOKEN,
    WELL,
    Google,
    Reply,
    api_error,
    machine,
    oauth_error,
    permitted,
)

LIBRARY = _google_check.library()
FORBIDDEN = api_error(
    403,
    "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
    "IAM_PERMISSION_DENIED",
    "PERMISSION_DENIED",
)
NARROW = api_error(
    403,
    "Request had insufficient authentication scopes.",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
    "PERMISSION_DENIED",
)


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    with Google(tmp_path_factory.mktemp("google")) as google:
        yield google


@pytest.fixture
def google(endpoints: Google) -> Google:
    endpoints.answers, endpoints.ahead = dict(WELL), 0.0
    endpoints.seen.clear()
    return endpoints


def ask(google: Google, kind: str, reads: bool = False, timeout: float = 30.0, **changes: Any) -> dict[str, Any]:
    text = "" if kind == "machine" else json.dumps(google.credentials(kind, **changes))
    where = "/home/of/gcloud.json" if kind == "machine" else "walg_google_credentials"
    at = Endpoints(metadata=google.plain)
    question = Question(text, where, "inventory", "x4m-test-bucket", reads, google.environment, timeout, at)
    answer = _google_check.check(question, LIBRARY)
    shown = json.dumps(answer)
    hidden = [TOKEN, SUBJECT, "1//", "GOCSPX", "a-refresh-token-of-a-pool", *changes.get("hidden", "").split()]
    if kind == "service_account":
        hidden += google.credentials(kind)["private_key"].splitlines()[1:-1]
    assert not [one for one in hidden if one in shown]
    return answer


WAYS = {
    "service_account": (["token", "permissions"], {"account": ACCOUNT, "project": "x4m-test", "key_id": KEY_ID}),
    "authorized_user": (["token", "permissions"], {"account": "me@x4m-test.example"}),
    "external_account": (["subject", "exchange", "impersonation", "permissions"], {"account": ACCOUNT}),
    "impersonated_service_account": (["token", "impersonation", "permissions"], {"account": ACCOUNT}),
    "external_account_authorized_user": (["exchange", "permissions"], {}),
    "machine": (["machine", "machine_token", "permissions"], {"account": ACCOUNT}),
}


@pytest.mark.parametrize("kind", WAYS)
def test_all_is_well(google: Google, kind: str) -> None:
    steps, facts = WAYS[kind]
    answer = ask(google, kind)
    everything = list(_google_check.WRITES)
    told = {"asked": True, "type": kind, "found_by": "inventory", "permissions": everything, "missing": []}
    assert answer == {**told, **facts}
    assert google.steps() == steps
    _step, sent = google.seen[-1]
    assert (sent["permissions"], sent["headers"]["Authorization"]) == (everything, f"Bearer {TOKEN}")


def test_a_token_of_another_issuer_in_a_file(google: Google, tmp_path: Path) -> None:
    path = tmp_path / "token"
    source = {"file": str(path)}
    missing = ask(google, "external_account", credential_source=source)
    assert (missing["problem"], google.seen) == ("subject_token", [])
    assert f"the file {path}" in missing["advice"]
    path.write_text("")
    assert ask(google, "external_account", credential_source=source)["problem"] == "subject_token"
    path.write_text(SUBJECT)
    assert ask(google, "external_account", credential_source=source)["missing"] == []
    assert google.seen[0][1]["subject_token"] == [SUBJECT]
    google.seen.clear()
    direct = ask(google, "external_account", credential_source=source, service_account_impersonation_url=None)
    assert (google.steps(), "account" in direct) == (["exchange", "permissions"], False)


JWT_TIMES = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values."
WRONG: dict[str, tuple[str, dict[str, Reply], str, list[str]]] = {
    # what: type, answers, kind of problem, words of the message
    "key": (
        "service_account",
        {"token": oauth_error("invalid_grant", "Invalid JWT Signature.")},
        "key_gone",
        [f"the key {KEY_ID} of {ACCOUNT}", "service-accounts keys list", "create a new key"],
    ),
    "user": (
        "authorized_user",
        {"token": oauth_error("invalid_grant", "Token has been expired or revoked.")},
        "key_gone",
        ["sign-in", "application-default login"],
    ),
    "rapt": (
        "authorized_user",
        {
            "token": Reply(
                400,
                {
                    "error": "invalid_grant",
                    "error_description": "reauth related error (invalid_rapt)",
                    "error_subtype": "invalid_rapt",
                },
            )
        },
        "key_gone",
        ["sign in again now and then", "service account for a server"],
    ),
    "client": (
        "authorized_user",
        {"token": oauth_error("deleted_client", "The OAuth client was deleted.", 401)},
        "key_gone",
        ["OAuth client", "deleted_client"],
    ),
    "account": (
        "service_account",
        {"token": oauth_error("invalid_grant", "Invalid grant: account not found")},
        "account_disabled",
        [ACCOUNT, "service-accounts enable"],
    ),
    "robot": (
        "service_account",
        {"token": oauth_error("invalid_grant", "Robot is disabled.")},
        "account_disabled",
        [ACCOUNT, "Robot is disabled"],
    ),
    "scope_of_key": (
        "service_account",
        {"token": oauth_error("invalid_scope", "Invalid OAuth scope or ID token audience provided.")},
        "wrong_scope",
        ["scope"],
    ),
    "scope_of_user": ("authorized_user", {"permissions": NARROW}, "wrong_scope", ["without --scopes"]),
    "scope_of_machine": (
        "machine",
        {"machine": machine("devstorage.read_only", "logging.write")},
        "wrong_scope",
        ["--scopes=storage-rw", ACCOUNT, "set-service-account"],
    ),
    "no_word_which": (
        "machine",
        {"permissions": api_error(403, "Insufficient Permission", "insufficientPermissions")},
        "wrong_scope",
        ["limited to scopes"],
    ),
    "no_account_of_machine": (
        "machine",
        {"machine": Reply(404, "Not Found\n", {"Metadata-Flavor": "Google"})},
        "no_machine_account",
        ["Attach one", "Workload Identity"],
    ),
    "other_cloud": (
        "machine",
        {"machine": Reply(404, "Not Found")},
        "no_metadata_server",
        ["another cloud's", "Give a key"],
    ),
    "issuer": ("external_account", {"subject": Reply(403, "no")}, "subject_token", ["127.0.0.1 answered 403"]),
    "issuer_form": ("external_account", {"subject": Reply(200, {"other": "x"})}, "subject_token", ["format"]),
    "sts": (
        "external_account",
        {
            "exchange": oauth_error(
                "invalid_target", 'The target service indicated by the "audience" parameters is invalid.'
            )
        },
        "token_exchange",
        ["invalid_target", "workload identity pool", "audience"],
    ),
    "condition": (
        "external_account",
        {
            "exchange": oauth_error(
                "unauthorized_client", "The given credential is rejected by the attribute condition.", 401
            )
        },
        "token_exchange",
        ["attribute condition"],
    ),
    "pool_of_people": (
        "external_account_authorized_user",
        {"exchange": oauth_error("invalid_grant", "Token has been expired or revoked.")},
        "key_gone",
        ["sign-in"],
    ),
    "impersonation": (
        "external_account",
        {"impersonation": FORBIDDEN},
        "impersonation",
        ["roles/iam.workloadIdentityUser", ACCOUNT],
    ),
    "impersonation_by_user": (
        "impersonated_service_account",
        {"impersonation": FORBIDDEN},
        "impersonation",
        ["roles/iam.serviceAccountTokenCreator", ACCOUNT],
    ),
    "api": (
        "impersonated_service_account",
        {
            "impersonation": api_error(
                403, "IAM Service Account Credentials API has not been used", "SERVICE_DISABLED", "PERMISSION_DENIED"
            )
        },
        "impersonation",
        ["gcloud services enable"],
    ),
    "scope_to_impersonate": ("impersonated_service_account", {"impersonation": NARROW}, "wrong_scope", ["scope"]),
    "source_gone": (
        "impersonated_service_account",
        {"token": oauth_error("invalid_grant", "Token has been expired or revoked.")},
        "key_gone",
        ["sign-in"],
    ),
    "bucket": (
        "service_account",
        {"permissions": api_error(404, "The specified bucket does not exist.", "notFound")},
        "no_bucket",
        ["x4m-test-bucket", "walg_storage"],
    ),
    "permissions": (
        "service_account",
        {"permissions": permitted("create", "get", "list")},
        "permissions",
        ["storage.objects.delete", "roles/storage.objectUser", f"serviceAccount:{ACCOUNT}"],
    ),
    "nothing": (
        "machine",
        {"permissions": permitted()},
        "permissions",
        ["storage.objects.create", "storage.objects.list"],
    ),
    "perimeter": (
        "service_account",
        {
            "permissions": api_error(
                403,
                "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: x",
                "forbidden",
            )
        },
        "permissions",
        ["prohibited by organization's policy", "perimeter"],
    ),
    "requester": (
        "service_account",
        {"permissions": api_error(400, "Bucket is a requester pays bucket but no user project provided.", "required")},
        "permissions",
        ["requester pays", "switch that off"],
    ),
    "just_disabled": (
        "service_account",
        {"permissions": api_error(401, "Invalid Credentials", "authError")},
        "account_disabled",
        [ACCOUNT],
    ),
    "busy": (
        "external_account",
        {"exchange": Reply(503, "try later")},
        "unreachable",
        ["sts.googleapis.com answered 503"],
    ),
    "busy_storage": (
        "service_account",
        {"permissions": Reply(503, "")},
        "unreachable",
        ["storage.googleapis.com answered 503"],
    ),
    "odd": (
        "service_account",
        {"token": oauth_error("invalid_request", "something else")},
        "rejected",
        ["something else"],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_with_what_to_do(google: Google, what: str) -> None:
    kind, answers, problem, words = WRONG[what]
    google.answers.update(answers)
    answer = ask(google, kind)
    assert (answer["asked"], answer.get("problem", "")) == (True, problem)
    assert [word for word in words if word not in answer["advice"]] == []
    assert problem in ("", *_google_answers.KINDS)


@pytest.mark.parametrize(("ahead", "words"), [(7200, "7200 s behind Google's"), (-400, "400 s ahead of Google's")])
def test_a_clock_that_is_wrong(google: Google, ahead: float, words: str) -> None:
    google.ahead = ahead
    assert "problem" not in ask(google, "service_account")  # not asked for the time unless something fails
    google.answers["token"] = oauth_error("invalid_grant", JWT_TIMES)
    answer = ask(google, "service_account")
    assert answer["problem"] == "clock_skew"
    assert words in answer["advice"].replace("7199", "7200").replace("7201", "7200").replace("401 s", "400 s")
    assert "timedatectl" in answer["advice"]
    google.answers["exchange"] = oauth_error("invalid_grant", "ID Token is stale to sign-in.")
    assert "clock is" in ask(google, "external_account")["advice"]


def test_a_host_that_only_reads(google: Google) -> None:
    google.answers.update(permissions=permitted("get", "list"), machine=machine("devstorage.read_only"))
    for kind in ("service_account", "machine"):
        answer = ask(google, kind, reads=True)
        assert (answer["permissions"], answer["missing"]) == (list(_google_check.READS), [])
    google.answers["permissions"] = permitted("get")
    answer = ask(google, "service_account", reads=True)
    assert (answer["missing"], "roles/storage.objectViewer" in answer["advice"]) == (["storage.objects.list"], True)
    google.answers["machine"] = machine("logging.write")
    assert "--scopes=storage-ro" in ask(google, "machine", reads=True)["advice"]


def test_a_storage_that_does_not_know_the_question(google: Google) -> None:
    """What WAL-G can do there is what counts."""
    google.answers["permissions"] = Reply(404, "404 page not found")
    answer = ask(google, "service_account")
    assert (answer["asked"], "problem" in answer, "missing" in answer) == (True, False, False)
    google.answers["permissions"] = Reply(200, "{}")
    assert "problem" not in ask(google, "service_account")


def test_nobody_answers(google: Google) -> None:
    closed = Question(
        json.dumps(google.credentials("service_account")),
        "walg_google_credentials",
        "inventory",
        "b",
        False,
        {"HTTPS_PROXY": "http://user:hidden-password@127.0.0.1:1"},
    )
    answer = _google_check.check(closed, LIBRARY)
    assert answer["problem"] == "unreachable"
    assert "oauth2.googleapis.com can't be reached" in answer["advice"]
    assert "through the proxy 127.0.0.1" in answer["advice"]
    assert "hidden-password" not in answer["advice"]
    untrusting = Question(
        closed.text, closed.where, "inventory", "b", False, {"HTTPS_PROXY": google.environment["HTTPS_PROXY"]}
    )
    answer = _google_check.check(untrusting, LIBRARY)
    assert (answer["problem"], "SSL_CERT_FILE" in answer["advice"]) == ("unreachable", True)
    at = Endpoints(metadata="http://127.0.0.1:1")
    answer = _google_check.check(Question("", "/no/file", "metadata server", "b", False, {}, 30, at), LIBRARY)
    assert (answer["problem"], "no /no/file" in answer["advice"]) == ("no_metadata_server", True)


def test_the_whole_is_bounded(google: Google) -> None:
    google.answers["permissions"] = Reply(200, "", hang=5)
    answer = ask(google, "service_account", timeout=1)
    assert (answer["problem"], "no answer within 1 s" in answer["advice"]) == ("unreachable", True)


@pytest.mark.parametrize("kind", ["external_account", "machine"])
def test_a_metadata_server_is_never_asked_through_a_proxy(google: Google, kind: str) -> None:
    environment = {**google.environment, "HTTP_PROXY": "http://192.0.2.1:3128"}
    text = json.dumps(google.credentials(kind)) if kind != "machine" else ""
    question = Question(text, "x", "y", "b", False, environment, 30, Endpoints(metadata=google.plain))
    assert "problem" not in _google_check.check(question, LIBRARY)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"executable": {"command": "/bin/true"}}, "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES"),
        ({"file": "/no/such/file"}, "the file /no/such/file"),
    ],
)
def test_other_sources_of_a_token(google: Google, source: dict[str, Any], words: str) -> None:
    answer = ask(google, "external_account", credential_source=source)
    assert (answer["problem"], words in answer["advice"]) == ("subject_token", True)
    assert google.seen == []


def test_credentials_that_google_auth_can_not_use(google: Google) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5LCBidXQgc2VjcmV0\n-----END PRIVATE KEY-----\n"
    answer = ask(google, "service_account", private_key=key, hidden="bm90IGEga2V5LCBidXQgc2VjcmV0")
    assert (answer["problem"], google.seen) == ("lacks_fields", [])
    assert "walg_google_credentials" in answer["advice"]


def test_a_metadata_server_that_is_just_starting(google: Google) -> None:
    """As in a container of GKE that is just up. It answers nobody who does not send its header."""
    google.answers["machine"] = Reply(503, "not yet", {"Metadata-Flavor": "Google"})
    threading.Timer(0.5, google.answers.update, kwargs={"machine": WELL["machine"]}).start()
    answer = ask(google, "machine")
    assert ("problem" in answer, answer["account"]) == (False, ACCOUNT)
    assert google.steps() == ["machine", "machine", "machine_token", "permissions"]
    assert all(sent["headers"]["Metadata-Flavor"] == "Google" for _step, sent in google.seen[:3])


def test_without_google_auth_nothing_is_lost(google: Google) -> None:
    text = json.dumps(google.credentials("service_account"))
    question = Question(text, "walg_google_credentials", "inventory", "b", False, google.environment)
    answer = _google_check.check(question, _google_check.NO_LIBRARY)
    assert (answer["asked"], answer["reason"]) == (False, _google_check.NO_LIBRARY)
    assert (answer["account"], answer["key_id"], google.seen) == (ACCOUNT, KEY_ID, [])
    at = Endpoints(metadata=google.plain)
    machine_own = Question("", "x", "metadata server", "b", False, google.environment, 30, at)
    assert _google_check.check(machine_own, _google_check.NO_LIBRARY)["asked"] is True


def test_names_are_shown_only_if_they_look_like_names(google: Google) -> None:
    answer = ask(
        google,
        "service_account",
        private_key_id="-----BEGIN",
        project_id="A secret, by mistake",
        client_email="also secret",
    )
    assert not {"key_id", "project", "account"} & set(answer)


@pytest.mark.parametrize(
    "text",
    [
        "bad key s3cr3t-in-the-key",
        "got ya29.c.b0AXv0zT and eyJhbGciOiJSUzI1NiJ9.eyJzdWIi.x_y",
    ],
)
def test_what_others_say_is_shown_without_secrets(text: str) -> None:
    secret = json.dumps(
        {"type": "service_account", "private_key": "-----BEGIN X-----\ns3cr3t-in-the-key\n-----END X-----"}
    )
    shown = _google_answers.shown(text, secret)
    assert not [one for one in ("s3cr3t-in-the-key", "ya29", "eyJ") if one in shown]
    assert _google_answers.shown("no key could be detected", secret) == "no key could be detected"
    assert _google_answers.shown("two\nlines.", "no json") == "two lines"
