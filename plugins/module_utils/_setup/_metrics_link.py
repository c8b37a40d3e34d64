# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How node_exporter sees an instance's metrics: a symbolic link in its directory leads to the file that the job writes.

So the job needs no right to that directory. Where another user owns it, the link is made with that user's rights.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _trust
from .._host._files import UNFINISHED, read_text
from .._host._users import User, call_as

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_ROOTS = (
    "The metrics of a server in a container are written by root, which does not write into {}, since other users can change it. Set "
    "walg_backup_metrics_dir to a directory that only root can change, or to an empty text."
)
#: How lines of our metrics begin.
_LINES = ("# ", "walg_")
#: Where packages of node_exporter look, Debian's first.
KNOWN = ("/var/lib/prometheus/node-exporter", "/var/lib/node_exporter/textfile_collector", "/var/lib/node_exporter")


@dataclass(frozen=True)
class Link:
    """A link and what it leads to. Neither is read by us: node_exporter follows it."""

    path: str
    target: str

    def differs(self) -> bool:
        """Say whether it must be made. Raises WalgError for anything there that this collection did not put there."""
        found = _found(self.path)
        if found is not None and not _ours(self.path, found):
            raise WalgError(
                f"{self.path} exists, and is not the collection's link to its metrics. Move it away, or set walg_backup_metrics_dir.",
                found=self.path,
            )
        return found != self.target

    def apply(self) -> None:
        """Make it."""
        _as_owner(self.path, _put, self.path, self.target)


def directory_of(given: str) -> str:
    """Return the directory that an option means: auto is the first known one that exists, "" none."""
    if given != "auto":
        return os.path.normpath(given) if given else ""
    return next((one for one in KNOWN if os.path.isdir(one) and not os.path.islink(one)), "")


def link_path(directory: str, name: str) -> str:
    """Return where an instance's link is."""
    return os.path.join(directory, f"mapswipe-walg-{name}.prom")


def left(name: str, directories: tuple[str, ...], wanted: tuple[str, ...] = ()) -> list[str]:
    """Return an instance's links and metrics in these directories and the known ones, except what is needed."""
    places = [link_path(one, name) for one in dict.fromkeys((*directories, *KNOWN)) if one]
    found = {path: _found(path) for path in places if path not in wanted}
    return [path for path, target in found.items() if target is not None and _ours(path, target)]


def remove(path: str) -> None:
    """Remove a link of ours."""
    _as_owner(path, _take_away, path)


def refuse_missing(directory: str, writes: bool = False) -> None:
    """Raise WalgError unless a directory is there, and one in which root may make a link, or where it ``writes`` itself, a file."""
    if not os.path.isdir(directory):
        raise WalgError(
            f"walg_backup_metrics_dir is {directory}, but there is no such directory. Create it as node_exporter needs it, or correct the "
            "option.",
            found=directory,
        )
    if writes or os.stat(directory).st_uid in (0, os.geteuid()):
        _trust.refuse_loose(directory, "walg_backup_metrics_dir")


def closed(target: str) -> list[str]:
    """Return the directories above a file that other users can't pass, the outermost first; one that is missing can be passed."""
    found, path = [], target
    while path != "/":
        path = os.path.dirname(path)
        with contextlib.suppress(OSError):
            if not os.stat(path).st_mode & stat.S_IXOTH:
                found.append(path)
    return found[::-1]


def shown(path: str) -> str:
    """Return what is shown of what is removed."""
    return _found(path) or "metrics"


def _found(path: str) -> str | None:
    """Return what a link leads to, "" for something else, None if nothing is there."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError:
        return "" if os.path.lexists(path) else None


def _ours(path: str, target: str) -> bool:
    """Say whether it is a link that we made, to metrics in a state directory or of a container, or a file that root's job wrote for one."""
    if target:
        return target.startswith("/") and os.path.basename(target) in ("metrics.prom", os.path.basename(path))
    with contextlib.suppress(OSError, WalgError):
        lines = (read_text(path) or "").splitlines()
        return (
            bool(lines)
            and os.lstat(path).st_uid == os.geteuid()
            and all(one.startswith(_LINES) for one in lines if one)
        )
    return False


def _as_owner(path: str, function: Callable[..., None], *args: str) -> None:
    owner = os.stat(os.path.dirname(path)).st_uid
    user = None if owner in (0, os.geteuid()) else User.by_uid(owner)
    try:
        call_as(user, function, *args)
    except WalgError as exc:
        raise WalgError(f"Can't change the link {path} to the metrics: {exc.msg}", found=path) from exc


def _put(path: str, target: str) -> None:
    temporary = os.path.join(os.path.dirname(path), UNFINISHED + secrets.token_hex(6))
    os.symlink(target, temporary)
    try:
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def _take_away(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
