# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: this WAL-G build stands at this path. Private to this collection."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import _elf, _files, _installed, _releases, _walg
from ._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._process import Runner

#: Which package holds a library that published or own builds of WAL-G load.
_PACKAGES = {
    "liblzo2.so.2": "Debian and Ubuntu: liblzo2-2, Red Hat: lzo",
    "libsodium.so.23": "Debian and Ubuntu: libsodium23, Red Hat: libsodium",
    "libbrotlienc.so.1": "Debian and Ubuntu: libbrotli1, Red Hat: libbrotli",
    "libbrotlidec.so.1": "Debian and Ubuntu: libbrotli1, Red Hat: libbrotli",
}
_CHECKSUM = re.compile(r"^sha256:([0-9a-f]{64})$")


@dataclass(frozen=True)
class InstallPlan:
    """``installed`` is the digest of what stands at ``path`` now, None if nothing does.

    ``fetch``: URL of what has to be brought to ``src`` first; ``asset``: the published build's name.
    """

    src: str
    path: str
    wanted: str
    installed: str | None
    mode: int | None
    version: str
    reported: str
    fetch: str = ""
    asset: str = ""

    @property
    def changed(self) -> bool:
        return self.installed != self.wanted or self.mode != 0o755

    @property
    def origin(self) -> str:
        """Return where a new binary comes from."""
        return self.fetch or self.src

    def diff(self) -> dict[str, str]:
        """Digests before and after."""
        before = (
            f"{self.path} sha256:{self.installed} mode {self.mode:04o}\n"
            if self.installed and self.mode is not None
            else ""
        )
        origin = f"from {self.fetch}\n" if self.fetch else ""
        return {"before": before, "after": f"{self.path} sha256:{self.wanted} mode 0755\n{origin}"}


def parse_checksum(checksum: str) -> str:
    """Return the digest of C(sha256:HEX). Raises WalgError for anything else."""
    match = _CHECKSUM.match(checksum.strip().lower())
    if not match:
        raise WalgError(f"The checksum {checksum!r} is not sha256:HEX with 64 hexadecimal digits.")
    return match.group(1)


def standing(src: str, wanted: str, path: str, version: str) -> InstallPlan:
    """Look at what stands at ``path``; nothing is started."""
    if os.path.isdir(path):
        raise WalgError(f"{path} is a directory; WAL-G is one file. Correct walg_binary_path.")
    installed = _files.sha256(path) if os.path.isfile(path) else None
    mode = os.stat(path).st_mode & 0o7777 if installed else None
    return InstallPlan(src, path, wanted, installed, mode, version, "")


def in_place(runner: Runner, made: InstallPlan) -> InstallPlan:
    """Ask the wanted binary, which stands in its place, for its version."""
    return replace(made, reported=_reported(runner, made.path, made.version))


def unmanaged(runner: Runner, path: str, version: str) -> InstallPlan:
    """A binary that somebody else keeps at ``path``, such as a package: it has to be there and of the wanted version."""
    if not os.path.isfile(path):
        raise WalgError(
            f"There is no file {path} on this host. Install the package that brings it, or leave walg_binary_path out: then "
            "WAL-G's release is installed."
        )
    digest = _files.sha256(path)
    return InstallPlan("", path, digest, digest, 0o755, version, _reported(runner, path, version))


def plan(runner: Runner, src: str, checksum: str, path: str, version: str, dry: bool = False) -> InstallPlan:
    """Check the digest and start the binary where it lies, before anything is replaced.

    ``dry``: in check mode, a file that an earlier task brings beside ``path`` (staged) may be missing.
    """
    wanted = parse_checksum(checksum)
    made = standing(src, wanted, path, version)
    if made.installed == wanted:
        return in_place(runner, made)
    if not os.path.isfile(src):
        if dry and src == _installed.staged_path(path):
            return made
        raise WalgError(f"There is no file {src} on this host to install WAL-G from.")
    found = _files.sha256(src)
    if found != wanted:
        raise WalgError(
            f"The digest of {src} is {found}, wanted {wanted}: it is another file, or damaged.",
            found=found,
            wanted=wanted,
        )
    refuse_unfit(src, version, os.uname().machine, host_glibc())
    return replace(made, reported=_started(runner, src, version))


def refuse_unfit(src: str, version: str, machine: str, glibc: Sequence[int]) -> None:
    """Raise WalgError for a build that can't run on a machine with this glibc (empty: musl), by what the file says."""
    with open(src, "rb") as stream:
        if stream.read(2) == b"\x1f\x8b":
            raise WalgError(
                f"{src} is a compressed archive: unpack it (tar xzf). The file in it has the archive's name without .tar.gz, and "
                "walg_binary_checksum is that of the file."
            )
        stream.seek(0)
        elf = _elf.read(stream)
    if elf is None:
        return  # what it is, its start will tell
    advice = _advice(version, machine, glibc)
    if machine in _elf.MACHINES and elf.machine != _elf.MACHINES[machine]:
        raise WalgError(
            f"{src} is built for {elf.machine_name}, this host is {machine}. {advice}",
            found=elf.machine_name,
            wanted=machine,
        )
    if elf.glibc and elf.glibc > tuple(glibc):
        here = f"this host has {_dotted(glibc)}" if glibc else "this host has another C library (musl)"
        raise WalgError(
            f"{src} needs glibc {_dotted(elf.glibc)}, {here}: it was built on a newer system. {advice}",
            found=_dotted(glibc),
            wanted=_dotted(elf.glibc),
        )


def _advice(version: str, machine: str, glibc: Sequence[int]) -> str:
    if version == "devel":
        return "Build it for this host."
    build = _releases.fitting_build(_releases.parse_version(version), machine, glibc)
    if build:
        return f"Of WAL-G's releases take {build}."
    return f"No published build of WAL-G {version} runs here: take another version, or build it yourself (statically linked)."


def host_glibc() -> tuple[int, ...]:
    """Return the version of the host's glibc; empty where there is none."""
    try:
        shown = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ()
    match = re.match(r"glibc ([0-9]+(?:\.[0-9]+)+)", shown)
    return tuple(map(int, match.group(1).split("."))) if match else ()


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))


def _missing_libraries(runner: Runner, path: str) -> list[str]:
    """Return the shared libraries that a program needs and its loader does not find."""
    with open(path, "rb") as stream:
        elf = _elf.read(stream)
    if elf is None or not os.access(elf.interpreter, os.X_OK):
        return []
    listed = runner.run([elf.interpreter, path], env={"LD_TRACE_LOADED_OBJECTS": "1"}, timeout=30)  # as ldd does
    return re.findall(r"^\s*(\S+) => not found$", listed.stdout, re.MULTILINE)


@contextlib.contextmanager
def runnable(made: InstallPlan) -> Iterator[str]:
    """Yield a path at which the wanted binary can be started by any user: where it is installed, else a copy of its source."""
    if made.installed == made.wanted and made.mode == 0o755:
        yield made.path
        return
    with tempfile.TemporaryDirectory(prefix="mapswipe-walg-") as directory:
        os.chmod(directory, 0o755)
        origin = made.path if made.installed == made.wanted else made.src
        yield _files.copy_beside(origin, os.path.join(directory, "wal-g"), 0o755)


def _started(runner: Runner, src: str, version: str) -> str:
    """Start a copy: the source need not be executable, nor lie where programs may be executed."""
    with tempfile.TemporaryDirectory(prefix="mapswipe-walg-") as directory:
        os.chmod(directory, 0o755)
        copy = _files.copy_beside(src, os.path.join(directory, "wal-g"), 0o755)
        return _reported(runner, copy, version)


def _reported(runner: Runner, path: str, version: str) -> str:
    try:
        found = _walg.binary_version(runner, path)
    except WalgError as exc:
        missing = _missing_libraries(runner, path)
        if not missing:
            raise
        packages = ", ".join(f"{name} ({_PACKAGES.get(name, 'see your distribution')})" for name in missing)
        raise WalgError(
            f"WAL-G {version} does not start: this host lacks {packages}. Install that first.",
            missing=missing,
            **exc.fields,
        ) from exc
    if found.tag != version and not _releases.same_version(version, found):
        raise WalgError(
            f"The binary reports version {found.tag!r}, wanted {version!r}. Correct walg_version or choose another file.",
            found=found.tag,
            wanted=version,
        )
    return found.tag


def apply(made: InstallPlan) -> None:
    """Copy beside, make durable, rename: a reader sees the old binary or the new one, never a part."""
    if made.installed == made.wanted:
        os.chmod(made.path, 0o755)
        return
    try:
        _files.make_directories(os.path.dirname(made.path))
        if made.src == _installed.staged_path(made.path):
            temporary = made.src
            os.chmod(temporary, 0o755)
        else:
            temporary = _files.copy_beside(made.src, made.path, 0o755)
    except OSError as exc:
        raise WalgError(f"Cannot write {made.path}: {exc.strerror}") from exc
    if _files.sha256(temporary) != made.wanted:
        os.unlink(temporary)
        raise WalgError(f"{made.src} changed while it was copied; nothing was installed.")
    _files.replace(temporary, made.path)


def enrol(made: InstallPlan, record: _installed.Record, config_dir: str) -> bool:
    """Note in the record what is (or will be) installed, and who may use it; say whether that is news."""
    entry = {"sha256": made.wanted, "version": made.version, "asset": made.asset}
    news = made.installed != made.wanted
    if news:
        record.add(made.path, entry)
    if record.of(made.path) and config_dir and config_dir not in record.config_dirs:
        record.config_dirs.append(config_dir)
        news = True
    return news
