# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: this WAL-G build stands at this path. Private to this collection."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _files, _releases, _walg
from ._errors import WalgError

if TYPE_CHECKING:
    from ._process import Runner

_CHECKSUM = re.compile(r"^sha256:([0-9a-f]{64})$")


@dataclass(frozen=True)
class InstallPlan:
    """``installed`` is the digest of what stands at ``path`` now, None if nothing does."""

    src: str
    path: str
    wanted: str
    installed: str | None
    mode: int | None
    reported: str

    @property
    def changed(self) -> bool:
        return self.installed != self.wanted or self.mode != 0o755

    def diff(self) -> dict[str, str]:
        """Digests before and after."""
        before = (
            f"{self.path} sha256:{self.installed} mode {self.mode:04o}\n"
            if self.installed and self.mode is not None
            else ""
        )
        return {"before": before, "after": f"{self.path} sha256:{self.wanted} mode 0755\n"}


def plan(runner: Runner, src: str, checksum: str, path: str, version: str) -> InstallPlan:
    """Check the digest and start the binary where it lies, before anything is replaced."""
    match = _CHECKSUM.match(checksum.strip().lower())
    if not match:
        raise WalgError(f"The checksum {checksum!r} is not sha256:HEX with 64 hexadecimal digits.")
    wanted = match.group(1)
    if os.path.isdir(path):
        raise WalgError(f"{path} is a directory; WAL-G is one file. Correct walg_binary_path.")
    installed = _files.sha256(path) if os.path.isfile(path) else None
    mode = os.stat(path).st_mode & 0o7777 if installed else None
    if installed == wanted:
        return InstallPlan(src, path, wanted, installed, mode, _reported(runner, path, version))
    if not os.path.isfile(src):
        raise WalgError(f"There is no file {src} on this host to install WAL-G from.")
    found = _files.sha256(src)
    if found != wanted:
        raise WalgError(
            f"The digest of {src} is {found}, wanted {wanted}: it is another file, or damaged.",
            found=found,
            wanted=wanted,
        )
    return InstallPlan(src, path, wanted, installed, mode, _started(runner, src, version))


def _started(runner: Runner, src: str, version: str) -> str:
    """Start a copy: the source need not be executable, nor lie where programs may be executed."""
    with tempfile.TemporaryDirectory(prefix="mapswipe-walg-") as directory:
        os.chmod(directory, 0o755)
        copy = _files.copy_beside(src, os.path.join(directory, "wal-g"), 0o755)
        return _reported(runner, copy, version)


def _reported(runner: Runner, path: str, version: str) -> str:
    found = _walg.binary_version(runner, path)
    if found.tag != version and not _releases.same_version(version, found):
        raise WalgError(
            f"The binary reports version {found.tag!r}, wanted {version!r}. Correct walg_version or choose another file.",
            found=found.tag,
            wanted=version,
        )
    return found.tag


def apply(made: InstallPlan) -> None:
    """Copy beside, make durable, rename: a reader sees the old binary or the new one, never a part."""
    directory = os.path.dirname(made.path)
    _files.make_directories(directory)
    if made.installed == made.wanted:
        os.chmod(made.path, 0o755)
        return
    try:
        temporary = _files.copy_beside(made.src, made.path, 0o755)
    except OSError as exc:
        raise WalgError(f"Cannot write {made.path}: {exc.strerror}") from exc
    if _files.sha256(temporary) != made.wanted:
        os.unlink(temporary)
        raise WalgError(f"{made.src} changed while it was copied; nothing was installed.")
    _files.replace(temporary, made.path)
