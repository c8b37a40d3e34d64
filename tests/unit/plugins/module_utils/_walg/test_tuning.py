# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many things WAL-G does at a time: a table of hosts, and what holds for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _facts
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _tuning
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._settings import Settings
from hypothesis import given
from hypothesis import strategies as st

READERS, UPLOADS, FETCHES = "WALG_UPLOAD_DISK_CONCURRENCY", "WALG_UPLOAD_CONCURRENCY", "WALG_DOWNLOAD_CONCURRENCY"
GIB = 1024
KINDS = st.sampled_from(("gs", "s3", "azure", "file"))
HOSTS = [
    (1, GIB // 2, "gs", {UPLOADS: "4", FETCHES: "4"}),
    (1, GIB, "gs", {UPLOADS: "4", FETCHES: "4"}),
    (2, GIB, "gs", {UPLOADS: "4", FETCHES: "4"}),
    (2, GIB, "s3", {READERS: "2", UPLOADS: "5", FETCHES: "4"}),
    (2, GIB, "file", {READERS: "2", UPLOADS: "10", FETCHES: "4"}),
    (2, 2 * GIB, "gs", {READERS: "2", UPLOADS: "4", FETCHES: "4"}),
    (2, 24 * GIB, "gs", {READERS: "2", FETCHES: "4"}),
    (4, 4 * GIB, "gs", {READERS: "2", UPLOADS: "8", FETCHES: "8"}),
    (4, 4 * GIB, "azure", {READERS: "2", FETCHES: "8"}),
    (8, 32 * GIB, "gs", {READERS: "4"}),
    (64, 512 * GIB, "ssh", {READERS: "4"}),
    (64, 2 * GIB, "gs", {READERS: "2", UPLOADS: "4"}),
    (4, 0, "gs", {FETCHES: "8"}),
]


@pytest.mark.parametrize(("cores", "memory_mib", "kind", "wanted"), HOSTS)
def test_hosts(cores: int, memory_mib: int, kind: str, wanted: dict[str, str]) -> None:
    assert _tuning.defaults(cores, memory_mib, kind) == wanted


def test_what_is_given_by_any_name_is_left_alone() -> None:
    assert _tuning.defaults(2, 2 * GIB, "gs", ["UPLOAD_CONCURRENCY", READERS]) == {FETCHES: "4"}
    assert UPLOADS not in _tuning.defaults(2, 2 * GIB, "gs", ["WALE_UPLOAD_CONCURRENCY"])


@given(st.integers(1, 1024), st.integers(0, 4 * 1024 * GIB), KINDS)
def test_never_less_than_wal_g_can_do_with_and_never_more_than_a_tenth_of_the_memory(
    cores: int, memory: int, kind: str
) -> None:
    made = {name: int(text) for name, text in _tuning.defaults(cores, memory, kind).items()}
    Settings.of(made, {})
    assert 1 <= made.get(READERS, 1) <= min(4, cores)
    assert 4 <= made.get(UPLOADS, 16) <= 16
    assert 4 <= made.get(FETCHES, 10) <= 10
    if memory >= 2 * GIB and kind == "gs":
        assert 100 * made.get(READERS, 1) <= memory / 10
        assert 50 * made.get(UPLOADS, 16) <= memory / 10


@given(st.integers(1, 1024), st.integers(1, 4 * 1024 * GIB), KINDS)
def test_a_larger_host_does_no_less(cores: int, memory: int, kind: str) -> None:
    def made(more_cores: int, more_memory: int) -> tuple[int, ...]:
        found = _tuning.defaults(cores + more_cores, memory + more_memory, kind)
        return tuple(int(found.get(name, value)) for name, value in ((READERS, 1), (UPLOADS, 16), (FETCHES, 10)))

    here = made(0, 0)
    for larger in (made(1, 0), made(0, 512)):
        assert all(more >= less for more, less in zip(larger, here, strict=True))


def test_this_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = _facts.memory_mib()
    assert whole > 0
    assert _facts.cores() > 0
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(_facts, "_MEMORY_LIMITS", (str(limit),))
    limit.write_text(f"{64 * 1024 * 1024}\n")
    assert _facts.memory_mib() == 64
    limit.write_text("max\n")
    assert _facts.memory_mib() >= whole
