# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories are made, renamed and removed: by their owner as they come, by root only where nobody else can interfere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _moves

ME, NOBODY = os.geteuid(), 65534
as_root = pytest.mark.skipif(ME != 0, reason="only root works for another")
EACH = [ME, *([NOBODY] if ME == 0 else [])]


def own(path: Path, uid: int) -> Path:
    path.mkdir()
    os.chown(path, uid, -1)
    return path


@pytest.mark.parametrize("uid", EACH)
def test_made_renamed_removed(tmp_path: Path, uid: int) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert not _moves.is_made(str(first), uid)
    _moves.make(str(first), uid, os.getegid())
    assert (first.stat().st_uid, first.stat().st_mode & 0o777, _moves.is_made(str(first), uid)) == (uid, 0o700, True)
    _moves.make(str(first), uid, os.getegid())
    (first / "file").touch()
    _moves.rename(str(first), str(second), uid)
    assert (first.exists(), (second / "file").exists()) == (False, True)
    _moves.remove_empty(str(second), uid)
    assert second.exists(), "not while something is in it"
    (second / "file").unlink()
    _moves.remove_empty(str(second), uid)
    _moves.remove_empty(str(second), uid)
    assert not second.exists()


def test_the_owner_makes_what_is_missing_above(tmp_path: Path) -> None:
    _moves.make(str(tmp_path / "a" / "b" / "c"), ME, os.getegid())
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("uid", EACH)
def test_nothing_is_overwritten(tmp_path: Path, uid: int) -> None:
    first, second = own(tmp_path / "first", uid), own(tmp_path / "second", uid)
    with pytest.raises(WalgError, match=f"Cannot rename {first} to {second}"):
        _moves.rename(str(first), str(second), uid)
    assert first.exists()


@as_root
class TestForAnother:
    """Root works in directories of its own alone, and touches what is that user's alone."""

    @pytest.mark.parametrize("what", ["root's", "a file", "a link"])
    def test_what_it_does_not_rename(self, tmp_path: Path, what: str) -> None:
        path = tmp_path / "it"
        if what == "root's":
            path.mkdir()
        elif what == "a file":
            path.touch()
            os.chown(path, NOBODY, -1)
        else:
            path.symlink_to(own(tmp_path / "there", NOBODY))
        told = "belongs to user 0, not 65534" if what == "root's" else "is no directory"
        with pytest.raises(WalgError, match=f"{path} {told}: root renames only directories of the cluster's owner"):
            _moves.rename(str(path), str(tmp_path / "new"), NOBODY)
        assert os.path.lexists(path)

    def test_what_it_does_not_give_away(self, tmp_path: Path) -> None:
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "file").touch()
        with pytest.raises(WalgError, match="should be created, but something else is there"):
            _moves.make(str(tmp_path / "full"), NOBODY, NOBODY)
        assert (tmp_path / "full").stat().st_uid == 0
        (tmp_path / "empty").mkdir()  # as a killed run leaves it
        _moves.make(str(tmp_path / "empty"), NOBODY, NOBODY)
        assert (tmp_path / "empty").stat().st_uid == NOBODY

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "there")
        with pytest.raises(OSError, match="Not a directory"):
            _moves.make(str(tmp_path / "link"), NOBODY, NOBODY)
        assert (tmp_path / "there").stat().st_uid == 0

    def test_not_where_another_one_can_interfere(self, tmp_path: Path) -> None:
        loose = own(tmp_path / "loose", NOBODY)
        own(loose / "it", NOBODY)
        with pytest.raises(WalgError):
            _moves.rename(str(loose / "it"), str(tmp_path / "it"), NOBODY)
        with pytest.raises(WalgError):
            _moves.make(str(loose / "new"), NOBODY, NOBODY)
        assert os.listdir(loose) == ["it"]


def test_who_can_write(tmp_path: Path) -> None:
    assert _moves.can_write(str(tmp_path))
    assert not _moves.can_write(str(tmp_path / "none"))
    (tmp_path / "file").touch()
    assert not _moves.can_write(str(tmp_path / "file"))
