# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A data directory as WAL-G has fetched it: its parts are put where they lie now, and what would lack files is rejected.

Measured with WAL-G 1.1.3 and 3.0.8: a tablespace that is inside the data directory, or inside another tablespace's directory, comes
back inside of that, and the directory that was named for it stays empty. What else lay in a tablespace's directory comes along. A
symbolic link comes back as a link to its own name below /, without what it led to.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._postgres import _restorable
from .._postgres._data_dir import NO_CONTENT, own_entry
from ._layout import remove

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ._layout import Location

_SPACES = "pg_tblspc"


def settle(places: Sequence[Location], spec: Mapping[str, Any]) -> None:
    """Turn a fetched data directory's links to where its parts lie now. Called as the owner.

    ``spec``: where they lay when the base backup was taken. The room that earlier restores had inside a mount point is in the base
    backup, empty, and so is lost+found; they are nothing of the cluster. The tablespace_map that WAL-G up to 2.0.1 restores would
    make PostgreSQL turn the links to the original places, where a live cluster may be.
    """
    data, spaces = places[-1], [one for one in places if one.tablespace]
    for one in spaces:
        _turn(data, one)
    for one in spaces:
        _bring(one, places, spec)
    for one in spaces:
        _prune(one, own_entry(data.work))
    _refuse_unknown_tablespaces(data, {one.link for one in spaces})
    for name in NO_CONTENT:
        remove(os.path.join(data.work, name))
    _wal(data, next((one for one in places if one.link == "pg_wal"), None))
    _empty(data.work)
    refuse_links(data.work, [os.path.join(one.work, own_entry(data.work)) for one in spaces])
    remove(os.path.join(data.work, "tablespace_map"))


def _turn(data: Location, one: Location) -> None:
    path = os.path.join(data.work, one.link)
    if not os.path.islink(path) or os.path.realpath(path) != os.path.realpath(one.work):
        raise WalgError(
            f"WAL-G did not restore the tablespace {one.link} to {one.work}: it ignored the restore specification. "
            "Use WAL-G 3.0.8 or newer."
        )
    os.unlink(path)
    os.symlink(one.work, path)


def _bring(one: Location, places: Sequence[Location], spec: Mapping[str, Any]) -> None:
    """Move the files of a tablespace that lay inside another place out of that. Raises WalgError where there are none."""
    entry = own_entry(places[-1].work)
    target = os.path.join(one.work, entry)
    for found in _candidates(one, places, spec):
        if not os.path.isdir(target) and os.path.isdir(os.path.join(found, entry)):
            shutil.move(os.path.join(found, entry), target)
    if not os.path.isdir(target):
        lay = _location(one, spec)
        raise WalgError(
            f"The base backup lacks the files of the tablespace {one.link} that was at {lay}: WAL-G restored no {entry} to {one.work}. "
            "Nothing was changed. Choose another base backup (walg_restore_backup), one from when that tablespace lay elsewhere.",
            found=lay,
        )


def _candidates(one: Location, places: Sequence[Location], spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the files of a tablespace are that lay inside the data directory or another tablespace's."""
    lay = _location(one, spec)
    for other in places:
        outer = _location(other, spec)
        if other is not one and outer and f"{lay}/".startswith(f"{outer}/"):
            yield os.path.join(other.work, os.path.relpath(lay, outer))


def _location(one: Location, spec: Mapping[str, Any]) -> str:
    if not one.link:
        return str(spec.get("base_prefix") or "").rstrip("/")
    return str((spec.get(one.link.rpartition("/")[2]) or {}).get("loc") or "").rstrip("/")


def _prune(one: Location, entry: str) -> None:
    """Remove what was of somebody else in the tablespace's directory: it is not ours to bring back."""
    for name in os.listdir(one.work):
        if name != entry:
            remove(os.path.join(one.work, name))


def _refuse_unknown_tablespaces(data: Location, known: set[str]) -> None:
    """One in pg_tblspc itself (allow_in_place_tablespaces) is a plain directory; any other would be a live cluster's."""
    folder = os.path.join(data.work, _SPACES)
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        path = os.path.join(folder, name)
        if f"{_SPACES}/{name}" in known or (
            not os.path.islink(path) and os.path.isdir(os.path.join(path, own_entry(data.work)))
        ):
            continue
        raise WalgError(
            f"WAL-G restored {path}, a tablespace of which the base backup's record says nothing, without its files. Nothing was "
            "changed. Choose another base backup (walg_restore_backup).",
            found=path,
        )


def _wal(data: Location, apart: Location | None) -> None:
    path = os.path.join(data.work, "pg_wal")
    if apart is not None:
        _move_out(path, apart.work)
    elif os.path.islink(path) or not os.path.isdir(path):
        # Of a link to a separate WAL directory a base backup has nothing, or the link: a live cluster's WAL may be there.
        remove(path)
        os.mkdir(path, 0o700)


def _move_out(path: str, target: str) -> None:
    """Move a directory's content elsewhere and leave a link."""
    if os.path.islink(path):
        os.unlink(path)
    elif os.path.isdir(path):
        for name in os.listdir(path):
            shutil.move(os.path.join(path, name), os.path.join(target, name))
        os.rmdir(path)
    os.symlink(target, path)


def _empty(data_dir: str) -> None:
    """A directory that was a link, to memory perhaps, is missing or leads to where a live server writes."""
    for name in _restorable._EMPTIED:
        path = os.path.join(data_dir, name)
        if os.path.islink(path) or not os.path.lexists(path):
            remove(path)
            os.mkdir(path, 0o700)


def refuse_links(data_dir: str, spaces: Sequence[str]) -> None:
    """Raise WalgError when a fetched cluster lacks what symbolic links led to."""
    found = _restorable.stray_links(data_dir, spaces)
    if found:
        raise WalgError(
            f"The base backup lacks what these were when it was taken, symbolic links in the data directory: {', '.join(found[:5])}. WAL-G "
            "does not follow them. Nothing was changed. Choose another base backup (walg_restore_backup), or, while the cluster is there, "
            "replace the links by real directories and take a new one.",
            found=found[:100],
        )
