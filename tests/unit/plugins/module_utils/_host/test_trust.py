# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What root may use is root's all the way up, links included; others are not asked."""

from __future__ import annotations

import grp
import os
import pwd
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _trust

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the rule is root's")
GROUP = 54321


@pytest.fixture
def way(tmp_path: Path) -> Path:
    """A directory of root's with one below it."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    return tmp_path


def members(monkeypatch: pytest.MonkeyPatch, *names: str, primary: int | None = None) -> None:
    """Say who is in the group, by its list and as whose first group it is."""
    monkeypatch.setattr(grp, "getgrgid", lambda gid: SimpleNamespace(gr_name="staff", gr_mem=list(names)))
    entries = [SimpleNamespace(pw_name="root", pw_uid=0, pw_gid=GROUP, pw_dir="/root")]
    if primary is not None:
        entries.append(SimpleNamespace(pw_name="alice", pw_uid=1234, pw_gid=primary, pw_dir="/"))
    monkeypatch.setattr(pwd, "getpwall", lambda: entries)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("", "a relative path"),
        ("x/y", "a relative path"),
        ("./x", "a relative path"),
        ("/x/../y", "without `..`"),
        ("/..", "without `..`"),
        ("/x\ny", "without control characters"),
        ("/x\0y", "without control characters"),
        ("/x\x7f", "without control characters"),
    ],
)
def test_a_path_has_to_be_plain_for_everybody(path: str, told: str) -> None:
    with pytest.raises(WalgError, match=told):
        _trust.refuse_loose(path, "walg_config_dir")
    with pytest.raises(WalgError, match=told):
        _trust.open_directory(path, make=True)


@pytest.mark.parametrize("path", ["/x..y", "/...", "/x y/ü", "//x//y/", "/x/./y"])
def test_plain_ones(path: str) -> None:
    _trust.refuse_unplain(path, "it")


def test_who_is_not_root_is_not_asked(way: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (way / "a").chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    _trust.refuse_loose(str(way / "a" / "b"), "it")
    os.close(_trust.open_directory(str(way / "a" / "c" / "d"), make=True))
    assert (way / "a" / "c" / "d").is_dir()


def loose_owner(way: Path) -> str:
    os.chown(way / "a", NOBODY, NOBODY)
    return "/a belongs to the user 'nobody'"


def loose_mode(way: Path) -> str:
    (way / "a").chmod(0o777)
    return "/a can be written by everybody"


def loose_last(way: Path) -> str:
    os.chown(way / "a" / "b", NOBODY, NOBODY)
    return "/a/b belongs to the user 'nobody'"


def loose_link(way: Path) -> str:
    os.rename(way / "a", way / "real")
    (way / "a").symlink_to(way / "real")
    os.chown(way / "a", NOBODY, NOBODY, follow_symlinks=False)
    return "/a belongs to the user 'nobody'"


def loose_target(way: Path) -> str:
    (way / "open").mkdir()
    os.rename(way / "a", way / "open" / "a")
    (way / "open").chmod(0o777)
    (way / "a").symlink_to("open/../open/a")
    return "/open can be written by everybody"


def loose_target_above(way: Path) -> str:
    """A relative link with `..` in it counts where it leads."""
    (way / "c").mkdir()
    os.rename(way / "a", way / "c" / "a")
    os.chown(way / "c", NOBODY, NOBODY)
    (way / "d").mkdir()
    (way / "a").symlink_to("d/../c/a")
    return "/c belongs to the user 'nobody'"


def circle(way: Path) -> str:
    os.rename(way / "a", way / "real")
    (way / "a").symlink_to("a")
    return "leads through more than 40 symbolic links"


WAYS = [loose_owner, loose_mode, loose_last, loose_link, loose_target, loose_target_above, circle]


@as_root
@pytest.mark.parametrize("loosen", WAYS)
def test_what_others_can_exchange_is_refused_with_its_component(way: Path, loosen: Callable[[Path], str]) -> None:
    path = str(way / "a" / "b")
    _trust.refuse_loose(path, "walg_config_dir")
    told = loosen(way)
    for one in (path, path + "/not/yet"):
        with pytest.raises(WalgError) as caught:
            _trust.refuse_loose(one, "walg_config_dir")
        assert told in caught.value.msg, caught.value.msg
        assert _trust.is_loose(one)
        with pytest.raises(WalgError):
            _trust.open_directory(one, make=True)
    assert not os.path.exists(path + "/not")


@as_root
def test_a_link_of_roots_to_a_place_of_roots_is_fine(way: Path) -> None:
    (way / "link").symlink_to("a/../a")
    (way / "far").symlink_to(way / "link" / "b")
    _trust.refuse_loose(str(way / "far" / "new"), "it")
    os.close(_trust.open_directory(str(way / "far" / "new"), make=True))
    assert (way / "a" / "b" / "new").is_dir()


@as_root
def test_a_file_counts_too(way: Path) -> None:
    path = way / "a" / "b" / "wal-g"
    path.write_text("x")
    _trust.refuse_loose(str(path), "it")
    for bits in (0o666, 0o602):
        path.chmod(bits)
        assert _trust.is_loose(str(path))
    path.chmod(0o644)
    os.chown(path, NOBODY, 0)
    assert _trust.is_loose(str(path))


@as_root
def test_a_sticky_directory_is_passed_and_never_used(way: Path) -> None:
    """As /tmp: what is root's in it stays, and what is not there yet could come from anybody."""
    (way / "a").chmod(0o1777)
    _trust.refuse_loose(str(way / "a" / "b"), "it")
    _trust.refuse_loose(str(way / "a" / "b" / "new"), "it")
    (way / "a" / "file").write_text("x")
    (way / "a" / "link").symlink_to("b")
    for name in ("", "new", "new/er", "file", "link", "link/new"):
        assert _trust.is_loose(f"{way}/a/{name}"), name
    os.chown(way / "a" / "b", NOBODY, NOBODY)
    assert _trust.is_loose(str(way / "a" / "b"))


@as_root
@pytest.mark.parametrize(
    ("names", "primary", "loose"),
    [
        ((), None, False),
        (("root",), None, False),
        (("bob",), None, True),
        (("root", "bob"), None, True),
        ((), GROUP, True),
    ],
)
def test_a_group_that_can_write_counts_by_its_members(
    way: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], primary: int | None, loose: bool
) -> None:
    """Debian's /usr/local/bin is root:staff, 2775, and nobody is in staff."""
    os.chown(way / "a", 0, GROUP)
    (way / "a").chmod(0o2775)
    members(monkeypatch, *names, primary=primary)
    assert _trust.is_loose(str(way / "a" / "b")) is loose
    if loose:
        with pytest.raises(WalgError, match=r"can be written by the group 'staff', and so by the user '(bob|alice)'"):
            _trust.refuse_loose(str(way / "a" / "b"), "it")


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in sorted(entries))


@as_root
@pytest.mark.parametrize(
    ("entry", "loose"),
    [
        ((0x02, 7, NOBODY), True),
        ((0x02, 5, NOBODY), False),
        ((0x02, 7, 0), False),
        ((0x08, 7, GROUP), True),
        ((0x08, 5, GROUP), False),
    ],
)
def test_an_access_control_list_counts(
    way: Path, monkeypatch: pytest.MonkeyPatch, entry: tuple[int, int, int], loose: bool
) -> None:
    members(monkeypatch, primary=GROUP)
    text = acl((0x01, 7, 0xFFFFFFFF), entry, (0x04, 5, 0xFFFFFFFF), (0x10, 7, 0xFFFFFFFF), (0x20, 5, 0xFFFFFFFF))
    os.setxattr(way / "a", "system.posix_acl_access", text)
    assert _trust.is_loose(str(way / "a" / "b")) is loose


@as_root
def test_made_directories_are_roots_and_passable(way: Path) -> None:
    old = os.umask(0o077)
    try:
        os.close(_trust.open_directory(str(way / "n" / "m"), make=True))
    finally:
        os.umask(old)
    for path in (way / "n", way / "n" / "m"):
        assert (path.stat().st_uid, path.stat().st_mode & 0o7777) == (0, 0o755)


def test_what_is_not_there_is_said(way: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _trust.open_directory(str(way / "none"))
    (way / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        _trust.open_directory(str(way / "file"))
    with pytest.raises(NotADirectoryError):
        _trust.open_directory(str(way / "file" / "x"), make=True)


def test_no_descriptor_is_left_open(way: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for path in ("a/b", "a/none", "none/none"):
        _trust.is_loose(str(way / path))
        os.close(_trust.open_directory(str(way / path), make=True))
    (way / "circle").symlink_to("circle")
    assert _trust.is_loose(str(way / "circle")) or os.geteuid() != 0
    assert os.listdir("/proc/self/fd") == before
