# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of a primary as libpq reads them: a password is found in every spelling, and never shown."""

from __future__ import annotations

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _conninfo

NAME = "walg_restore_primary_conninfo"
P = "Planted7"


def refusal(text: str) -> str:
    with pytest.raises(WalgError) as caught:
        _conninfo.judge(text, NAME)
    assert P not in f"{caught.value.msg} {caught.value.fields}"
    assert NAME in caught.value.msg
    return caught.value.msg


@pytest.mark.parametrize(
    "text",
    [
        f"host=a password={P}",
        f"password={P}",
        f"host=a password ={P}",
        f"host=a password= {P}",
        f"host=a password\t=\n'{P}'",
        f"host=a password='{P} it\\'s'",
        "host=a password='x' user=b",
        f"host=a password={P}\\ x",
        f"host='a b' password={P}",
        f"host=a\\ b password={P}",
        f"application_name='it\\'s' sslpassword={P}",
        f"host=a sslpassword='{P}'",
        f"host=a scram_client_key={P}",
        f"host=a oauth_client_secret={P}",
        f"dbname='host=a password={P}'",
        f"dbname=postgres://me:{P}@a",
        f"postgres://me:{P}@host",
        f"postgresql://me:{P}@host/db",
        f"postgresql://:{P}@host",
        f"postgresql://me:{P}:x@host1:1,host2:2/db",
        f"postgresql://me:%50{P}@host",
        f"postgresql://host/?password={P}",
        f"postgresql:///?host=a&password={P}",
        f"postgresql://host?%70assword={P}",
        f"postgresql://host?pass%77ord=%41{P}",
        f"postgresql://host?user=me&sslpassword={P}",
    ],
)
def test_a_password_in_any_spelling(text: str) -> None:
    message = refusal(text)
    assert "holds a password" in message
    assert "passfile=/path" in message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "host=a",
        " host = 'a b'  user\t= rep ",
        "host=password.example.org",
        "user='password=x'",
        "application_name=\\'password=",
        "host=a passfile=/etc/pass",
        "host=/run/postgresql port=5433 sslmode=verify-full sslrootcert='/a b'",
        "postgresql://",
        "postgres://rep@db1:5433/",
        "postgresql://rep@db1,db2/postgres?target_session_attrs=read-write&passfile=%2Fp",
        "postgresql://rep@[::1]:5433/x?ssl=true",
        "postgresql:///?host=/run",
        "dbname='a=b'",
    ][:-1],
)
def test_addresses_without_one(text: str) -> None:
    _conninfo.judge(text, NAME)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (P, "there is no ="),
        (f"{P} x", "there is no ="),
        (f"host=a {P}", "there is no ="),
        (f"={P}", "there is no ="),
        (f"host='{P}", "a quote is not closed"),
        (f"hots={P}", "Did you mean host?"),
        (f"PASSWORD={P}", "Did you mean password?"),
        (f"{P}=x", "does not know"),
        (f"postgresql://me:{P}/x@host", "%2F"),
        (f"postgresql://host?{P}", "has no ="),
        (f"postgresql://host?user=%zz{P}", "percent sign"),
        (f"postgresql://host?usr={P}", "Did you mean user?"),
        (f"http://me:{P}@host", "there is no ="),
    ],
)
def test_what_is_no_address(text: str, why: str) -> None:
    assert why in refusal(text)


def test_pairs() -> None:
    assert _conninfo.pairs("a='b\\'c' d = e\\ f", NAME) == [("a", "b'c"), ("d", "e f")]
    assert _conninfo.pairs("postgres://u%40x@h:1/d%2Fb?a=b%26c", NAME) == [
        ("user", "u@x"),
        ("host", "h:1"),
        ("dbname", "d/b"),
        ("a", "b&c"),
    ]
