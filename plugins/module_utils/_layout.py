# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a cluster's files lie: data directory, separate WAL directory, tablespaces; and how a restored one takes their place. Private.

What is restored lies beside each of these places until the swap, and what was there is kept beside it afterwards. A place
that is a mount point can't be renamed: there "beside" is a directory inside it, and its entries are moved one by one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ._errors import WalgError
from ._files import rename_directory
from ._journal import Step, make_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Where things lie inside a mount point. Base backups leave out what is below a directory of this name (WAL-G and
#: pg_basebackup alike), so that an old cluster kept here is not backed up with the new one.
INSIDE = ".mapswipe-walg/pgsql_tmp"
#: Entries of a mount point that are nothing of a cluster.
NO_CONTENT = ("lost+found", ".mapswipe-walg")
#: Without this file PostgreSQL does not start: it goes first and comes last, so that a half-swapped directory stays down.
_GATE = "PG_VERSION"


@dataclass(frozen=True)
class Place:
    """``link``: the symbolic link in the data directory that leads here (pg_wal, pg_tblspc/OID); empty: the data directory itself."""

    path: str
    link: str
    mount: bool
    work: str
    aside: str

    @property
    def parent(self) -> str:
        """The directory whose entries change in the swap."""
        return self.path if self.mount else os.path.dirname(self.path)


def place(path: str, link: str, request: str) -> Place:
    """Describe one place for a restore of that name."""
    if not os.path.isabs(path):
        raise WalgError(f"{path} is not an absolute path.")
    path = os.path.realpath(path)
    mount = os.path.ismount(path)
    if mount:
        room = os.path.join(path, INSIDE)
        return Place(
            path, link, True, os.path.join(room, f"restore-{request}"), os.path.join(room, f"before-{request}")
        )
    return Place(path, link, False, f"{path}.restore-{request}", f"{path}.before-{request}")


def links(data_dir: str) -> dict[str, str]:
    """Return the links of a data directory that lead out of it: link -> real path. Called as its owner."""
    found = {}
    candidates = ["pg_wal"]
    tablespaces = os.path.join(data_dir, "pg_tblspc")
    if os.path.isdir(tablespaces):
        candidates += [f"pg_tblspc/{name}" for name in sorted(os.listdir(tablespaces)) if name.isdigit()]
    for link in candidates:
        path = os.path.join(data_dir, link)
        if os.path.islink(path):
            found[link] = os.path.realpath(path)
    return found


def encode(places: Iterable[Place]) -> list[dict[str, Any]]:
    """Return places as a marker holds them."""
    return [asdict(one) for one in places]


def decode(entries: Iterable[Mapping[str, Any]]) -> list[Place]:
    """Read them back."""
    return [Place(**entry) for entry in entries]


def refuse_overlap(places: Sequence[Place]) -> None:
    """Raise WalgError when one place lies inside another: moving one would move the other."""
    for one in places:
        for other in places:
            if one is not other and f"{other.path}/".startswith(f"{one.path}/"):
                raise WalgError(
                    f"{other.path} ({other.link or 'data directory'}) lies inside {one.path}: not supported; choose another place."
                )


def swap_steps(places: Sequence[Place], old_links: Mapping[str, str], uid: int, gid: int) -> list[Step]:
    """Return the steps that put what lies at ``work`` in place and keep what was there at ``aside``.

    Called as the directories' owner, when the restored cluster is complete and no server runs; looks, changes nothing.
    ``old_links``: the links of the old data directory, which have to follow what they lead to. The data directory's own
    steps come last.
    """
    data = next(one for one in places if not one.link)
    steps: list[Step] = []
    for one in places:
        if one.link:
            steps += [Step("link", one.work, one.path, os.path.join(data.work, one.link))]
            if old_links.get(one.link) == one.path:
                steps += [_old_link(data, one)]
            steps += _exchange(one, uid, gid)
    return [*steps, *_exchange(data, uid, gid)]


def _old_link(data: Place, one: Place) -> Step:
    path = os.path.join(data.path, one.link)
    return Step("link", os.readlink(path), one.aside, path)


def _exchange(one: Place, uid: int, gid: int) -> list[Step]:
    """Old out, new in."""
    there = os.path.lexists(one.path)
    if not one.mount:
        out = [Step("out", one.path, one.aside)] if there else []
        return [*out, Step("in", one.work, one.path)]
    old = sorted((name for name in os.listdir(one.path) if name not in NO_CONTENT), key=lambda name: name != _GATE)
    steps = [Step("make", f"{uid}:{gid}", one.aside)] if old else []
    steps += [Step("out", os.path.join(one.path, name), os.path.join(one.aside, name)) for name in old]
    return steps + _moved_in(one, one.work)


def way_back(places: Sequence[Place], steps: Sequence[Step]) -> list[Step]:
    """Return the steps of a swap as they have to be undone now: a mount point's entries came and went since.

    Called as the directories' owner, before the first is undone, when no server runs.
    """
    found = list(steps)
    for one in places:
        if one.mount:
            found = [step for step in found if step.action != "in" or os.path.dirname(step.target) != one.path]
            found += _moved_in(one, one.path)
    return found


def _moved_in(one: Place, listed: str) -> list[Step]:
    names = sorted((name for name in os.listdir(listed) if name not in NO_CONTENT), key=lambda name: name == _GATE)
    return [Step("in", os.path.join(one.work, name), os.path.join(one.path, name)) for name in names]


def make_work(path: str, uid: int, gid: int) -> None:
    """Make a directory in which something is restored, 0700 and of that owner."""
    if os.path.lexists(path):
        raise WalgError(f"{path} exists; it was to be made.")
    make_directory(path, uid, gid)


def after_fetch(entries: Sequence[Mapping[str, Any]]) -> None:
    """Turn a fetched data directory's links to where its parts lie now. Called as the owner.

    The room that earlier restores had inside a mount point is in the base backup, empty; it is nothing of the cluster.
    Raises WalgError when WAL-G did not put a tablespace where it was told. The tablespace_map that WAL-G up to 2.0.1 restores
    would make PostgreSQL turn the links to the original places, where a live cluster may be.
    """
    places = decode(entries)
    data = places[-1]
    for one in places[:-1]:
        path = os.path.join(data.work, one.link)
        if one.link == "pg_wal":
            _move_out(path, one.work)
        elif not os.path.islink(path) or os.path.realpath(path) != os.path.realpath(one.work):
            raise WalgError(
                f"WAL-G did not restore the tablespace {one.link} to {one.work}: it ignored the restore specification. "
                "Use WAL-G 3.0.8 or newer."
            )
        else:
            os.unlink(path)
            os.symlink(one.work, path)
    room = os.path.join(data.work, INSIDE.split("/", maxsplit=1)[0])
    if os.path.isdir(room):
        shutil.rmtree(room)
    wal_dir = os.path.join(data.work, "pg_wal")
    apart = any(one.link == "pg_wal" for one in places)
    if not apart and (os.path.islink(wal_dir) or not os.path.isdir(wal_dir)):
        # Of a link to a separate WAL directory a base backup has nothing, or the link: a live cluster's WAL may be there.
        if os.path.lexists(wal_dir):
            os.unlink(wal_dir)
        os.mkdir(wal_dir, 0o700)
    stale = os.path.join(data.work, "tablespace_map")
    if os.path.lexists(stale):
        os.unlink(stale)


def _move_out(path: str, target: str) -> None:
    """Move a directory's content elsewhere and leave a link."""
    if os.path.islink(path):
        os.unlink(path)
    elif os.path.isdir(path):
        for name in os.listdir(path):
            shutil.move(os.path.join(path, name), os.path.join(target, name))
        os.rmdir(path)
    os.symlink(target, path)


def clear(path: str, mount: bool, doomed: str) -> None:
    """Remove a place's content; a mount point itself stays, and what is no part of a cluster.

    ``doomed``: the name under which a directory is removed, so that a killed run leaves a whole one or none at its path.
    """
    if not mount:
        if os.path.lexists(doomed):
            shutil.rmtree(doomed)
        if os.path.lexists(path):
            rename_directory(path, doomed)
            shutil.rmtree(doomed)
        return
    if not os.path.lexists(path):
        return
    for name in sorted((name for name in os.listdir(path) if name not in NO_CONTENT), key=lambda name: name != _GATE):
        entry = os.path.join(path, name)
        if os.path.isdir(entry) and not os.path.islink(entry):
            shutil.rmtree(entry)
        else:
            os.unlink(entry)


def remove_empty(path: str) -> None:
    """Remove a directory if it is empty."""
    with contextlib.suppress(OSError):
        os.rmdir(path)
