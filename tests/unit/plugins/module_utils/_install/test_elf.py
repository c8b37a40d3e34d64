# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ELF headers: hand-made files of every kind, damaged ones, and the interpreter that runs these tests."""

from __future__ import annotations

import io
import os
import sys

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._install import _elf
from ansible_collections.mapswipe.walg.plugins.module_utils._install._elf import Elf
from hypothesis import given
from hypothesis import strategies as st
from support import elf

LOADER = "/lib64/ld-linux-x86-64.so.2"
NEEDS = {
    "libm.so.6": ["GLIBC_2.2.5"],
    "libc.so.6": ["GLIBC_2.9", "GLIBC_2.34", "GLIBC_2.3.4", "GLIBC_PRIVATE", "GCC_3.0"],
    "liblzo2.so.2": [],
}
DYNAMIC = elf.make(interpreter=LOADER, libraries=["libc.so.6", "liblzo2.so.2"], versions=NEEDS)


def read(data: bytes) -> Elf | None:
    return _elf.read(io.BytesIO(data))


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_dynamic_program(wide: bool, order: str) -> None:
    made = elf.make(
        183,
        interpreter=LOADER,
        libraries=["libc.so.6", "liblzo2.so.2"],
        versions=NEEDS,
        wide=wide,
        order=order,
    )
    found = read(made)
    assert found == Elf(183, LOADER, ("libc.so.6", "liblzo2.so.2"), (2, 34))
    assert found.machine_name == "aarch64"


def test_a_static_program() -> None:
    assert read(elf.make(62)) == Elf(62)


def test_a_program_of_another_c_library() -> None:
    loader = "/lib/ld-musl-x86_64.so.1"
    assert read(elf.make(interpreter=loader, libraries=["libc.musl-x86_64.so.1"])) == Elf(
        62, loader, ("libc.musl-x86_64.so.1",)
    )


def test_a_machine_without_a_name() -> None:
    assert Elf(8).machine_name == "machine 8"


@pytest.mark.parametrize("data", [b"", b"\x7fEL", b"#!/bin/sh\n", b"MZ\x90\0", b"\x1f\x8b\x08"])
def test_other_files(data: bytes) -> None:
    assert read(data) is None


@pytest.mark.parametrize("size", [4, 5, 18, 30, 60, 64, 100, 230, len(DYNAMIC) - 20])
def test_a_part_of_a_file(size: int) -> None:
    with pytest.raises(WalgError, match="damaged"):
        read(DYNAMIC[:size])


@given(st.integers(4, len(DYNAMIC) - 1), st.integers(0, 255))
def test_any_damage_ends_well(place: int, byte: int) -> None:
    """An answer or a WalgError, and soon."""
    damaged = bytearray(DYNAMIC)
    damaged[place] = byte
    try:
        read(bytes(damaged))
    except WalgError:
        return


def test_the_interpreter_that_runs_this() -> None:
    with open(os.path.realpath(sys.executable), "rb") as stream:
        found = _elf.read(stream)
    assert found
    assert found.machine_name == os.uname().machine
