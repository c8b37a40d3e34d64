# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File work on a real disk: nothing half-written, nothing with too wide a mode, nothing of others overwritten."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _files, _trust
from ansible_collections.mapswipe.walg.plugins.module_utils._host._files import FilePlan, owned
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User

UID, GID = os.geteuid(), os.getegid()
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def trouble(*_args: object, **_options: object) -> None:
    raise OSError(28, "No space left on device")


def test_write(tmp_path: Path) -> None:
    target = tmp_path / "file"
    _files.write_atomic(str(target), "Zürich 🐘\n", 0o640)
    assert (target.read_text(encoding="utf-8"), mode(target)) == ("Zürich 🐘\n", 0o640)
    assert os.listdir(tmp_path) == ["file"]


def test_write_is_private_unless_told(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        _files.write_atomic(str(tmp_path / "file"), "x")
    finally:
        os.umask(old)
    assert mode(tmp_path / "file") == 0o600


def test_a_mode_is_not_cut_by_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        _files.write_atomic(str(tmp_path / "file"), "x", 0o644)
    finally:
        os.umask(old)
    assert mode(tmp_path / "file") == 0o644


def test_owner_and_mode_stand_before_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever could open the file by its old mode or owner would keep the handle and read the secret later."""
    sizes: list[tuple[str, int]] = []

    def chown(handle: int, uid: int, gid: int) -> None:
        sizes.append((f"chown {uid}:{gid}", os.fstat(handle).st_size))

    def chmod(handle: int, bits: int) -> None:
        sizes.append((f"chmod {bits:o}", os.fstat(handle).st_size))

    monkeypatch.setattr(os, "fchown", chown)
    monkeypatch.setattr(os, "fchmod", chmod)
    _files.write_atomic(str(tmp_path / "file"), "x" * 100_000, 0o640, UID + 1, GID + 1)
    assert sizes == [(f"chown {UID + 1}:{GID + 1}", 0), ("chmod 640", 0)]


def test_content_is_durable_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, seen = tmp_path / "file", []
    target.write_text("old")
    real = os.fsync

    def fsync(handle: int) -> None:
        kind = "directory" if os.path.isdir(f"/proc/self/fd/{handle}") else "file"
        seen.append((kind, target.read_text()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    _files.write_atomic(str(target), "new")
    assert seen == [("file", "old"), ("directory", "new")]


@needs_root
def test_write_gives_the_file_away(tmp_path: Path) -> None:
    _files.write_atomic(str(tmp_path / "file"), "x", 0o600, 65534, 65534)
    found = (tmp_path / "file").stat()
    assert (found.st_uid, found.st_gid) == (65534, 65534)


@pytest.mark.parametrize("step", ["fsync", "rename", "fchmod"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    monkeypatch.setattr(os, step, trouble)
    with pytest.raises(WalgError, match=f"Cannot write {target}: No space left on device"):
        _files.write_atomic(str(target), "new")
    assert os.listdir(tmp_path) == ["file"]
    assert target.read_text() == "old"


def test_write_into_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WalgError, match=r"Cannot write into .*/absent: No such file or directory"):
        _files.write_atomic(str(tmp_path / "absent" / "file"), "x")


def test_write_over_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(WalgError, match=r"Cannot write .*Is a directory"):
        _files.write_atomic(str(tmp_path / "file"), "x")
    assert os.listdir(tmp_path) == ["file"]


def test_write_replaces_a_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "file").symlink_to(tmp_path / "victim")
    _files.write_atomic(str(tmp_path / "file"), "x")
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "file").is_symlink()


# --- plans ------------------------------------------------------------------------------------------------------------


def test_plan_of_a_file(tmp_path: Path) -> None:
    plan = FilePlan(str(tmp_path / "file"), "x\n", 0o640, UID, GID)
    assert plan.differs()
    plan.apply()
    assert not plan.differs()
    assert (mode(tmp_path / "file"), (tmp_path / "file").read_text()) == (0o640, "x\n")


def test_plan_of_a_directory(tmp_path: Path) -> None:
    plan = FilePlan(str(tmp_path / "a" / "b"), None, 0o750, UID, GID)
    assert plan.differs()
    plan.apply()
    assert not plan.differs()
    assert mode(tmp_path / "a" / "b") == 0o750
    (tmp_path / "a" / "b" / "theirs").write_text("x")
    (tmp_path / "a" / "b").chmod(0o700)
    assert plan.differs()
    plan.apply()
    assert (tmp_path / "a" / "b" / "theirs").read_text() == "x"


@pytest.mark.parametrize("content", ["y\n", "x", "", "x\n\n"])
def test_other_content_differs(tmp_path: Path, content: str) -> None:
    plan = FilePlan(str(tmp_path / "file"), "x\n", 0o600, UID, GID)
    _files.write_atomic(plan.path, content)
    assert plan.differs()


@pytest.mark.parametrize("bits", [0o644, 0o700, 0o4600, 0o400])
def test_another_mode_differs(tmp_path: Path, bits: int) -> None:
    plan = FilePlan(str(tmp_path / "file"), "x\n", 0o600, UID, GID)
    plan.apply()
    os.chmod(plan.path, bits)
    assert plan.differs()
    plan.apply()
    assert not plan.differs()


@needs_root
@pytest.mark.parametrize("content", ["x", None])
def test_another_owner_differs(tmp_path: Path, content: str | None) -> None:
    FilePlan(str(tmp_path / "it"), content, 0o700, UID, GID).apply()
    for uid, gid in ((65534, GID), (UID, 65534)):
        plan = FilePlan(str(tmp_path / "it"), content, 0o700, uid, gid)
        assert plan.differs()
        plan.apply()
        assert not plan.differs()


@pytest.mark.parametrize("content", ["x", None])
@pytest.mark.parametrize("target", ["file", "directory", "nothing"])
def test_a_link_is_refused_whatever_it_points_to(tmp_path: Path, content: str | None, target: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / target)
    with pytest.raises(WalgError, match="is a symbolic link"):
        FilePlan(str(tmp_path / "link"), content, 0o700, UID, GID).differs()


def test_a_file_in_a_directorys_place_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WalgError, match="exists, but is a file"):
        FilePlan(str(tmp_path / "file"), None, 0o755, UID, GID).differs()
    with pytest.raises(WalgError, match="exists, but is not a file"):
        FilePlan(str(tmp_path), "x", 0o755, UID, GID).differs()


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WalgError, match=r"Can't read .*Not a directory"):
        FilePlan(str(tmp_path / "file" / "x"), "x", 0o600, UID, GID).differs()


@pytest.mark.parametrize("bits", [0o700, 0o2775, 0o755])
def test_a_shared_parent_is_made_if_it_is_missing_and_left_alone_if_not(tmp_path: Path, bits: int) -> None:
    plan = _files.parent(str(tmp_path / "shared"), User("u", UID, GID, "/"))
    assert plan.differs()
    plan.apply()
    assert mode(tmp_path / "shared") == 0o755
    (tmp_path / "shared").chmod(bits)
    assert not plan.differs()


def test_a_shared_parent_has_to_be_a_directory(tmp_path: Path) -> None:
    (tmp_path / "shared").write_text("x")
    with pytest.raises(WalgError, match="exists, but is a file"):
        _files.parent(str(tmp_path / "shared"), User("u", UID, GID, "/")).differs()


def test_owned() -> None:
    assert owned("/p", "c", 0o600, User("u", 7, 8, "/")) == FilePlan("/p", "c", 0o600, 7, 8)


# --- reading, renaming, copying ---------------------------------------------------------------------------------------


def test_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("ü\n".encode())
    assert _files.read_text(str(tmp_path / "file")) == "ü\n"
    assert _files.read_text(str(tmp_path / "absent")) is None
    (tmp_path / "bad").write_bytes(b"\xff")
    with pytest.raises(WalgError, match="not UTF-8"):
        _files.read_text(str(tmp_path / "bad"))
    with pytest.raises(WalgError, match=r"Cannot read .*Is a directory"):
        _files.read_text(str(tmp_path))


def test_rename_directory(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "x").write_text("x")
    _files.rename_directory(str(tmp_path / "old"), str(tmp_path / "new"))
    assert (tmp_path / "new" / "x").read_text() == "x"
    assert os.listdir(tmp_path) == ["new"]


@pytest.mark.parametrize("kind", ["empty directory", "full directory", "file", "dangling link"])
def test_rename_directory_never_replaces(tmp_path: Path, kind: str) -> None:
    """rename(2) takes the place of an empty directory without a word."""
    (tmp_path / "old").mkdir()
    target = tmp_path / "new"
    if kind == "file":
        target.write_text("x")
    elif kind == "dangling link":
        target.symlink_to("/no/such/place")
    else:
        target.mkdir()
        if kind == "full directory":
            (target / "x").write_text("x")
    inode = target.lstat().st_ino
    with pytest.raises(WalgError, match="the target exists"):
        _files.rename_directory(str(tmp_path / "old"), str(target))
    assert (tmp_path / "old").is_dir()
    assert target.lstat().st_ino == inode


def test_rename_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WalgError, match=r"Cannot rename .*No such file"):
        _files.rename_directory(str(tmp_path / "old"), str(tmp_path / "new"))


def test_rename_is_made_durable_in_both_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "old").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    synced: list[str] = []
    monkeypatch.setattr(_files, "fsync_directory", synced.append)
    _files.rename_directory(str(tmp_path / "a" / "old"), str(tmp_path / "b" / "new"))
    assert sorted(synced) == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_put_in_place(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"new")
    (tmp_path / "target").write_text("old")
    _files.put_in_place(str(tmp_path / "source"), str(tmp_path / "target"), 0o755)
    assert ((tmp_path / "target").read_bytes(), mode(tmp_path / "target")) == (b"new", 0o755)
    assert sorted(os.listdir(tmp_path)) == ["target"]
    _files.put_in_place(str(tmp_path / "target"), str(tmp_path / "a" / "b" / "c"), 0o755)
    assert (tmp_path / "a" / "b" / "c").read_bytes() == b"new"


def test_put_in_place_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"new")
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "target").symlink_to(tmp_path / "victim")
    _files.put_in_place(str(tmp_path / "source"), str(tmp_path / "target"), 0o755)
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "target").is_symlink()


def test_transfer(tmp_path: Path) -> None:
    content = os.urandom(3 * 1024 * 1024 + 1)
    (tmp_path / "source").write_bytes(content)
    with (tmp_path / "target").open("wb") as stream:
        assert _files.transfer(str(tmp_path / "source"), stream) == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "target").read_bytes() == content


@pytest.mark.parametrize("limit", [{"most": 4096}, {"seconds": 0.2}])
def test_transfer_of_an_endless_file_ends(tmp_path: Path, limit: dict[str, float]) -> None:
    """One that grows while it is read, or is as big as no program."""
    with (tmp_path / "source").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(WalgError, match=r"does not end after \d+ bytes|has 1099511627776 bytes, more than 4096"):
        _files.transfer(str(tmp_path / "source"), None, **limit)


# --- what is no regular file --------------------------------------------------------------------------------------------


def fifo(path: Path) -> None:
    os.mkfifo(path)


def socket_file(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(("make", "kind"), [(fifo, "a FIFO"), (socket_file, "a socket"), (device, "a device")])
def test_what_would_hold_us_up_is_not_opened(tmp_path: Path, make: Callable[[Path], None], kind: str) -> None:
    """Nor through a link, which is how a file in a directory of somebody else's becomes one."""
    make(tmp_path / "it")
    (tmp_path / "link").symlink_to(tmp_path / "it")
    for path in (tmp_path / "it", tmp_path / "link"):
        for act in (_files.read_text, _files.sha256):
            with pytest.raises(WalgError, match=f"is {kind}, not a regular file"):
                act(str(path))


def test_a_text_has_a_limit(tmp_path: Path) -> None:
    with (tmp_path / "it").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(WalgError, match=f"has more than {_files.MOST_TEXT} bytes"):
        _files.read_text(str(tmp_path / "it"))
    (tmp_path / "small").write_text("12345")
    assert _files.read_text(str(tmp_path / "small"), most=5) == "12345"
    with pytest.raises(WalgError, match="has more than 4 bytes"):
        _files.read_text(str(tmp_path / "small"), most=4)


def test_a_lease_of_its_owner_does_not_make_us_wait(tmp_path: Path) -> None:
    """The kernel would have whoever opens the file wait for 45 seconds."""
    path = tmp_path / "it"
    path.write_text("x")
    with path.open("r+") as stream:
        fcntl.fcntl(stream.fileno(), fcntl.F_SETLEASE, fcntl.F_WRLCK)
        before = signal.signal(signal.SIGIO, signal.SIG_IGN)
        started = time.monotonic()
        try:
            with pytest.raises(WalgError, match=f"Cannot read {path}: Resource temporarily unavailable"):
                _files.read_text(str(path))
        finally:
            fcntl.fcntl(stream.fileno(), fcntl.F_SETLEASE, fcntl.F_UNLCK)
            signal.signal(signal.SIGIO, before)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("path", ["", "it", "it/../x", "../x", "./x"])
def test_a_relative_path_is_refused_and_never_an_endless_search(path: str) -> None:
    for act in (partial(_trust.open_directory, make=True), _files.first_existing_parent):
        with pytest.raises(WalgError, match="a relative path"):
            act(path)
    with pytest.raises(WalgError, match="a relative path"):
        FilePlan(path, None, 0o755, UID, GID).apply()


def test_a_directory_is_made_by_what_it_is_and_not_by_where_a_link_leads(tmp_path: Path) -> None:
    """A link that came after the plan: what it leads to is not given away."""
    (tmp_path / "victim").mkdir(mode=0o700)
    (tmp_path / "it").symlink_to(tmp_path / "victim")
    with pytest.raises(WalgError, match="Cannot make the directory"):
        FilePlan(str(tmp_path / "it"), None, 0o755, UID, GID).apply()
    assert mode(tmp_path / "victim") == 0o700


def test_digest(tmp_path: Path) -> None:
    content = os.urandom(3 * 1024 * 1024 + 1)
    (tmp_path / "file").write_bytes(content)
    assert _files.sha256(str(tmp_path / "file")) == hashlib.sha256(content).hexdigest()


def test_first_existing_parent(tmp_path: Path) -> None:
    assert _files.first_existing_parent(str(tmp_path / "a" / "b" / "c")) == str(tmp_path)
    assert _files.first_existing_parent(str(tmp_path)) == str(tmp_path)
    assert _files.first_existing_parent("/no/such") == "/"


def test_free_bytes(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    assert 0 <= _files.free_bytes(str(tmp_path)) <= found.f_blocks * found.f_frsize


def test_a_program_gets_its_name_when_it_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is open for writing it can't ("Text file busy"); by then it is swept away no more than before."""
    rename, started = os.rename, []

    def renamed(source: str, target: str, **directories: int) -> None:
        _files.sweep(str(tmp_path))
        started.append(subprocess.run([str(tmp_path / source)], check=False).returncode)
        rename(source, target, **directories)

    monkeypatch.setattr(os, "rename", renamed)
    _files.write_atomic(str(tmp_path / "program"), "#!/bin/sh\nexit 7\n", 0o755)
    assert (started, [path.name for path in tmp_path.iterdir()]) == ([7], ["program"])


def test_what_a_killed_run_left_unfinished_is_removed(tmp_path: Path) -> None:
    left, others = tmp_path / ".mapswipe-walg.0123456789ab", [tmp_path / ".mapswipe-walg.json", tmp_path / "x"]
    for one in (left, *others):
        one.write_text("secret")
    above = os.open(tmp_path, os.O_RDONLY)
    name, handle = _files.temporary_in(above)
    _files.sweep(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, *(path.name for path in others)])
    os.close(handle)
    _files.sweep(str(tmp_path))
    assert not (tmp_path / name).exists()
    os.close(above)
    _files.sweep(str(tmp_path / "none"))


def test_a_path_with_a_nul_is_none() -> None:
    with pytest.raises(WalgError, match="is no path: there is a NUL in it"):
        _files.read_text("/etc/a\0b")
