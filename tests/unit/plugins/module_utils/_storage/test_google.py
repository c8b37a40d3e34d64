# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Google credentials which WAL-G can load; no message repeats them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._storage import _google

PEM = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
GOOD: dict[str, dict[str, Any]] = {
    "service_account": {"client_email": "secret@b.example", "private_key": PEM},
    "authorized_user": {"client_id": "i", "client_secret": "secret", "refresh_token": "secret"},
    "external_account": {"audience": "a", "subject_token_type": "t", "credential_source": {"file": "/f"}},
    "external_account_authorized_user": {
        "refresh_token": "secret",
        "token_url": "https://x",
        "client_id": "i",
        "client_secret": "secret",
    },
    "impersonated_service_account": {"service_account_impersonation_url": "https://x", "source_credentials": {"a": 1}},
    "gdch_service_account": {"project": "p", "private_key": PEM, "name": "n", "token_uri": "https://x"},
}


def text(kind: str, **changes: Any) -> str:
    return json.dumps({"type": kind, **GOOD.get(kind, {}), **changes})


@pytest.mark.parametrize(
    ("kind", "version", "loads"),
    [
        ("service_account", (1, 1, 3), True),
        ("service_account", (3, 0, 9), True),
        ("authorized_user", (1, 1, 3), True),
        ("external_account", (1, 1, 3), False),
        ("external_account", (2, 0, 0), False),
        ("external_account", (2, 0, 1), True),
        ("external_account_authorized_user", (3, 0, 5), False),
        ("external_account_authorized_user", (3, 0, 6), True),
        ("impersonated_service_account", (3, 0, 5), False),
        ("impersonated_service_account", (3, 0, 8), True),
        ("gdch_service_account", (3, 0, 8), False),
        ("gdch_service_account", (3, 0, 9), True),
        ("gdch_service_account", None, True),
    ],
)
def test_types_by_version(kind: str, version: tuple[int, int, int] | None, loads: bool) -> None:
    if loads:
        _google.check(text(kind), "key.json", version)
        return
    with pytest.raises(WalgError, match=rf"type {kind}, which WAL-G \d[.]\d[.]\d can't load") as caught:
        _google.check(text(kind), "key.json", version)
    assert "walg_version" in caught.value.msg
    assert "service_account, authorized_user" in caught.value.msg


@pytest.mark.parametrize("kind", GOOD)
def test_each_field_that_is_needed(kind: str) -> None:
    for name in GOOD[kind]:
        for nothing in ("", None):
            with pytest.raises(WalgError, match=f"lacks {name}[.]"):
                _google.check(text(kind, **{name: nothing}), "key.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("secret", "is not JSON"),
        ('"secret"', "is not JSON"),
        ('["secret"]', "is not JSON"),
        ('{"private_key": "secret"', "is not JSON"),
        ('{"private_key": "secret"}', "has no 'type'"),
        ('{"installed": {"client_secret": "secret"}}', "OAuth client"),
        ('{"web": {"client_secret": "secret"}}', "OAuth client"),
        ('{"type": "secret"}', "none that Google's libraries know"),
        ('{"type": ["secret"]}', "none that Google's libraries know"),
        ('{"type": null, "private_key": "secret"}', "none that Google's libraries know"),
        (text("service_account", private_key="secret"), "not a PEM block"),
        (text("service_account", private_key=PEM.replace("\n", "\\n")), "line breaks lost"),
        (text("service_account", private_key=PEM.replace("\n", " ")), "line breaks lost"),
        (text("service_account", private_key=["secret"]), "not a PEM block"),
    ],
)
def test_what_is_no_use_is_named_and_not_repeated(content: str, words: str) -> None:
    with pytest.raises(WalgError) as caught:
        _google.check(content, "walg_google_credentials")
    assert words in caught.value.msg
    assert caught.value.msg.startswith(("walg_google_credentials", "The 'type' in walg_", "The private_key in walg_"))
    shown = caught.value.msg + json.dumps(caught.value.fields)
    assert "secret" not in shown
    assert "c2VjcmV0" not in shown
