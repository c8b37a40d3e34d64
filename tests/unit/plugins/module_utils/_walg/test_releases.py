# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on WAL-G releases."""

from __future__ import annotations

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _releases


def binary(tag: str) -> _releases.BinaryVersion:
    return _releases.parse_version_output(f"wal-g version {tag}\tb1ff2d5\t2021.12.09_16:35:52\tPostgreSQL\n")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3.0.8", (3, 0, 8)),
        ("v3.0.8", (3, 0, 8)),
        ("v3.0.10", (3, 0, 10)),
        ("v1.0", (1, 0, 0)),
        ("v1.1.3-rc", (1, 1, 3)),
        ("1.1.3-rc-with-build", (1, 1, 3)),
        ("v2.0.0-rc1", (2, 0, 0)),
    ],
)
def test_version(text: str, numbers: tuple[int, int, int]) -> None:
    assert _releases.parse_version(text) == numbers


@pytest.mark.parametrize("text", ["", "devel", "latest", "3", "v3.0.8.1", "3.0.x", " 3.0.8", "3.0.8\n", "٣.0.8"])
def test_no_version(text: str) -> None:
    with pytest.raises(WalgError, match="not a version of WAL-G"):
        _releases.parse_version(text)


@pytest.mark.parametrize(
    ("text", "tag", "version"),
    [
        ("wal-g version v1.1.3-rc\tdevel\tdevel\tPostgreSQL\n", "v1.1.3-rc", (1, 1, 3)),
        ("wal-g version v3.0.8\t7e2e6f3\t2026.01.20_10:00:00\tPostgreSQL\r\n", "v3.0.8", (3, 0, 8)),
        ("wal-g version devel\tdevel\tdevel\tPostgreSQL", "devel", None),
        ("a line before\nwal-g version v3.0.9\tx\ty\tPostgreSQL\n", "v3.0.9", (3, 0, 9)),
    ],
)
def test_answer_of_a_binary(text: str, tag: str, version: tuple[int, int, int] | None) -> None:
    found = _releases.parse_version_output(text)
    assert (found.tag, found.version, found.flavour) == (tag, version, "PostgreSQL")
    assert found.raw.startswith("wal-g version ")


@pytest.mark.parametrize("flavour", ["MySQL", "MongoDB", "Redis", "Greenplum", "postgresql"])
def test_binary_for_another_database(flavour: str) -> None:
    with pytest.raises(WalgError, match=f"built for {flavour}, not for PostgreSQL.*wal-g-pg-"):
        _releases.parse_version_output(f"wal-g version v3.0.8\ta\tb\t{flavour}\n")


@pytest.mark.parametrize("text", ["", "pg_dump (PostgreSQL) 14.2", "usage: wal-g"])
def test_another_program(text: str) -> None:
    with pytest.raises(WalgError, match="not WAL-G"):
        _releases.parse_version_output(text)


def test_answer_without_a_flavour() -> None:
    with pytest.raises(WalgError, match="unnamed database"):
        _releases.parse_version_output("wal-g version v3.0.8\n")


@pytest.mark.parametrize(
    ("wanted", "tag", "same"),
    [
        ("3.0.8", "v3.0.8", True),
        ("v3.0.8", "v3.0.8", True),
        ("1.1.3", "v1.1.3-rc", True),
        ("1.1.3-rc-with-build", "v1.1.3-rc", True),
        ("3.0.8", "v3.0.9", False),
        ("3.0.1", "v3.0.10", False),
        ("2.0.0", "v2.0.0-rc1", False),
        ("2.0.0-rc1", "v2.0.0-rc1", True),
        ("3.0.8", "devel", False),
    ],
)
def test_same_version(wanted: str, tag: str, same: bool) -> None:
    assert _releases.same_version(wanted, binary(tag)) is same


def test_a_build_without_a_number_is_named_as_such() -> None:
    assert "a build without a release number" in (_releases.mismatch("3.0.8", binary("devel")) or "")
    assert _releases.mismatch("3.0.8", binary("v3.0.9")) == "Expected WAL-G 3.0.8, but the binary is v3.0.9."
    with pytest.raises(WalgError, match="not a version"):
        _releases.mismatch("newest", binary("v3.0.9"))


BUILDS = [
    # (version, machine, the host's glibc, the build)
    ((1, 1, 3), "x86_64", (2, 28), "wal-g-pg-ubuntu-18.04-amd64"),  # Red Hat 8
    ((1, 1, 3), "x86_64", (2, 41), "wal-g-pg-ubuntu-20.04-amd64"),
    ((1, 1, 3), "aarch64", (2, 41), None),
    ((2, 0, 1), "aarch64", (2, 31), "wal-g-pg-ubuntu20.04-aarch64"),
    ((3, 0, 4), "x86_64", (2, 28), "wal-g-pg-ubuntu-18.04-amd64"),
    ((3, 0, 5), "x86_64", (2, 28), None),
    ((3, 0, 5), "aarch64", (2, 36), "wal-g-pg-ubuntu-20.04-aarch64"),
    ((3, 0, 7), "aarch64", (2, 36), "wal-g-pg-ubuntu-22.04-aarch64"),
    ((3, 0, 7), "x86_64", (2, 41), "wal-g-pg-ubuntu-24.04-amd64"),
    ((3, 0, 8), "x86_64", (2, 31), "wal-g-pg-20.04-amd64"),  # Debian 11
    ((3, 0, 8), "x86_64", (2, 34), "wal-g-pg-20.04-amd64"),  # Red Hat 9
    ((3, 0, 8), "x86_64", (2, 36), "wal-g-pg-22.04-amd64"),  # Debian 12
    ((3, 0, 8), "x86_64", (2, 41), "wal-g-pg-24.04-amd64"),  # Debian 13
    ((3, 0, 9), "aarch64", (2, 39), "wal-g-pg-24.04-aarch64"),
    ((3, 0, 9), "x86_64", (), None),  # musl
    ((3, 0, 9), "s390x", (2, 41), None),
    ((0, 2, 19), "x86_64", (2, 41), None),
]


@pytest.mark.parametrize(("version", "machine", "glibc", "build"), BUILDS)
def test_fitting_build(version: tuple[int, int, int], machine: str, glibc: tuple[int, ...], build: str | None) -> None:
    assert _releases.fitting_build(version, machine, glibc) == build
