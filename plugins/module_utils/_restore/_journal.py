# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a swap: steps that are written down before the first, and can be gone through again after a kill.

What was done is read off the disk alone, so that each step is done once however often the list is gone through; it is
undone likewise, from the last to the first. Every step is durable before the next begins. Links are turned while nothing
has moved yet, since their paths lead elsewhere afterwards.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _moves
from .._host._files import fsync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Call = Callable[..., Any]


@dataclass(frozen=True)
class Step:
    """One step.

    ``action`` link: the symbolic link ``path`` is turned from ``source`` to ``target``; make: the directory ``target`` is made,
    of the owner ``source`` ("uid:gid"); lead: the symbolic link ``target`` is made, to ``source``; out: ``source``, which
    is in use, is renamed to ``target``, which is nobody's; in: ``source``, which is ours, is renamed to ``target``, which the
    step out has freed.
    """

    action: str
    source: str
    target: str
    path: str = ""

    @property
    def directory(self) -> str:
        """The directory whose entries it changes."""
        return os.path.dirname(self.path or self.target)

    def done(self) -> bool:
        """Say whether the disk shows it as done. Raises WalgError when it shows neither."""
        if self.action == "make":
            return _moves.is_made(self.target, self._owner()[0])
        if self.action == "lead":
            return os.path.islink(self.target) and os.readlink(self.target) == self.source
        if self.action == "link":
            found = os.readlink(self.path) if os.path.islink(self.path) else ""
            if found not in (self.source, self.target):
                raise WalgError(
                    f"{self.path} leads to {found!r}, neither to {self.source} nor to {self.target}: somebody changed it."
                )
            return found == self.target
        source, target = os.path.lexists(self.source), os.path.lexists(self.target)
        if not source and not target:
            raise WalgError(
                f"{self.source} should be renamed to {self.target}, and neither exists: somebody moved it. Put it back to one of them."
            )
        return target if self.action == "out" else not source

    def _owner(self) -> tuple[int, int]:
        uid, _colon, gid = self.source.partition(":")
        return int(uid), int(gid)

    def _refuse_root(self, uid: int) -> None:
        """Links lie in the cluster's own directories, where root changes nothing."""
        if self.action in ("link", "lead") and _moves.for_another(uid):
            raise WalgError(f"{self.directory} is not the cluster's owner's to write; root makes no link in it.")

    def do(self, uid: int) -> None:
        """Do it. ``uid``: the cluster's owner."""
        self._refuse_root(uid)
        if self.action == "make":
            _moves.make(self.target, *self._owner())
        elif self.action == "lead":
            os.symlink(self.source, self.target)
            fsync_directory(self.directory)
        elif self.action == "link":
            _relink(self.path, self.target)
        else:
            _moves.rename(self.source, self.target, uid)

    def undo(self, uid: int) -> None:
        """Take it back."""
        self._refuse_root(uid)
        if self.action == "make":
            _moves.remove_empty(self.target, uid)  # what is not empty holds something that is not ours to remove
        elif self.action == "lead":
            os.unlink(self.target)
        elif self.action == "link":
            _relink(self.path, self.source)
        else:
            _moves.rename(self.target, self.source, uid)


def encode(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Return steps as JSON holds them."""
    return [asdict(step) for step in steps]


def decode(entries: Iterable[Mapping[str, Any]]) -> list[Step]:
    """Read them back."""
    return [Step(**entry) for entry in entries]


def run(steps: Sequence[Step], call: Call, uid: int) -> int:
    """Do all steps that are not done yet; returns how many that were. Raises WalgError where the disk fits neither.

    ``call(directory, function, *arguments)`` calls with the rights of whoever changes entries of that directory; ``uid``: the
    cluster's owner.
    """
    turns, moves = _split(steps)
    if any(step.action in ("out", "in") and call(step.directory, step.done) for step in moves):
        turns = []  # they were done before the first move
    count = 0
    for step in [*turns, *moves]:
        count += call(step.directory, _do, step, uid)
    return count


def back(steps: Sequence[Step], call: Call, uid: int) -> int:
    """Undo all steps that are done, from the last to the first; returns how many that were."""
    turns, moves = _split(steps)
    count = 0
    for step in reversed([*turns, *moves]):
        count += call(step.directory, _undo, step, uid)
    return count


def split(steps: Sequence[Step], call: Call) -> bool:
    """Say whether some steps are done and others are not."""
    done = [call(step.directory, step.done) for step in steps if step.action != "make"]
    return any(done) and not all(done)


def _do(step: Step, uid: int) -> int:
    if step.done():
        return 0
    step.do(uid)
    return 1


def _undo(step: Step, uid: int) -> int:
    if not step.done():
        return 0
    step.undo(uid)
    return 1


def _split(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    return [step for step in steps if step.action == "link"], [step for step in steps if step.action != "link"]


def _relink(path: str, target: str) -> None:
    """Point a symbolic link elsewhere, atomically and durably."""
    fresh = f"{path}.mapswipe-walg"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    os.symlink(target, fresh)
    os.rename(fresh, path)
    fsync_directory(os.path.dirname(path))
