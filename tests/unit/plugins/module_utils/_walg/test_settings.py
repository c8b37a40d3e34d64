# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on WAL-G's settings: names, secrets, the file, the diff."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._storage import _url
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _settings
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._setting_names import (
    CANONICAL,
    ENVIRONMENT,
    KNOWN,
    MULTILINE,
    PATHS,
    REFUSED,
    SECRET,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._settings import Settings
from hypothesis import given, settings
from hypothesis import strategies as st

PLANTED = "pl4nted-s3cret"
SECRETS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": PLANTED}
PEM = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nabc=\n-----END PGP PRIVATE KEY BLOCK-----\n"

PLAIN_NAMES = sorted(KNOWN - SECRET - ENVIRONMENT - {"WALG_LOG_LEVEL", "S3_LOG_LEVEL"} - set(CANONICAL) - PATHS)
SECRET_NAMES = sorted(SECRET - set(CANONICAL))
WRITABLE = st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="@")
VALUES = st.text(WRITABLE, min_size=1, max_size=20).filter(str.strip)


def refused(given: dict[str, Any], secrets: dict[str, Any] | None = None) -> WalgError:
    with pytest.raises(WalgError) as caught:
        _settings.check_settings(given, secrets or {})
    assert PLANTED not in f"{caught.value.msg} {caught.value.fields}"
    return caught.value


@pytest.mark.parametrize(
    "name",
    [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SECRET_KEY",
        "AWS_SESSION_TOKEN",
        "S3_SSE_C",
        "WALG_S3_SSE_C",
        "WALE_AWS_SECRET_ACCESS_KEY",
        "S3_REQUEST_ADDITIONAL_HEADERS",
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "GCS_ENCRYPTION_KEY",
        "WALG_GCS_ENCRYPTION_KEY",
        "OSS_ACCESS_KEY_ID",
        "OSS_ACCESS_KEY_SECRET",
        "OSS_SESSION_TOKEN",
        "OS_PASSWORD",
        "SSH_PASSWORD",
        "PGPASSWORD",
        "WALG_LIBSODIUM_KEY",
        "WALG_PGP_KEY",
        "WALG_PGP_KEY_PASSPHRASE",
        "WALG_ENVELOPE_PGP_KEY",
    ],
)
def test_secret_names_go_into_secrets(name: str) -> None:
    assert refused({name: PLANTED}).msg == f"{name} is secret: put it into walg_secrets, not into walg_settings."
    _settings.check_settings({}, {name: PLANTED})


@pytest.mark.parametrize(
    "name",
    [
        "GOOGLE_APPLICATION_CREDENTIALS",
        "SSH_PRIVATE_KEY_PATH",
        "WALG_PGP_KEY_PATH",
        "WALG_LIBSODIUM_KEY_PATH",
        "PGPASSFILE",
        "PGSSLKEY",
        "YC_SERVICE_ACCOUNT_KEY_FILE",
        "WALG_ENVELOPE_PGP_KEY_PATH",
        "AWS_SHARED_CREDENTIALS_FILE",
    ],
)
def test_the_path_of_a_secret_is_no_secret(name: str) -> None:
    _settings.check_settings({name: "/etc/key"}, {})
    assert Settings.of({name: "/etc/key"}, {}).masked() == {name: "/etc/key"}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("WALG_COMPRESION_METHOD", "WALG_COMPRESSION_METHOD"),
        ("walg_delta_max_steps", "WALG_DELTA_MAX_STEPS"),
        ("WALG_GCS_PREFIX", "WALG_GS_PREFIX"),
        ("AWS_SECRET_ACCES_KEY", "AWS_SECRET_ACCESS_KEY"),
        ("HTTPS-PROXY", "HTTPS_PROXY"),
    ],
)
def test_unknown_name_and_the_nearest_one(name: str, near: str) -> None:
    for error in (refused({name: PLANTED}), refused({}, {name: PLANTED})):
        assert error.msg.endswith(f"Did you mean {near}?")
        assert error.fields == {"found": name, "wanted": near}


def test_unknown_name_that_is_near_to_none() -> None:
    assert "Did you mean" not in refused({"QQQQ": PLANTED}).msg


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_names(name: str) -> None:
    assert REFUSED[name] in refused({name: PLANTED}).msg
    assert REFUSED[name] in refused({}, {name: PLANTED}).msg


def test_what_is_refused_is_not_known() -> None:
    assert not set(REFUSED) & KNOWN
    assert {"WALG_FAILOVER_STORAGES", "HTTP_LISTEN", "HTTP_EXPOSE_PPROF", "HTTP_EXPOSE_EXPVAR"} <= set(REFUSED)


@pytest.mark.parametrize(
    ("given", "secrets"),
    [
        ({"AWS_REGION": "a"}, {"AWS_REGION": PLANTED}),
        ({"S3_SSE": "a", "WALG_S3_SSE": "a"}, {}),
        ({"WALG_S3_SSE": "a", "WALE_S3_SSE": "a"}, {}),
        ({"WALG_AWS_REGION": "a"}, {"AWS_REGION": PLANTED}),
        ({}, {"S3_SSE_C": PLANTED, "WALG_S3_SSE_C": PLANTED}),
        ({"WALE_S3_PREFIX": "s3://a", "WALG_S3_PREFIX": "s3://b"}, {}),
    ],
)
def test_the_same_setting_twice(given: dict[str, Any], secrets: dict[str, Any]) -> None:
    assert "is the same setting as" in refused(given, secrets).msg


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "empty"),
        ("  ", "empty"),
        (None, "it is null"),
        ([PLANTED], "it is a list"),
        ({"a": PLANTED}, "it is a map"),
        (b"x", "of the type bytes"),
        (float("nan"), "not a finite number"),
        (PLANTED + "\n", "line break"),
        (PLANTED + "\0", "control character"),
        (PLANTED + "\x85", "control character"),
        (PLANTED + "\ud800", "control character"),
    ],
)
def test_refused_values(value: object, why: str) -> None:
    assert why in refused({"AWS_REGION": value}).msg
    assert why in refused({}, {"AWS_SECRET_ACCESS_KEY": value}).msg


@pytest.mark.parametrize("name", sorted(MULTILINE))
def test_texts_of_keys_have_lines(name: str) -> None:
    assert json.loads(Settings.of({}, {name: PEM}).rendered()) == {name: PEM}
    assert "control character" in refused({}, {name: PEM + "\0"}).msg


@pytest.mark.parametrize("level", ["DEVEL", "devel", "DEBUG", "normal", "INFO"])
def test_refused_log_levels(level: str) -> None:
    assert "DEVEL would write credentials" in refused({"WALG_LOG_LEVEL": level}).msg
    assert "DEVEL would write credentials" in refused({}, {"WALG_LOG_LEVEL": level}).msg


@pytest.mark.parametrize("name", ["S3_LOG_LEVEL", "WALG_S3_LOG_LEVEL"])
def test_the_storage_may_not_log_requests(name: str) -> None:
    assert "credentials" in refused({name: "DEVEL"}).msg
    _settings.check_settings({name: "OFF"}, {})


@pytest.mark.parametrize("level", ["NORMAL", "ERROR"])
def test_log_levels(level: str) -> None:
    _settings.check_settings({"WALG_LOG_LEVEL": level}, {})


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "WALG_S3_PREFIX", "AWS_ENDPOINT"])
def test_a_password_in_an_address_goes_into_secrets(name: str) -> None:
    url = f"http://me:{PLANTED}@host/"
    assert "put it into walg_secrets" in refused({name: url}).msg
    _settings.check_settings({}, {name: url})
    assert PLANTED not in str(Settings.of({}, {name: url}).masked())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (0, "0"),
        (-3, "-3"),
        (1e9, "1000000000"),
        (0.5, "0.5"),
        ("x", "x"),
        ("é", "é"),
        (10**18, "1000000000000000000"),
    ],
)
def test_every_value_becomes_a_string(value: object, text: str) -> None:
    assert json.loads(Settings.of({"AWS_REGION": value}, {}).rendered()) == {"AWS_REGION": text}


def test_form_of_the_file() -> None:
    text = Settings.of({"WALG_GS_PREFIX": "gs://b/p", "PGPORT": 5432}, {"PGPASSWORD": "x"}).rendered()
    assert text == '{\n  "PGPASSWORD": "x",\n  "PGPORT": "5432",\n  "WALG_GS_PREFIX": "gs://b/p"\n}\n'


@given(
    st.dictionaries(st.sampled_from(PLAIN_NAMES), VALUES | st.integers() | st.booleans(), max_size=6),
    st.dictionaries(st.sampled_from(SECRET_NAMES), VALUES, max_size=6),
)
@settings(database=None)
def test_what_is_rendered_can_be_read_back(given: dict[str, Any], secrets: dict[str, str]) -> None:
    text = Settings.of(given, secrets).rendered()
    found = json.loads(text)
    wanted = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}
    assert found == {**wanted, **secrets}
    assert list(found) == sorted(found)
    assert text == Settings.of(dict(reversed(list(given.items()))), secrets).rendered()


def test_settings_are_checked_when_they_are_made() -> None:
    with pytest.raises(WalgError, match="is secret"):
        Settings.of({"PGPASSWORD": PLANTED}, {})


def test_variables_of_the_environment() -> None:
    given = {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x", "AWS_REGION": "r"}
    secrets = {"HTTP_PROXY": f"http://me:{PLANTED}@p", "PGPASSWORD": PLANTED}
    made = Settings.of(given, secrets)
    assert _settings.environment_of(given) == {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x"}
    assert set(json.loads(made.rendered())) == {"AWS_REGION", "HTTP_PROXY", "PGPASSWORD"}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"WALG_GS_PREFIX": "gs://b", "WALG_FILE_PREFIX": "/a"},
        {"WALG_GS_PREFIX": "gs://b", "WALE_S3_PREFIX": "s3://b"},
    ],
)
def test_no_or_several_prefixes(given: dict[str, str]) -> None:
    with pytest.raises(WalgError, match=r"storages? (is|are) set"):
        _url.kind(given)


def test_one_prefix() -> None:
    _url.kind({"WALG_GS_PREFIX": "gs://b", "AWS_REGION": "r"})
    _url.kind({"WALE_S3_PREFIX": "s3://b"})


def test_digest() -> None:
    assert _settings.digest("é\n") == hashlib.sha256("é\n".encode()).hexdigest()


def test_masked() -> None:
    assert Settings.read(None).masked() == {}
    text = Settings.of({"WALG_GS_PREFIX": "gs://b", "AWS_REGION": "r"}, {**SECRETS, "PGUSER": PLANTED}).rendered()
    assert Settings.read(text).masked(["PGUSER"]) == {
        "WALG_GS_PREFIX": "gs://b",
        "AWS_REGION": "r",
        "AWS_ACCESS_KEY_ID": "(secret)",
        "AWS_SECRET_ACCESS_KEY": "(secret)",
        "PGUSER": "(secret)",
    }


@pytest.mark.parametrize(
    "text",
    [
        f'{{"AWS_SECRET_ACCESS_KEY": "{PLANTED}"',
        f'["{PLANTED}"]',
        f'"{PLANTED}"',
        f'{{"unknown": "{PLANTED}"}}',
        f'{{"aws_secret_access_key": "{PLANTED}"}}',
        f'{{"WALG_FAILOVER_STORAGES": {{"a": {{"AWS_SECRET_ACCESS_KEY": "{PLANTED}"}}}}}}',
        f'{{"HTTPS_PROXY": "http://me:{PLANTED}@h"}}',
        f'{{"PGPASSWORD": ["{PLANTED}"]}}',
    ],
)
def test_a_file_of_somebody_else_is_masked_too(text: str) -> None:
    assert PLANTED not in str(Settings.read(text).masked())
    assert PLANTED not in str(_settings.masked_pair(Settings.read(text), Settings.of({"AWS_REGION": "r"}, {})))


def test_masked_pair() -> None:
    secrets = {"PGPASSWORD": "old", "SSH_PASSWORD": "same"}
    before = Settings.of({"AWS_REGION": "a", "PGPORT": 1, "S3_SSE": "x"}, secrets).rendered()
    secrets.update(PGPASSWORD="new", OS_PASSWORD="added")
    after = Settings.of({"AWS_REGION": "b", "PGPORT": 1}, secrets).rendered()
    assert _settings.masked_pair(Settings.read(before), Settings.read(after)) == (
        {"AWS_REGION": "a", "PGPORT": "1", "S3_SSE": "(removed)", "PGPASSWORD": "(secret)", "SSH_PASSWORD": "(secret)"},
        {
            "AWS_REGION": "b",
            "PGPORT": "1",
            "PGPASSWORD": "(secret, changed)",
            "SSH_PASSWORD": "(secret)",
            "OS_PASSWORD": "(secret)",
        },
    )


def test_masked_pair_of_a_first_file() -> None:
    after = Settings.of({"AWS_REGION": "b"}, {"PGPASSWORD": PLANTED}).rendered()
    assert _settings.masked_pair(Settings.read(None), Settings.read(after)) == (
        {},
        {"AWS_REGION": "b", "PGPASSWORD": "(secret)"},
    )


TOKEN = st.text("0123456789abcdef", min_size=12, max_size=24).map("tok-".__add__)
HIDDEN = st.dictionaries(st.sampled_from(SECRET_NAMES) | st.sampled_from(PLAIN_NAMES), TOKEN, max_size=5)


@given(st.dictionaries(st.sampled_from(PLAIN_NAMES), VALUES, max_size=5), HIDDEN, HIDDEN)
@settings(database=None)
def test_no_diff_ever_shows_a_secret(given: dict[str, str], old: dict[str, str], new: dict[str, str]) -> None:
    before = Settings.of({name: value for name, value in given.items() if name not in old}, old).rendered()
    after = Settings.of({name: value for name, value in given.items() if name not in new}, new).rendered()
    hidden = {*old, *new}
    shown = str(_settings.masked_pair(Settings.read(before), Settings.read(after), hidden)) + str(
        Settings.read(after).masked(hidden)
    )
    assert not [value for value in (*old.values(), *new.values()) if value in shown]
    left, right = _settings.masked_pair(Settings.read(before), Settings.read(after), hidden)
    assert (left == right) is (json.loads(before) == json.loads(after))


ANY_NAME = st.sampled_from([*PLAIN_NAMES, *SECRET_NAMES, *REFUSED, "WALG_LOG_LEVEL", "TYPO"])


def answer(given: dict[str, str], secrets: dict[str, str]) -> str:
    try:
        _settings.check_settings(given, secrets)
    except WalgError as error:
        return f"{error.msg} {error.fields} {error!r}"
    return "fine"


@given(st.dictionaries(ANY_NAME, TOKEN, max_size=4), st.dictionaries(ANY_NAME, TOKEN, max_size=4), st.booleans())
@settings(database=None)
def test_no_error_ever_shows_a_value(given: dict[str, str], secrets: dict[str, str], broken: bool) -> None:
    for values in (given, secrets):
        values.update({name: value + "\n" * broken for name, value in values.items()})
    said = answer(given, secrets)
    assert "tok-" not in said
    assert said != "fine" or not (broken and {*given, *secrets} - MULTILINE)


def test_the_catalogue_is_consistent() -> None:
    assert all(re.fullmatch("[A-Z][A-Z0-9_]*", name) for name in KNOWN)
    assert set(CANONICAL.values()) <= KNOWN
    assert {name in SECRET for name in CANONICAL} == {True, False}
    assert all((name in SECRET) is (CANONICAL[name] in SECRET) for name in CANONICAL)


def test_where_wal_goes() -> None:
    """Aliases are one setting; what says how, and not where, does not count."""

    def place(**settings: str) -> dict[str, str]:
        return Settings.read(json.dumps(settings)).destination()

    one = place(WALG_S3_PREFIX="s3://b/p", AWS_ENDPOINT="http://one", AWS_SECRET_ACCESS_KEY="x", PGPORT="1")
    assert one == {"WALG_S3_PREFIX": "s3://b/p", "AWS_ENDPOINT": "http://one"}
    assert one == place(WALE_S3_PREFIX="s3://b/p", WALG_AWS_ENDPOINT="http://one", WALG_COMPRESSION_METHOD="lz4")
    assert one != place(WALG_S3_PREFIX="s3://b/p", AWS_ENDPOINT="http://two")
    assert one != place(WALG_S3_PREFIX="s3://b/q", AWS_ENDPOINT="http://one")
    assert Settings.read("damaged").destination() == {}


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("AWS_REGION", "r", True),
        ("HTTPS_PROXY", "http://proxy:3128", True),
        ("HTTPS_PROXY", "proxy:3128", True),
        ("WALG_S3_PREFIX", "s3://bucket/path", True),
        ("WALG_SSH_PREFIX", "ssh://walg@host/p", False),
        ("AWS_SECRET_ACCESS_KEY", "s", False),
        ("NO_SUCH_NAME", "s", False),
        ("HTTPS_PROXY", "me@proxy:3128", False),
        ("AWS_ENDPOINT", "https://host/?X-Amz-Signature=1f", False),
    ],
)
def test_what_may_be_shown(name: str, value: str, shown: bool) -> None:
    assert _settings.may_show(name, value) is shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", f"me:{PLANTED}@proxy:3128"),
        ("HTTPS_PROXY", f"{PLANTED}@proxy:3128"),
        ("HTTP_PROXY", f"http://{PLANTED}@proxy"),
        ("NO_PROXY", f"a,b:{PLANTED}@c"),
        ("AWS_ENDPOINT", f"https://host/?X-Amz-Signature={PLANTED}"),
        ("AWS_ENDPOINT", f"https://host/?a=b&sig={PLANTED}"),
        ("AZURE_ENDPOINT_SUFFIX", f"host?sv=1&token={PLANTED}"),
        ("OS_AUTH_URL", f"https://me:{PLANTED}/x@host/v3"),
        ("S3_ENDPOINT_SOURCE", f"http://host/?access_token={PLANTED}"),
    ],
)
def test_credentials_in_an_address_belong_to_the_secrets(name: str, value: str) -> None:
    assert "put it into walg_secrets" in refused({name: value}).msg
    _settings.check_settings({}, {name: value})


@pytest.mark.parametrize("name", sorted(PATHS))
def test_a_key_in_the_place_of_its_path(name: str) -> None:
    assert "absolute path" in refused({name: f"-----BEGIN {PLANTED}"}).msg
    _settings.check_settings({name: "/etc/key"}, {})
