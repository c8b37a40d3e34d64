# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_google_check: on its own, and on the controller in the place of a host that could not ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.modules import walg_google_check
from support.google_endpoints import ACCOUNT, WELL, Google, oauth_error
from support.module_call import Call

FAILURE = {"msg": "`wal-g st ls` ended with 1.", "step": "storage", "rc": 1, "stderr": "400", "changed": False, "_x": 1}


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    with Google(tmp_path_factory.mktemp("google")) as google:
        yield google


@pytest.fixture
def google(endpoints: Google) -> Google:
    endpoints.answers = dict(WELL)
    endpoints.seen.clear()
    return endpoints


@pytest.fixture
def call(google: Google, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    given = {"storage": "gs://x4m-test-bucket/path", "settings": google.environment}
    return Call(walg_google_check, capfd, monkeypatch, **given)


def key(google: Google) -> Any:
    return google.credentials("service_account")


def test_credentials_that_work(google: Google, call: Call) -> None:
    for given in (key(google), json.dumps(key(google))):
        answer = call(google_credentials=given)
        assert (answer["asked"], answer["account"], answer["missing"], answer["changed"]) == (True, ACCOUNT, [], False)
    assert len(call(google_credentials=key(google), access="read_only")["permissions"]) == 2


def test_credentials_that_do_not(google: Google, call: Call) -> None:
    google.answers["token"] = oauth_error("invalid_grant", "Invalid JWT Signature.")
    answer = call(google_credentials=key(google), check=True)
    assert (answer["problem"], "failed" in answer) == ("key_gone", False)
    old = call(google_credentials=google.credentials("external_account_authorized_user"), version="2.0.1")
    assert (old["problem"], old["asked"]) == ("wrong_type", False)
    assert "google-auth" not in call(google_credentials=google.credentials("external_account"))["reason"]


def test_a_host_failed_and_google_knows_why(google: Google, call: Call) -> None:
    google.answers["token"] = oauth_error("invalid_grant", "Invalid JWT Signature.")
    answer = call(google_credentials=key(google), failure=FAILURE)
    assert (answer["failed"], answer["step"], answer["rc"], answer["stderr"]) == (True, "storage", 1, "400")
    assert answer["msg"].startswith(FAILURE["msg"])
    assert "does not accept the key" in answer["msg"]
    assert (answer["google"]["problem"], "_x" in answer) == ("key_gone", False)
    assert "PRIVATE KEY" not in json.dumps(answer)


def test_a_host_failed_and_google_knows_nothing_of_it(google: Google, call: Call) -> None:
    answer = call(google_credentials=key(google), failure=FAILURE)
    assert f"From the controller these credentials work: {ACCOUNT}" in answer["msg"]
    far = {"HTTPS_PROXY": "http://127.0.0.1:1", "SSL_CERT_FILE": "/not/on/the/controller"}
    answer = call(google_credentials=key(google), failure=FAILURE, settings=far)
    assert "Google could not be asked from the controller: oauth2.googleapis.com can't be reached" in answer["msg"]
    answer = call(google_credentials=google.credentials("external_account"), failure=FAILURE)
    assert "take a token from the host" in answer["msg"]


def test_wrong_options(google: Google, call: Call) -> None:
    assert "gs://bucket/path" in call(google_credentials=key(google), storage="s3://b/p")["msg"]
    assert "limit" not in call(google_credentials=key(google), timeout=0).get("advice", "")
    assert call(google_credentials=5)["failed"]
