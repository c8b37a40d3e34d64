# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A WAL-G build at its path: real files, and shell scripts that say which version they are."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils import _flow_install
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._flow_install import InstallPlan
from ansible_collections.mapswipe.walg.plugins.module_utils._process import Runner
from support import elf


def build(path: Path, version: str = "v3.0.8", flavour: str = "PostgreSQL", code: int = 0) -> str:
    """Write a stand-in, not executable, as a download is; return its checksum."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nprintf 'wal-g version {version}\\tx\\ty\\t{flavour}\\n'\nexit {code}\n")
    path.chmod(0o600)
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def plan(tmp_path: Path, checksum: str, version: str = "3.0.8") -> InstallPlan:
    return _flow_install.plan(
        Runner(), str(tmp_path / "src" / "it"), checksum, str(tmp_path / "bin" / "wal-g"), version
    )


def test_install(tmp_path: Path) -> None:
    checksum = build(tmp_path / "src" / "it")
    made = plan(tmp_path, checksum)
    assert (made.changed, made.reported, made.installed) == (True, "v3.0.8", None)
    assert not (tmp_path / "bin").exists()
    _flow_install.apply(made)
    target = tmp_path / "bin" / "wal-g"
    assert target.read_bytes() == (tmp_path / "src" / "it").read_bytes()
    assert target.stat().st_mode & 0o7777 == 0o755
    assert os.listdir(tmp_path / "bin") == ["wal-g"]
    again = plan(tmp_path, checksum)
    assert (again.changed, again.diff()["before"]) == (False, again.diff()["after"])


def test_an_installed_one_needs_no_source(tmp_path: Path) -> None:
    checksum = build(tmp_path / "src" / "it")
    _flow_install.apply(plan(tmp_path, checksum))
    (tmp_path / "src" / "it").unlink()
    assert not plan(tmp_path, checksum).changed


def test_another_version_replaces_it_in_one_step(tmp_path: Path) -> None:
    _flow_install.apply(plan(tmp_path, build(tmp_path / "src" / "it")))
    with (tmp_path / "bin" / "wal-g").open() as running:
        made = plan(tmp_path, build(tmp_path / "src" / "it", "v3.0.7"), "3.0.7")
        assert made.changed
        _flow_install.apply(made)
        assert "v3.0.8" in running.read()  # who has it open keeps the old one whole
    assert "v3.0.7" in (tmp_path / "bin" / "wal-g").read_text()


def test_a_runnable_one_before_and_after(tmp_path: Path) -> None:
    checksum = build(tmp_path / "src" / "it")
    with _flow_install.runnable(plan(tmp_path, checksum)) as path:
        assert Path(path).read_bytes() == (tmp_path / "src" / "it").read_bytes()
        modes = [(there.stat().st_mode & 0o777) for there in (Path(path), Path(path).parent)]
        assert modes == [0o755, 0o755]
    assert not Path(path).parent.exists()
    assert not (tmp_path / "bin").exists()
    _flow_install.apply(plan(tmp_path, checksum))
    with _flow_install.runnable(plan(tmp_path, checksum)) as path:
        assert path == str(tmp_path / "bin" / "wal-g")
    assert (tmp_path / "bin" / "wal-g").exists()


def test_a_wrong_mode_is_mended_without_a_copy(tmp_path: Path) -> None:
    checksum = build(tmp_path / "src" / "it")
    _flow_install.apply(plan(tmp_path, checksum))
    target = tmp_path / "bin" / "wal-g"
    inode = target.stat().st_ino
    target.chmod(0o700)
    made = plan(tmp_path, checksum)
    assert made.changed
    _flow_install.apply(made)
    assert (target.stat().st_mode & 0o7777, target.stat().st_ino) == (0o755, inode)


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
        ("v3.0.7", "PostgreSQL", 0, "3.0.8", r"reports version 'v3\.0\.7', wanted '3\.0\.8'"),
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


def test_a_source_that_changes_after_the_plan_is_not_installed(tmp_path: Path) -> None:
    made = plan(tmp_path, build(tmp_path / "src" / "it"))
    build(tmp_path / "src" / "it", "v9.9.9")
    with pytest.raises(WalgError, match="changed while it was copied"):
        _flow_install.apply(made)
    assert os.listdir(tmp_path / "bin") == []


def test_a_full_disk_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _flow_install.apply(plan(tmp_path, build(tmp_path / "src" / "it")))
    made = plan(tmp_path, build(tmp_path / "src" / "it", "v3.0.7"), "3.0.7")

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WalgError, match=r"Cannot write .*No space left on device"):
        _flow_install.apply(made)
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
        "needs glibc 2.34, this host has 2.31: it was built on a newer system. Of WAL-G's releases take wal-g-pg-20.04-amd64.",
    ),
    (
        needing("GLIBC_2.34"),
        "3.0.8",
        "x86_64",
        (2, 28),
        "No published build of WAL-G 3.0.8 runs here: take another version, or build it yourself",
    ),
    (needing("GLIBC_2.34"), "3.0.8", "x86_64", (), "this host has another C library (musl)"),
    (needing("GLIBC_2.34"), "devel", "x86_64", (2, 31), "Build it for this host."),
    (
        elf.make(183),
        "1.1.3",
        "x86_64",
        (2, 36),
        "is built for aarch64, this host is x86_64. Of WAL-G's releases take wal-g-pg-ubuntu-20.04-amd64.",
    ),
    (elf.make(62), "3.0.9", "aarch64", (2, 36), "Of WAL-G's releases take wal-g-pg-22.04-aarch64."),
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
        _flow_install.refuse_unfit(str(tmp_path / "it"), version, machine, glibc)
        return
    with pytest.raises(WalgError) as caught:
        _flow_install.refuse_unfit(str(tmp_path / "it"), version, machine, glibc)
    assert text in caught.value.msg


@pytest.mark.parametrize("machine", [183, 22])
def test_a_build_for_another_machine_is_never_started(tmp_path: Path, machine: int) -> None:
    """The whole plan, on this host: nothing is replaced."""
    _flow_install.apply(plan(tmp_path, build(tmp_path / "src" / "it")))
    standing = (tmp_path / "bin" / "wal-g").read_bytes()
    checksum = put(tmp_path, elf.make(machine if os.uname().machine == "x86_64" else 62))
    with pytest.raises(WalgError, match=r"is built for \w+, this host is \w+\. Of WAL-G's releases take wal-g-pg-2"):
        plan(tmp_path, checksum)
    assert (tmp_path / "bin" / "wal-g").read_bytes() == standing


def put(tmp_path: Path, data: bytes) -> str:
    (tmp_path / "src").mkdir(exist_ok=True)
    (tmp_path / "src" / "it").write_bytes(data)
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_a_missing_library_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real program and the host's own loader; the name of the C library is replaced by one that no host has."""
    monkeypatch.setitem(_flow_install._PACKAGES, "libq.so.6", "Debian and Ubuntu: libq6")
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
    assert _flow_install.host_glibc() == (2, 31)
    monkeypatch.setattr(os, "confstr", lambda _name: None)
    assert _flow_install.host_glibc() == ()
    monkeypatch.setattr(os, "confstr", musl)
    assert _flow_install.host_glibc() == ()
