# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who moves a cluster's directories: its owner wherever he has the right, so that nothing can be won from root.

Where he has none, the directory above is root's, or nobody works in it: root's own power is used only there, and by _moves only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _mounts, _moves, _trust
from .._host._files import first_existing_parent
from .._host._users import call_as
from . import _layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._host._users import User


@dataclass(frozen=True)
class Hands:
    """``owner``: the operating system user whose cluster it is."""

    owner: User

    def actor(self, directory: str) -> User | None:
        """Return who makes and renames entries of a directory: the owner, or None: we, who are root. Raises WalgError: neither may."""
        there = first_existing_parent(directory)
        if not _moves.for_another(self.owner.uid) or call_as(self.owner, _moves.can_write, there):
            return self.owner
        _trust.refuse_loose(there, f"The user {self.owner.name!r} can't write into {there}, and root won't")
        return None

    def call(self, directory: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call with the rights of whoever changes entries of that directory."""
        return call_as(self.actor(directory), function, *arguments)

    def make(self, path: str) -> None:
        """Make a directory of the owner's, or finish that."""
        self.call(os.path.dirname(path), _moves.make, path, self.owner.uid, self.owner.gid)

    def make_new(self, path: str) -> None:
        """Make a directory that must not be there yet."""
        if os.path.lexists(path):
            raise WalgError(f"{path} exists; it should have been created.")
        self.make(path)

    def rename(self, source: str, target: str) -> None:
        """Rename a directory of the owner's."""
        self.call(os.path.dirname(target), _moves.rename, source, target, self.owner.uid)

    def remove(self, path: str) -> None:
        """Remove a directory of the owner's with what is in it, if it exists. What is in it goes by the owner's own rights."""
        if not os.path.lexists(path):
            return
        actor = self.actor(os.path.dirname(path))
        if actor is not None:
            call_as(actor, _layout.remove, path)
            return
        if os.lstat(path).st_uid == self.owner.uid:
            call_as(self.owner, _layout.empty, path)
        self.remove_empty(path)
        if os.path.lexists(path):
            raise WalgError(
                f"{path} can't be removed: it is not a directory of the user {self.owner.name!r}, or not all in it is. Look at it, "
                "move it away, then run again.",
                found=path,
            )

    def clear(self, one: _layout.Location, own: str) -> None:
        """Remove the old cluster's part of a place, and nothing else in it. ``own``: its entry in a tablespace's directory."""
        if one.tablespace:
            entry = os.path.join(one.path, own)
            self.remove_whole(entry, f"{entry}{os.path.basename(one.work)}~old")
        elif not one.mount:
            self.remove_whole(one.path, f"{one.work}~old")
        elif os.path.lexists(one.path):
            self.call(one.path, _layout.clear_mounted, one)

    def remove_empty(self, path: str) -> None:
        """Remove a directory if it is there and empty."""
        if os.path.lexists(path):
            self.call(os.path.dirname(path), _moves.remove_empty, path, self.owner.uid)

    def remove_whole(self, path: str, doomed: str) -> None:
        """Remove a directory under another name, so that a killed run leaves a whole one or none at its path."""
        self.remove(doomed)
        if os.path.lexists(path):
            call_as(self.owner, _mounts.refuse, path)
            self.rename(path, doomed)
            self.remove(doomed)
