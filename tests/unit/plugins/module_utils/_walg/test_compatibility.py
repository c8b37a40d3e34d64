# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What works together, against the measured matrix."""

from __future__ import annotations

import re

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._storage import _url
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _compatibility, _releases

RELEASES = [
    _releases.parse_version(text)
    for text in ["1.1.0", "1.1.3", "2.0.0", "2.0.1", "3.0.0", "3.0.3", "3.0.5", "3.0.7", "3.0.8", "3.0.9", "3.0.10"]
]
MAJORS = range(10, 20)


@pytest.mark.parametrize("walg", RELEASES)
@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("purpose", ["backup", "restore"])
def test_matrix_on_files(walg: tuple[int, int, int], major: int, purpose: str) -> None:
    refused = walg in ((1, 1, 0), (1, 1, 3), (2, 0, 0)) and major >= 15 and purpose == "backup"
    assert bool(_compatibility.check_pair(walg, major, "file", purpose)) is refused


@pytest.mark.parametrize("walg", RELEASES)
@pytest.mark.parametrize("kind", [kind for kind in _url.SCHEMES if kind != "oss"])
@pytest.mark.parametrize("purpose", ["backup", "restore"])
def test_only_one_release_fails_on_one_storage(walg: tuple[int, int, int], kind: str, purpose: str) -> None:
    refused = (walg, kind, purpose) == ((3, 0, 9), "gs", "restore")
    assert bool(_compatibility.check_pair(walg, 14, kind, purpose)) is refused


@pytest.mark.parametrize("walg", RELEASES)
@pytest.mark.parametrize("spaces", [False, True])
def test_a_delta_of_a_cluster_with_tablespaces(walg: tuple[int, int, int], spaces: bool) -> None:
    refused = bool(_compatibility.check_pair(walg, 14, "file", "restore", spaces, is_delta=True))
    assert refused is (spaces and walg < (3, 0, 8))


@pytest.mark.parametrize("walg", RELEASES)
@pytest.mark.parametrize("purpose", ["backup", "restore"])
def test_tablespaces(walg: tuple[int, int, int], purpose: str) -> None:
    refused = walg in ((3, 0, 0), (3, 0, 3), (3, 0, 5), (3, 0, 7)) and purpose == "restore"
    assert bool(_compatibility.check_pair(walg, 14, "file", purpose, has_tablespaces=True)) is refused


@pytest.mark.parametrize("walg", RELEASES)
def test_oss_is_known_late(walg: tuple[int, int, int]) -> None:
    assert bool(_compatibility.check_pair(walg, 14, "oss", "restore")) is (walg < (3, 0, 8))


@pytest.mark.parametrize("walg", [(0, 2, 19), (1, 0, 0)])
def test_too_old_for_anything(walg: tuple[int, int, int]) -> None:
    assert "before 1.1" in _compatibility.check_pair(walg, 14, "file", "restore")[0]


@pytest.mark.parametrize("major", [9, 20])
@pytest.mark.parametrize("walg", [(3, 0, 8), None])
def test_other_majors(major: int, walg: tuple[int, int, int] | None) -> None:
    (refusal,) = _compatibility.check_pair(walg, major, "file", "backup")
    assert refusal.startswith(f"Found PostgreSQL {major}; this collection serves PostgreSQL 10 to 19")


def test_a_newer_major_is_tried_all_the_same_where_that_is_said() -> None:
    (refusal,) = _compatibility.check_pair((3, 0, 8), 20, "gs", "backup")
    assert "\n  walg_pg_untested: true\n" in refusal
    assert _compatibility.check_pair((3, 0, 8), 20, "gs", "backup", untested=True) == []
    (old,) = _compatibility.check_pair((3, 0, 8), 9, "gs", "backup", untested=True)
    assert "walg_pg_untested" not in old


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("purpose", ["backup", "restore"])
def test_nothing_is_refused_of_a_build_without_a_number(major: int, purpose: str) -> None:
    assert _compatibility.check_pair(None, major, "gs", purpose, has_tablespaces=True) == []


def test_a_refusal_says_what_was_found_why_not_and_what_would_do() -> None:
    (refusal,) = _compatibility.check_pair((1, 1, 3), 16, "gs", "backup")
    assert refusal == (
        "Found WAL-G 1.1.3 with PostgreSQL 16 on gs:// for backup: it calls pg_start_backup, which PostgreSQL 15 "
        "removed, so no base backup can be taken. Use WAL-G 2.0.1 or newer (walg_version)."
    )


def test_all_reasons_are_given() -> None:
    assert len(_compatibility.check_pair((3, 0, 0), 20, "oss", "restore", has_tablespaces=True)) == 3


def test_a_purpose_that_is_none_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="archive"):
        _compatibility.check_pair((3, 0, 8), 14, "gs", "archive")


@pytest.mark.parametrize("row", _compatibility.ROWS, ids=[row.reason[:30] for row in _compatibility.ROWS])
def test_what_a_refusal_advises_is_not_refused_for_the_same_reason(row: _compatibility.Row) -> None:
    text = re.search(r"WAL-G ([0-9.]+[0-9])", row.remedy)
    assert text
    advised = _releases.parse_version(text.group(1))
    for major in MAJORS:
        for kind in _url.SCHEMES:
            for purpose in ("backup", "restore"):
                assert not row.applies(advised, major, kind, purpose, True, True)


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("kind", _url.SCHEMES)
def test_some_release_backs_up_and_restores_every_pair(major: int, kind: str) -> None:
    fitting = [
        walg
        for walg in RELEASES
        if not any(
            _compatibility.check_pair(walg, major, kind, purpose, True, True) for purpose in ("backup", "restore")
        )
    ]
    assert (3, 0, 8) in fitting
