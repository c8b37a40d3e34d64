# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an attacker would like root to rename, to give away, to fill or to delete, and whether anything of it came to be."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .attackers import Tally, attackers, own

_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD


@dataclass(frozen=True)
class Victims:
    """``ground``: a directory of root's that holds them all. ``user``: the attacker."""

    ground: Path
    user: str

    def places(self) -> dict[str, Path]:
        """Return what is there: root's open and closed, filled and empty; another user's; the attacker's own below that."""
        return {
            name: self.ground / name
            for name in ("open", "closed", "empty", "mounted", "others", "others/theirs", "a file")
        }

    def missing(self) -> dict[str, Path]:
        """Return what root could be led to make."""
        return {
            "new": self.ground / "new",
            "new, deep": self.ground / "new" / "deep",
            "in root's": self.ground / "open" / "x",
        }

    def seen(self) -> dict[str, tuple[int, ...]]:
        """Return each path with its owner, mode, size and inode."""
        found = {}
        for path in sorted([self.ground, *self.ground.rglob("*")]):
            one = path.lstat()
            found[str(path)] = (one.st_uid, one.st_gid, one.st_mode, one.st_size, one.st_ino)
        return found

    @contextmanager
    def counted(self, tally: Tally, told: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Count the block as one attack: won if anything has changed, or if ``told`` afterwards says no."""
        before = self.seen()
        yield
        tally.count(self.seen() != before or not told())


@contextmanager
def victims(ground: Path, user: str) -> Iterator[Victims]:
    """Make them, and take the mount away in the end."""
    ground.mkdir()
    made = Victims(ground, user)
    for name, mode in (("open", 0o755), ("closed", 0o700), ("empty", 0o755), ("mounted", 0o755)):
        (ground / name).mkdir(mode=mode)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "none", str(ground / "mounted")], check=True)
    own(ground / "others", attackers()[-1])
    own(ground / "others" / "theirs", user, 0o700)
    for name in ("open", "closed", "mounted", "others/theirs"):
        (ground / name / "file").write_text("precious")
        (ground / name / "000000010000000000000001").write_text("precious")
    (ground / "a file").write_text("precious")
    try:
        yield made
    finally:
        subprocess.run(["umount", "--lazy", str(ground / "mounted")], check=True)


def exchange(one: Path, other: Path) -> None:
    """Exchange two paths in one step: whoever looks finds either, never none."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), f"{one} and {other} can't be exchanged")
