# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which credentials Google is asked about, by whom, and what a host without google-auth hears."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _google_asked
from ansible_collections.mapswipe.walg.plugins.module_utils._storage import _google_check
from support.google_endpoints import ACCOUNT, Google

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    with Google(tmp_path_factory.mktemp("google")) as endpoints:
        yield endpoints


@pytest.fixture
def ask(google: Google, tmp_path: Path) -> Ask:
    def asked(path: str = "", given: str = "", version: tuple[int, int, int] = (3, 0, 8)) -> dict[str, Any]:
        me = replace(User.current(), home=str(tmp_path))
        text = (given, _google_asked.OPTION, "inventory") if given else None
        return _google_asked.asked(me, text, path, "x4m-test-bucket", False, google.environment, 20, version)

    return asked


def test_the_order_in_which_credentials_are_found(google: Google, ask: Ask, tmp_path: Path) -> None:
    gcloud, named = tmp_path / _google_asked.GCLOUD, tmp_path / "key.json"
    gcloud.parent.mkdir(parents=True)
    gcloud.write_text(json.dumps(google.credentials("authorized_user")))
    assert {**ask(), "permissions": 0}["found_by"] == "gcloud"
    named.write_text(json.dumps(google.credentials("service_account")))
    assert ask(str(named))["found_by"] == "GOOGLE_APPLICATION_CREDENTIALS"
    found = ask("", json.dumps(google.credentials("impersonated_service_account")))
    assert (found["found_by"], found["account"], found["missing"]) == ("inventory", ACCOUNT, [])


def test_our_own_environment_is_not_asked(google: Google, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "HTTPS_PROXY", "SSL_CERT_FILE", "CLOUDSDK_CONFIG"):
        monkeypatch.setenv(name, "/not/this")
    before = dict(os.environ)
    assert ask("", json.dumps(google.credentials("service_account")))["missing"] == []
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("text", "version", "problem"),
    [
        (None, (3, 0, 8), "not_readable"),
        ("", (3, 0, 8), "lacks_fields"),
        ('{"type": "service_account"}', (3, 0, 8), "lacks_fields"),
        ('{"type": "magic"}', (3, 0, 8), "wrong_type"),
        ('{"type": "external_account", "audience": "x"}', (1, 1, 3), "wrong_type"),
    ],
)
def test_what_needs_no_question(
    google: Google, ask: Ask, tmp_path: Path, text: str | None, version: tuple[int, int, int], problem: str
) -> None:
    google.seen.clear()
    path = tmp_path / "key.json"
    if text is None:
        path.mkdir()
    else:
        path.write_text(text)
    answer = ask(str(path), version=version)
    assert (answer["asked"], answer["problem"], str(path) in answer["advice"]) == (False, problem, True)
    assert google.seen == []


def test_a_host_without_google_auth(google: Google, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_google_check, "_PARTS", ("google_auth_that_is_not_here",))
    answer = ask("", json.dumps(google.credentials("service_account")))
    assert (answer["asked"], answer["reason"], answer["account"]) == (False, _google_check.NO_LIBRARY, ACCOUNT)
    monkeypatch.setattr(_google_check, "_PARTS", ("google.auth", "google.auth.not_in_this_version"))
    assert ask("", json.dumps(google.credentials("service_account")))["reason"] == _google_check.TOO_OLD


def test_a_library_that_breaks_is_no_error_of_ours(google: Google, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise RuntimeError("pyo3 panicked")

    monkeypatch.setattr(_google_check, "library", broken)
    answer = ask("", json.dumps(google.credentials("service_account")))
    assert (answer["asked"], "pyo3 panicked" in answer["reason"]) == (False, True)


def test_the_bucket_of_a_storage() -> None:
    assert [_google_asked.bucket_of(one) for one in ("gs://b/p/q", "gs://b", "s3://b/p")] == ["b", "b", ""]
