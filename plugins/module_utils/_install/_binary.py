# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: this WAL-G build is at this path."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _facts, _files, _inside, _trust
from .._walg import _releases
from . import _elf, _installed, _workshop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._host._process import Runner
    from .._host._users import User
    from ._workshop import Workshop

_CHECKSUM = re.compile(r"^sha256:([0-9a-f]{64})$")


@dataclass(frozen=True)
class InstallPlan:
    """``installed`` is the digest of what is at ``path`` now, None if nothing is.

    ``fetch``: URL of what must be brought to ``src`` first; ``asset``: the published build's name; ``copy``: ours of the
    wanted one, hashed and started, which is what will be installed.
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
    copy: str = ""

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


def plan_offline(src: str, wanted: str, path: str, version: str) -> InstallPlan:
    """Look at what is at ``path``; nothing is started. For root, what others can write counts for nothing."""
    if os.path.isdir(path):
        raise WalgError(f"{path} is a directory; WAL-G is one file. Correct walg_binary_path.")
    if not os.path.isfile(path) or _trust.is_loose(path):
        return InstallPlan(src, path, wanted, None, None, version, "")
    mode = stat.S_IMODE(os.stat(path).st_mode)
    return InstallPlan(src, path, wanted, _files.sha256(path), mode, version, "")


def in_place(runner: Runner, made: InstallPlan, user: User | None) -> InstallPlan:
    """Ask the wanted binary, which is in its place, for its version. ``user``: who starts it."""
    return replace(made, reported=_reported(runner, made.path, made.path, made.version, user))


def with_mode(shop: Workshop, made: InstallPlan) -> InstallPlan:
    """Plan for the wanted binary that is in its place; one with another mode may not start, and makes room for its copy."""
    if made.mode == 0o755:
        return in_place(shop.runner, made, shop.user)
    copy, found = shop.copy(made.path)
    return tried(shop, made, copy, found, made.path)


def unmanaged(runner: Runner, path: str, version: str, user: User | None) -> InstallPlan:
    """A binary that somebody else keeps at ``path``, such as a package: it must be there and of the wanted version."""
    if not os.path.isfile(path):
        raise WalgError(
            f"There is no file {path} on this host. Install the package that brings it, or leave walg_binary_path out: then "
            "WAL-G's release is installed."
        )
    _trust.refuse_loose(path, "walg_binary_path")
    digest = _files.sha256(path)
    return InstallPlan("", path, digest, digest, 0o755, version, _reported(runner, path, path, version, user))


def plan(shop: Workshop, src: str, checksum: str, path: str, version: str, dry: bool = False) -> InstallPlan:
    """Copy the binary, check the digest of that copy and start it, before anything is replaced.

    ``dry``: in check mode, a file that an earlier task brings beside ``path`` (staged) may be missing.
    """
    wanted = parse_checksum(checksum)
    made = plan_offline(src, wanted, path, version)
    if made.installed == wanted:
        return with_mode(shop, made)
    if dry and src == _installed.staged_path(path) and not os.path.lexists(src):
        return made
    copy, found = shop.copy(src)
    return tried(shop, made, copy, found, src)


def tried(shop: Workshop, made: InstallPlan, copy: str, found: str, name: str) -> InstallPlan:
    """Check and start a copy in the workshop, whose digest is ``found``. ``name``: where it is from."""
    if found != made.wanted:
        raise WalgError(
            f"The digest of {name} is {found}, expected {made.wanted}: it is another file, or damaged. Nothing was installed.",
            found=found,
            wanted=made.wanted,
        )
    refuse_unfit(copy, made.version, os.uname().machine, host_glibc(), name)
    return replace(made, copy=copy, reported=_reported(shop.runner, copy, name, made.version, shop.user))


def refuse_unfit(path: str, version: str, machine: str, glibc: Sequence[int], name: str = "") -> None:
    """Raise WalgError for a build that can't run on a machine with this glibc (empty: musl), by what the file says.

    ``name``: what messages call it.
    """
    src = name or path
    with open(path, "rb") as stream:
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
        return f"Use {build} from WAL-G's releases."
    return f"No published build of WAL-G {version} runs here: use another version, or build it yourself (statically linked)."


def host_glibc() -> tuple[int, ...]:
    """Return the version of the host's glibc; empty where there is none."""
    if _inside.current():  # where this process has the machine's
        return _facts.glibc_here()
    try:
        shown = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ()
    match = re.match(r"glibc ([0-9]+(?:\.[0-9]+)+)", shown)
    return tuple(map(int, match.group(1).split("."))) if match else ()


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))


def _reported(runner: Runner, path: str, name: str, version: str, user: User | None) -> str:
    _releases.refuse_odd(version)
    found = _workshop.ask_version(runner, path, name, version, user)
    if found.tag != version and not _releases.same_version(version, found):
        raise WalgError(
            f"The binary reports version {found.tag!r}, expected {version!r}. Correct walg_version or choose another file.",
            found=found.tag,
            wanted=version,
        )
    return found.tag


def runnable(made: InstallPlan) -> str:
    """Return where the wanted binary can be started by any user: where it is installed, else the copy, while the workshop is open."""
    return made.copy or made.path


def apply(made: InstallPlan) -> None:
    """Rename the copy, if there is one, into its place: a reader sees the old binary or the new one, never a part."""
    if made.copy:
        _put(made, made.path)
    if made.src == _installed.staged_path(made.path):
        _forget(made.src)


def stage(made: InstallPlan) -> None:
    """Keep the copy beside its place, for a later run; what is there now is not touched."""
    _put(made, made.src)


def _put(made: InstallPlan, path: str) -> None:
    try:
        _files.put_in_place(made.copy, path, 0o755)
    except OSError as exc:
        raise WalgError(f"Cannot write {path}: {exc.strerror}") from exc


def _forget(staged: str) -> None:
    try:
        os.unlink(staged)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise WalgError(f"Cannot remove {staged}: {exc.strerror}") from exc


def enrol(made: InstallPlan, record: _installed.Installed, config_dir: str) -> bool:
    """Note in the record what is (or will be) installed, and who may use it; say whether that is news."""
    entry = {"sha256": made.wanted, "version": made.version, "asset": made.asset}
    news = made.installed != made.wanted
    if news:
        record.add(made.path, entry)
    if record.of(made.path) and config_dir and config_dir not in record.config_dirs:
        record.config_dirs.append(config_dir)
        news = True
    return news
