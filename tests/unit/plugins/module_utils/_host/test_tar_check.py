# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tar is judged as it streams by: real ones of Python's tarfile, whole, cut at every kind of place, and damaged."""

from __future__ import annotations

import io
import os
import tarfile

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _tar_check


def tar(kind: int = tarfile.PAX_FORMAT) -> bytes:
    """Members of several sizes, one with a long name, a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as made:
        for name, size in (("empty", 0), ("x" * 150, 5), ("block", 512), ("big", 100_001)):
            entry = tarfile.TarInfo(name)
            entry.size = size
            made.addfile(entry, io.BytesIO(os.urandom(size)))
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        made.addfile(folder)
    return out.getvalue()


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_a_whole_one(kind: int) -> None:
    if kind == tarfile.USTAR_FORMAT:
        out = io.BytesIO()
        tarfile.open(fileobj=out, mode="w", format=kind).close()
        assert _tar_check.trouble(io.BytesIO(out.getvalue())) == ""
        return
    assert _tar_check.trouble(io.BytesIO(tar(kind))) == ""


def test_a_size_beyond_8_gib_is_read() -> None:
    entry = tarfile.TarInfo("huge")
    entry.size = 9 * 1024**3
    head = entry.tobuf(tarfile.GNU_FORMAT)
    assert "within its member 1" in _tar_check.trouble(io.BytesIO(head + bytes(512)))


def test_cut_and_damaged() -> None:
    whole = tar()
    end = len(whole.rstrip(b"\0"))
    assert "without its end mark" in _tar_check.trouble(io.BytesIO(b""))
    assert "within its member" in _tar_check.trouble(io.BytesIO(whole[: end - 5000]))
    assert "within its member" in _tar_check.trouble(io.BytesIO(whole[:-20000]))
    body = io.BytesIO()
    entry = tarfile.TarInfo("one")
    entry.size = 512
    body.write(entry.tobuf() + b"y" * 512)
    assert "without its end mark" in _tar_check.trouble(io.BytesIO(body.getvalue()))
    assert "end mark is cut off" in _tar_check.trouble(io.BytesIO(body.getvalue() + bytes(512)))
    assert "after the tar's end mark" in _tar_check.trouble(io.BytesIO(body.getvalue() + bytes(1024) + b"x"))
    for place in (0, 100, 130, 150):
        flipped = bytearray(whole)
        flipped[place] ^= 4
        assert "no header of a member" in _tar_check.trouble(io.BytesIO(bytes(flipped)))
