# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags, asset names and digests of every release, against the table of what is published (tests/unit/data/releases.json)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._install import _release
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _releases

TABLE = json.loads((Path(__file__).resolve().parents[3] / "data/releases.json").read_text())
MACHINES = {"amd64": "x86_64", "aarch64": "aarch64"}
#: The C library of the system that a build is made on.
GLIBC = {"18.04": (2, 27), "20.04": (2, 31), "22.04": (2, 35), "24.04": (2, 39)}
MIRROR = "https://mirror.example.com/wal-g/"
SUM = "sha256:" + "0" * 64
CASES = [(version, asset) for version, release in TABLE.items() for asset in release["assets"]]


def built_on(asset: str) -> str:
    return next(system for system in GLIBC if system in asset)


@pytest.mark.parametrize(("version", "asset"), CASES)
def test_every_published_build_is_chosen_where_it_belongs(version: str, asset: str) -> None:
    """On the system that it is built on; with the release's tag in its address."""
    machine = MACHINES[asset.rpartition("-")[2]]
    release = _release.choose(version, MIRROR, SUM, machine, GLIBC[built_on(asset)])
    assert release.asset == asset
    assert release.url == f"https://mirror.example.com/wal-g/{TABLE[version]['tag']}/{asset}"


@pytest.mark.parametrize("version", list(TABLE))
@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "s390x"])
def test_no_other_name_is_ever_chosen(version: str, machine: str) -> None:
    """Whatever the C library: a published build that runs there, or a refusal."""
    mine = [one for one in TABLE[version]["assets"] if MACHINES[one.rpartition("-")[2]] == machine]
    for minor in range(17, 45):
        fitting = [one for one in mine if GLIBC[built_on(one)] <= (2, minor)]
        chosen = _releases.fitting_build(_releases.parse_version(version), machine, (2, minor))
        assert chosen == max(fitting, key=built_on, default=None)


@pytest.mark.parametrize("version", list(TABLE))
def test_tags_and_digests(version: str) -> None:
    release = TABLE[version]
    assert _releases.tag(version) == _releases.tag(f"v{version}") == _releases.tag(release["tag"]) == release["tag"]
    assert _releases.has_digests(version) is release["digests"]
    if not release["digests"]:
        with pytest.raises(WalgError, match="has no file with its digest: give it in walg_binary_checksum"):
            _release.choose(version, MIRROR, "", "x86_64", (2, 36))


def test_what_the_binary_of_a_tag_calls_itself_finds_the_release() -> None:
    assert _releases.tag("v1.1.3-rc") == "v1.1.3-rc-with-build"


@pytest.mark.parametrize("glibc", [(2, 17), ()])
def test_a_host_for_which_nothing_is_published(glibc: tuple[int, ...]) -> None:
    with pytest.raises(WalgError, match=r"hold no build of 3\.0\.8 for x86_64 with .*name the file in walg_binary_src"):
        _release.choose("3.0.8", MIRROR, "", "x86_64", glibc)


@pytest.mark.parametrize(
    ("mirror", "text"),
    [
        ("ftp://mirror.example.com", "not a URL that begins with https://"),
        ("mirror.example.com", "not a URL that begins with https://"),
        ("https:///wal-g", "not a URL that begins with https://"),
        ("http://mirror.example.com", "is not encrypted, so its digest proves nothing"),
        ("https://me:secret@mirror.example.com", "holds credentials"),
        ("https://me@mirror.example.com", "holds credentials"),
    ],
)
def test_a_mirror_that_will_not_do(mirror: str, text: str) -> None:
    with pytest.raises(WalgError, match=text) as caught:
        _release.choose("3.0.8", mirror, "", "x86_64", (2, 36))
    assert "secret" not in caught.value.msg


def test_without_encryption_a_given_digest_will_do_and_a_password_never() -> None:
    release = _release.choose("3.0.8", "http://mirror.example.com", SUM, "x86_64", (2, 36))
    with pytest.raises(WalgError, match="user name and password are not sent over it"):
        _release.refuse_open(release.url)


HEX = "AB" * 32


@pytest.mark.parametrize("text", [f"{HEX}  it\n", f"{HEX} *it", f"{HEX}\n", f"  {HEX}\tdist/it\r\n"])
def test_a_digest_as_sha256sum_writes_it(text: str) -> None:
    assert _releases.parse_digest(text, "it", "https://x/it") == HEX.lower()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not the digest of one file"),
        (f"{HEX[:-1]}  it", "is not the digest of one file"),
        (f"{HEX}0  it", "is not the digest of one file"),
        (f"{HEX}  it\n{HEX}  it.tar.gz\n", "is not the digest of one file"),
        ("<!DOCTYPE html>", "is not the digest of one file"),
        (f"{HEX}  it.tar.gz", r"is the digest of it\.tar\.gz, expected that of it"),
    ],
)
def test_what_is_no_digest_of_the_asset(text: str, said: str) -> None:
    with pytest.raises(WalgError, match=said):
        _releases.parse_digest(text, "it", "https://x/it")
