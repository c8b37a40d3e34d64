# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on storages."""

from __future__ import annotations

import string

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._storage import _url
from hypothesis import given
from hypothesis import strategies as st

SECRET = "s3cr3tValue"


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("gs://bucket/path", {"WALG_GS_PREFIX": "gs://bucket/path"}),
        ("gs://bucket", {"WALG_GS_PREFIX": "gs://bucket"}),
        ("gs://bucket/", {"WALG_GS_PREFIX": "gs://bucket"}),
        ("gs://bucket/a/b/", {"WALG_GS_PREFIX": "gs://bucket/a/b"}),
        ("s3://my.bucket/a", {"WALG_S3_PREFIX": "s3://my.bucket/a"}),
        ("azure://container/a", {"WALG_AZ_PREFIX": "azure://container/a"}),
        ("swift://container/a", {"WALG_SWIFT_PREFIX": "swift://container/a"}),
        ("oss://bucket/a", {"WALG_OSS_PREFIX": "oss://bucket/a"}),
        ("ssh://host/a", {"WALG_SSH_PREFIX": "ssh://host/a"}),
        ("ssh://me@host/a/b/", {"WALG_SSH_PREFIX": "ssh://host/a/b", "SSH_USERNAME": "me"}),
        ("ssh://host:2222/a", {"WALG_SSH_PREFIX": "ssh://host/a", "SSH_PORT": "2222"}),
        ("ssh://[::1]:22/a", {"WALG_SSH_PREFIX": "ssh://[::1]/a", "SSH_PORT": "22"}),
        ("file:///srv/archive", {"WALG_FILE_PREFIX": "/srv/archive"}),
        ("file:///srv/archive/", {"WALG_FILE_PREFIX": "/srv/archive"}),
        ("file:///srv/100%", {"WALG_FILE_PREFIX": "/srv/100%"}),
    ],
)
def test_url_becomes_its_settings(url: str, settings: dict[str, str]) -> None:
    assert _url.storage_settings(url) == settings


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "empty"),
        ("bucket/path", "no scheme"),
        ("/srv/archive", r"did you mean file:///srv/archive\?"),
        ("gcs://b/p", r"did you mean gs://\?"),
        ("GS://b/p", r"did you mean gs://\?"),
        ("azblob://b/p", r"did you mean azure://\?"),
        ("azur://b/p", r"did you mean azure://\?"),
        ("sftp://h/p", r"did you mean ssh://\?"),
        ("s3a://b/p", r"did you mean s3://\?"),
        ("gopher://b/p", "unknown"),
        ("gs:/b/p", "there must be //"),
        ("gs://", "bucket is missing"),
        ("gs:///path", "bucket is missing"),
        ("gs://b:80/p", "can't be a bucket"),
        ("gs://-b/p", "can't be a bucket"),
        ("gs://b//p", "double slash"),
        ("gs://b/p//", "double slash"),
        ("gs://b/../p", "double slash"),
        ("gs://b/p%20q", "percent"),
        ("gs://b/p?x=1", "query"),
        ("gs://b/p#x", "fragment"),
        ("gs://b/p q", "space"),
        (" gs://b/p", "space"),
        ("gs://b/p\n", "space"),
        ("gs://b/p\0", "space"),
        ("gs://me@b/p", "credentials or a user"),
        ("file://relative/path", "not absolute"),
        ("file://localhost/path", "not absolute"),
        ("file:relative", "there must be //"),
        ("file:///", "root directory"),
        ("file:///srv/../etc", "double slash"),
        ("file:///srv?x", "query"),
        ("ssh://host", "directory on the host is missing"),
        ("ssh://host/", "directory on the host is missing"),
        ("ssh:///a", "host is missing"),
        ("ssh://host:/a", "port is not a number"),
        ("ssh://host:65536/a", "port is not a number"),
        ("ssh://a b@host/a", "space"),
        ("ssh://me:word@host/a", "password in it"),
        ("ssh://-oProxyCommand=x@host/a", "user before @"),
        ("ssh://-host/a", "host is missing or can't be one"),
    ],
)
def test_refused_url(url: str, why: str) -> None:
    with pytest.raises(WalgError, match=why):
        _url.storage_settings(url)


@pytest.mark.parametrize(
    "url",
    [
        f"s3://key:{SECRET}@bucket/p",
        f"s3://{SECRET}@bucket/p",
        f"s3://key:a/b{SECRET}@bucket/p",
        f"s3://key:{SECRET}#x@bucket/p",
        f"s3://key:x?{SECRET}@bucket/p",
        f"azure://container/p?sig={SECRET}",
        f"azure://container/p?sig=x@{SECRET}",
        f"azure://container/p#{SECRET}",
        f"ssh://me:{SECRET}@host/p",
        f"sftp://me:{SECRET}@host/p",
        f"me:{SECRET}@host/p",
        f"gs://me:{SECRET}@ b/p",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(WalgError) as caught:
        _url.storage_settings(url)
    assert SECRET not in f"{caught.value.msg} {caught.value.fields}"


def test_a_refusal_says_what_was_found_and_what_is_wanted() -> None:
    with pytest.raises(WalgError) as caught:
        _url.storage_settings("gcs://b/p")
    assert caught.value.fields == {"found": "gcs://b/p", "wanted": ["gs://bucket/path"]}


_NAME = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=10)


@given(st.sampled_from(sorted(_url.SCHEMES)), _NAME, st.lists(_NAME, min_size=1, max_size=4), st.booleans())
def test_url_and_settings_round_trip(scheme: str, bucket: str, parts: list[str], slash: bool) -> None:
    path = "/" + "/".join(parts)
    url = f"file://{path}" if scheme == "file" else f"{scheme}://{bucket}{path}"
    settings = _url.storage_settings(url + "/" * slash)
    assert _url.storage_of(settings) == url
    assert _url.kind(settings) == scheme


def test_url_of_ssh_holds_user_and_port() -> None:
    settings = {"WALG_SSH_PREFIX": "ssh://host/a", "SSH_USERNAME": "me", "SSH_PORT": 2222}
    assert _url.storage_of(settings) == "ssh://me@host:2222/a"
    assert _url.storage_of({"WALG_SSH_PREFIX": "ssh://host/a"}) == "ssh://host/a"


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"WALE_S3_PREFIX": "s3://b/p"}, "s3://b/p"),
        ({"WALE_FILE_PREFIX": "file://localhost/srv"}, "file:///srv"),
        ({"WALG_GS_PREFIX": "gs://b/p", "WALG_S3_PREFIX": ""}, "gs://b/p"),
    ],
)
def test_names_of_wal_e_and_empty_values(settings: dict[str, str], url: str) -> None:
    assert _url.storage_of(settings) == url


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "No storage is set"),
        ({"WALG_COMPRESSION_METHOD": "lz4"}, "No storage is set"),
        ({"WALG_GS_PREFIX": "gs://b", "WALG_FILE_PREFIX": "/a"}, "are set: WALG_FILE_PREFIX, WALG_GS_PREFIX"),
        ({"WALG_GS_PREFIX": "gs://b", "WALE_GS_PREFIX": "gs://c"}, "Several storages"),
        ({"WALG_GS_PREFIX": "s3://b/p"}, "is in WALG_GS_PREFIX"),
        ({"WALG_FILE_PREFIX": "srv"}, "absolute directory"),
        ({"WALG_FILE_PREFIX": "file:///srv"}, "absolute directory"),
    ],
)
def test_refused_settings(settings: dict[str, str], why: str) -> None:
    with pytest.raises(WalgError, match=why):
        _url.storage_of(settings)


def test_every_scheme_has_its_prefix_once() -> None:
    assert sorted(_url.SCHEMES.values()) == sorted(_url.PREFIX_SETTINGS)


@pytest.mark.parametrize(
    ("storage", "given"),
    [
        ("gs://b/p", {"WALG_GS_PREFIX": "gs://b/p"}),
        ("gs://b/p/", {"WALG_GS_PREFIX": "gs://b/p"}),
        ("gs://b/p", {"WALE_GS_PREFIX": "gs://b/p/"}),
        ("file:///a/b", {"WALG_FILE_PREFIX": "/a/b/"}),
        ("file:///a/b", {"WALE_FILE_PREFIX": "file://localhost/a/b"}),
        ("ssh://u@h:2222/p", {"WALG_SSH_PREFIX": "ssh://h/p", "SSH_PORT": "2222"}),
        ("ssh://h/p", {"WALG_SSH_PREFIX": "ssh://h/p", "SSH_USERNAME": "u"}),
        ("s3://b/p", {"WALG_S3_PREFIX": ""}),
    ],
)
def test_a_second_storage_that_is_the_same_says_nothing_new(storage: str, given: dict[str, object]) -> None:
    left = _url.without_second(storage, {**given, "AWS_REGION": "x"})
    assert left["AWS_REGION"] == "x"
    assert not _url.prefixes_of(left)


@pytest.mark.parametrize(
    ("storage", "given"),
    [
        ("gs://b/p", {"WALG_GS_PREFIX": "gs://b/q"}),
        ("gs://b/p", {"WALE_GS_PREFIX": "gs://b/q"}),
        ("gs://b/p", {"WALG_S3_PREFIX": "s3://b/p"}),
        ("file:///a/b", {"WALG_FILE_PREFIX": "/a"}),
        ("ssh://u@h/p", {"SSH_USERNAME": "other"}),
        ("ssh://h:22/p", {"SSH_PORT": "2222"}),
        ("ssh://h/p", {"WALG_SSH_PREFIX": "ssh://other/p"}),
    ],
)
def test_a_second_storage_that_differs_is_refused(storage: str, given: dict[str, object]) -> None:
    with pytest.raises(WalgError, match="Two storages are set: walg_storage is"):
        _url.without_second(storage, given)
