# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A WAL-G build at its path: real files, and shell scripts that say which version they are."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._install import _binary, _workshop
from ansible_collections.mapswipe.walg.plugins.module_utils._install._binary import InstallPlan
from ansible_collections.mapswipe.walg.plugins.module_utils._install._workshop import Workshop
from support import elf


def build(path: Path, version: str = "v3.0.8", flavour: str = "PostgreSQL", code: int = 0) -> str:
    """Write a stand-in, not executable, as a download is; return its checksum."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nprintf 'wal-g version {version}\\tx\\ty\\t{flavour}\\n'\nexit {code}\n")
    path.chmod(0o600)
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def plan(tmp_path: Path, checksum: str, version: str = "3.0.8") -> InstallPlan:
    (tmp_path / "shop").mkdir(exist_ok=True)
    shop = Workshop(Runner(), str(tmp_path / "shop"), _workshop.starter(None))
    return _binary.plan(shop, str(tmp_path / "src" / "it"), checksum, str(tmp_path / "bin" / "wal-g"), version)


def test_install(tmp_path: Path) -> None:
    checksum = build(tmp_path / "src" / "it")
    made = plan(tmp_path, checksum)
    assert (made.changed, made.reported, made.installed) == (True, "v3.0.8", None)
    assert not (tmp_path / "bin").exists()
    _binary.apply(made)
    target = tmp_path / "bin" / "wal-g"
    assert target.read_bytes() == (tmp_path / "src" / "it").read_bytes()
    assert target.stat().st_mode & 0o7777 == 0o755
    assert os.listdir(tmp_path / "bin") == ["wal-g"]
    again = plan(tmp_path, checksum)
    assert (again.changed, again.diff()["before"]) == (False, again.diff()["after"])


def test_an_installed_one_needs_no_source(tmp_path: Path) -> None:
    checksum = build(tmp_path / "src" / "it")
    _binary.apply(plan(tmp_path, checksum))
    (tmp_path / "src" / "it").unlink()
    assert not plan(tmp_path, checksum).changed


def test_another_version_replaces_it_in_one_step(tmp_path: Path) -> None:
    _binary.apply(plan(tmp_path, build(tmp_path / "src" / "it")))
    with (tmp_path / "bin" / "wal-g").open() as running:
        made = plan(tmp_path, build(tmp_path / "src" / "it", "v3.0.7"), "3.0.7")
        assert made.changed
        _binary.apply(made)
        assert "v3.0.8" in running.read()  # who has it open keeps the old one whole
    assert "v3.0.7" in (tmp_path / "bin" / "wal-g").read_text()


def test_a_runnable_one_before_and_after(tmp_path: Path) -> None:
    checksum = build(tmp_path / "src" / "it")
    path = Path(_binary.runnable(plan(tmp_path, checksum)))
    assert path.read_bytes() == (tmp_path / "src" / "it").read_bytes()
    assert (path.parent, path.stat().st_mode & 0o777) == (tmp_path / "shop", 0o755)
    assert not (tmp_path / "bin").exists()
    _binary.apply(plan(tmp_path, checksum))
    assert _binary.runnable(plan(tmp_path, checksum)) == str(tmp_path / "bin" / "wal-g")


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("where", ["bin", None])
def test_a_workshop_is_gone_afterwards(tmp_path: Path, where: str | None, failed: bool) -> None:
    path = str(tmp_path / "bin" / "wal-g") if where else None
    seen = []
    with contextlib.suppress(KeyError), _workshop.opened(Runner(), None, path) as shop:
        seen = [shop.directory]
        shop.copy("/bin/true")
        assert os.listdir(shop.directory) == ["wal-g"]
        assert (where is None) or os.path.dirname(shop.directory) == str(tmp_path)
        if failed:
            raise KeyError
    assert (len(seen), os.path.exists(seen[0]), os.listdir(tmp_path)) == (1, False, [])


@pytest.mark.parametrize("mode", [0o700, 0o600, 0o775, 0o4755])
def test_a_wrong_mode_is_mended_without_a_source(tmp_path: Path, mode: int) -> None:
    checksum = build(tmp_path / "src" / "it")
    _binary.apply(plan(tmp_path, checksum))
    (tmp_path / "src" / "it").unlink()
    target = tmp_path / "bin" / "wal-g"
    target.chmod(mode)
    made = plan(tmp_path, checksum)
    assert made.changed
    _binary.apply(made)
    assert target.stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("checksum", ["", "x", "sha256:", "sha256:" + "0" * 63, "md5:" + "0" * 32, "0" * 64])
def test_a_checksum_that_is_none(tmp_path: Path, checksum: str) -> None:
    build(tmp_path / "src" / "it")
    with pytest.raises(WalgError, match="is not sha256:HEX"):
        plan(tmp_path, checksum)


def test_a_wrong_digest_is_never_started(tmp_path: Path) -> None:
    build(tmp_path / "src" / "it")
    with (tmp_path / "src" / "it").open("a") as stream:
        stream.write(f"touch {tmp_path}/started\n")
    with pytest.raises(WalgError, match="it is another file, or damaged") as caught:
        plan(tmp_path, "sha256:" + "0" * 64)
    assert caught.value.fields["wanted"] == "0" * 64
    assert not (tmp_path / "started").exists()


def test_upper_case_and_blanks_in_a_checksum_do_not_matter(tmp_path: Path) -> None:
    checksum = build(tmp_path / "src" / "it")
    assert plan(tmp_path, f" {checksum.upper()}\n").changed


@pytest.mark.parametrize(
    ("version", "flavour", "code", "wanted", "text"),
    [
        ("v3.0.7", "PostgreSQL", 0, "3.0.8", r"reports version 'v3\.0\.7', expected '3\.0\.8'"),
        ("v3.0.8", "MySQL", 0, "3.0.8", "MySQL"),
        ("v3.0.8", "PostgreSQL", 1, "3.0.8", "ended with 1"),
        ("devel", "PostgreSQL", 0, "3.0.8", "reports version 'devel'"),
    ],
)
def test_what_it_says_of_itself_has_to_fit(
    tmp_path: Path, version: str, flavour: str, code: int, wanted: str, text: str
) -> None:
    checksum = build(tmp_path / "src" / "it", version, flavour, code)
    with pytest.raises(WalgError, match=text):
        plan(tmp_path, checksum, wanted)
    assert not (tmp_path / "bin").exists()


def test_a_build_without_a_release_is_asked_for_by_its_own_name(tmp_path: Path) -> None:
    assert plan(tmp_path, build(tmp_path / "src" / "it", "devel"), "devel").reported == "devel"


def test_no_source(tmp_path: Path) -> None:
    with pytest.raises(WalgError, match="There is no file"):
        plan(tmp_path, "sha256:" + "0" * 64)


def test_a_source_that_changes_after_the_plan_is_another_file(tmp_path: Path) -> None:
    """What was hashed and started is what is installed, whatever lies there by now."""
    made = plan(tmp_path, build(tmp_path / "src" / "it"))
    build(tmp_path / "src" / "it", "v9.9.9")
    _binary.apply(made)
    assert "v3.0.8" in (tmp_path / "bin" / "wal-g").read_text()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_a_source_that_is_no_file_does_not_hold_us_up(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "src").mkdir()
    make(tmp_path / "src" / "it")
    with pytest.raises(WalgError, match="not a regular file"):
        plan(tmp_path, "sha256:" + "0" * 64)


def test_a_source_without_an_end_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    with (tmp_path / "src" / "it").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(WalgError, match=r"has 1099511627776 bytes, more than \d+"):
        plan(tmp_path, "sha256:" + "0" * 64)


@pytest.mark.parametrize(
    "version", ["../../etc/x", "..", "3.0.8-/../../x", "3.0.8-..", "a b", "a\nb", "", "-x", "3.0.8-$(x)"]
)
def test_a_version_that_is_a_path_is_refused(tmp_path: Path, version: str) -> None:
    """Though the binary says the same of itself."""
    checksum = build(tmp_path / "src" / "it", "devel")
    with pytest.raises(WalgError, match="is not a version of WAL-G"):
        plan(tmp_path, checksum, version)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could be harmed")
class TestAsRoot:
    """Root starts nothing that it need not, and believes nothing that others can write."""

    def test_it_is_started_by_somebody_else(self, tmp_path: Path) -> None:
        """In directories that are closed to that user."""
        (tmp_path / "src").mkdir(mode=0o700)
        program = "#!/bin/sh\ntest $(id -u) = 65534 && printf 'wal-g version v3.0.8\\tx\\ty\\tPostgreSQL\\n'\n"
        assert plan(tmp_path, put(tmp_path, program.encode())).reported == "v3.0.8"

    def test_a_loader_is_started_by_somebody_else(self, tmp_path: Path) -> None:
        """As ldd would: the loader that the file names is asked for missing libraries."""
        told = tmp_path / "told"
        loader = tmp_path / "loader"
        loader.write_text(f"#!/bin/sh\nid -u > {told}\n")
        loader.chmod(0o755)
        tmp_path.chmod(0o755)
        tmp_path.parent.chmod(0o755)
        told.touch()
        told.chmod(0o666)
        checksum = put(tmp_path, elf.make(interpreter=str(loader)))
        with pytest.raises(WalgError):
            plan(tmp_path, checksum)
        assert told.read_text() in ("", "65534\n")

    @pytest.mark.parametrize("how", ["owner", "mode", "link"])
    def test_what_others_can_write_counts_for_nothing(self, tmp_path: Path, how: str) -> None:
        checksum = build(tmp_path / "src" / "it")
        target = tmp_path / "bin" / "wal-g"
        _binary.apply(plan(tmp_path, checksum))
        if how == "owner":
            os.chown(target, 65534, 65534)
        elif how == "mode":
            target.chmod(0o777)
        else:
            os.rename(target, tmp_path / "elsewhere")
            os.chown(tmp_path / "elsewhere", 65534, 65534)
            target.symlink_to(tmp_path / "elsewhere")
        made = plan(tmp_path, checksum)
        assert (made.installed, made.changed) == (None, True)
        _binary.apply(made)
        there = target.lstat()
        assert (stat.S_ISREG(there.st_mode), there.st_uid, there.st_mode & 0o7777) == (True, 0, 0o755)

    def test_a_packages_binary_that_others_can_write_is_refused(self, tmp_path: Path) -> None:
        build(tmp_path / "bin" / "wal-g")
        os.chown(tmp_path / "bin" / "wal-g", 65534, 65534)
        with pytest.raises(WalgError, match="bin/wal-g belongs to the user 'nobody'"):
            _binary.unmanaged(Runner(), str(tmp_path / "bin" / "wal-g"), "3.0.8", None)


def test_a_full_disk_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _binary.apply(plan(tmp_path, build(tmp_path / "src" / "it")))
    made = plan(tmp_path, build(tmp_path / "src" / "it", "v3.0.7"), "3.0.7")

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WalgError, match=r"Cannot write .*No space left on device"):
        _binary.apply(made)
    assert os.listdir(tmp_path / "bin") == ["wal-g"]
    assert "v3.0.8" in (tmp_path / "bin" / "wal-g").read_text()


# --- builds that can't run here -----------------------------------------------------------------------------------------

LOADER = "/lib64/ld-linux-x86-64.so.2"


def needing(*versions: str) -> bytes:
    return elf.make(interpreter=LOADER, libraries=["libc.so.6"], versions={"libc.so.6": versions})


FITS = [
    # (file, version, machine, the host's glibc, text)
    (needing("GLIBC_2.2.5", "GLIBC_2.31"), "3.0.8", "x86_64", (2, 31), None),
    (
        needing("GLIBC_2.2.5", "GLIBC_2.34"),
        "3.0.8",
        "x86_64",
        (2, 31),
        "needs glibc 2.34, this host has 2.31: it was built on a newer system. Use wal-g-pg-20.04-amd64 from WAL-G's releases.",
    ),
    (
        needing("GLIBC_2.34"),
        "3.0.8",
        "x86_64",
        (2, 28),
        "No published build of WAL-G 3.0.8 runs here: use another version, or build it yourself",
    ),
    (needing("GLIBC_2.34"), "3.0.8", "x86_64", (), "this host has another C library (musl)"),
    (needing("GLIBC_2.34"), "devel", "x86_64", (2, 31), "Build it for this host."),
    (
        elf.make(183),
        "1.1.3",
        "x86_64",
        (2, 36),
        "is built for aarch64, this host is x86_64. Use wal-g-pg-ubuntu-20.04-amd64 from WAL-G's releases.",
    ),
    (elf.make(62), "3.0.9", "aarch64", (2, 36), "Use wal-g-pg-22.04-aarch64 from WAL-G's releases."),
    (elf.make(62), "3.0.9", "x86_64", (), None),  # static
    (elf.make(62), "3.0.9", "loongarch64", (2, 38), None),  # a machine that the table does not know
    (b"#!/bin/sh\n", "3.0.9", "x86_64", (), None),
    (b"\x1f\x8b\x08\0", "3.0.9", "x86_64", (2, 36), "is a compressed archive: unpack it (tar xzf)"),
    (elf.make(62)[:40], "3.0.9", "x86_64", (2, 36), "damaged"),
]


@pytest.mark.parametrize(("data", "version", "machine", "glibc", "text"), FITS)
def test_what_the_file_says_has_to_fit_the_host(
    tmp_path: Path, data: bytes, version: str, machine: str, glibc: tuple[int, ...], text: str | None
) -> None:
    (tmp_path / "it").write_bytes(data)
    if text is None:
        _binary.refuse_unfit(str(tmp_path / "it"), version, machine, glibc)
        return
    with pytest.raises(WalgError) as caught:
        _binary.refuse_unfit(str(tmp_path / "it"), version, machine, glibc)
    assert text in caught.value.msg


@pytest.mark.parametrize("machine", [183, 22])
def test_a_build_for_another_machine_is_never_started(tmp_path: Path, machine: int) -> None:
    """The whole plan, on this host: nothing is replaced."""
    _binary.apply(plan(tmp_path, build(tmp_path / "src" / "it")))
    standing = (tmp_path / "bin" / "wal-g").read_bytes()
    checksum = put(tmp_path, elf.make(machine if os.uname().machine == "x86_64" else 62))
    with pytest.raises(WalgError, match=r"is built for \w+, this host is \w+\. Use wal-g-pg-2"):
        plan(tmp_path, checksum)
    assert (tmp_path / "bin" / "wal-g").read_bytes() == standing


def put(tmp_path: Path, data: bytes) -> str:
    (tmp_path / "src").mkdir(exist_ok=True)
    (tmp_path / "src" / "it").write_bytes(data)
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_a_missing_library_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real program and the host's own loader; the name of the C library is replaced by one that no host has."""
    monkeypatch.setitem(_workshop._PACKAGES, "libq.so.6", "Debian and Ubuntu: libq6")
    checksum = put(tmp_path, Path("/bin/sh").read_bytes().replace(b"libc.so.6\0", b"libq.so.6\0"))
    with pytest.raises(WalgError) as caught:
        plan(tmp_path, checksum)
    assert caught.value.msg == (
        "WAL-G 3.0.8 does not start: this host lacks libq.so.6 (Debian and Ubuntu: libq6). Install that first."
    )
    assert caught.value.fields["missing"] == ["libq.so.6"]
    assert not (tmp_path / "bin").exists()


def test_a_program_that_fails_otherwise_says_so_itself(tmp_path: Path) -> None:
    checksum = put(tmp_path, Path("/bin/false").read_bytes())
    with pytest.raises(WalgError, match=r"--version ended with 1|not WAL-G"):
        plan(tmp_path, checksum)


def test_the_hosts_own_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    def musl(_name: str) -> str:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "confstr", lambda _name: "glibc 2.31")
    assert _binary.host_glibc() == (2, 31)
    monkeypatch.setattr(os, "confstr", lambda _name: None)
    assert _binary.host_glibc() == ()
    monkeypatch.setattr(os, "confstr", musl)
    assert _binary.host_glibc() == ()
