# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials within addresses: found in every spelling, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _addresses

P = "Plan-ted7"


@pytest.mark.parametrize(
    "text",
    [
        f"https://me:{P}@host/x",
        f"https://{P}@host/x",
        f"https://:{P}@host",
        f"http://me:{P}/and@host",
        f"http://me:{P}?and#{P}@host",
        f"HTTP://me:{P}@[::1]:3128",
        f"me:{P}@proxy:3128",
        f"proxy is me:{P}@proxy:3128.",
        f"'me:{P}@proxy'",
        f"ssh://me:{P}@host/x",
        f"s3://b/p?X-Amz-Credential=a%2Fb&X-Amz-Signature={P}",
        f"https://h/?x-amz-security-token={P}&a=b",
        f"https://h/?X-Goog-Signature={P}",
        f"https://h/c?sv=2022&sig={P}",
        f"sv=2022&sp=r&sig={P}",
        f"https://h/?token={P}",
        f"https://h/?access_token={P}#f",
        f"https://h/?a=b;api_key={P}",
        f"https://h/?key={P}",
        f"host=a password={P} user=b",
        f"host=a password = '{P} it\\'s' user=b",
        f"host=a sslpassword={P}",
        f"Authorization: Bearer {P}",
        f"proxy-authorization: Basic {P}aa==",
        f"first https://a:{P}@b then https://c:{P}@d and e:{P}@f",
        f"dial tcp: lookup http://me:{P}@proxy: no such host",
    ],
)
def test_found_and_hidden(text: str) -> None:
    shown = _addresses.without_credentials(text)
    assert "Plan" not in shown
    assert "ted7" not in shown
    assert _addresses.HIDDEN in shown
    assert _addresses.without_credentials(shown) == shown
    assert _addresses.holds_credentials(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gs://bucket/path",
        "s3://bucket/path@2x",
        "ssh://walg@host:22/path",
        "systemd:postgresql@14-main.service",
        "The unit postgresql@14-main.service: active",
        "10.1.2.3,.example.org",
        "proxy:3128",
        "http://proxy:3128",
        "postgres://db1:5432/shop",
        "2026-01-31T04:05:06Z",
        "Put it into passfile=/path, or ~/.pgpass.",
        "WALG_PGP_KEY_PATH=/etc/key",
        "me@example.org",
        "a: b @ c",
        "sha256:abc",
        "basic things and bearers",
    ],
)
def test_nothing_else_is(text: str) -> None:
    assert _addresses.without_credentials(text) == text
