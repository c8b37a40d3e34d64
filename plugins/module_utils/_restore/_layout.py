# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a cluster's files lie: data directory, separate WAL directory, tablespaces; and how a restored one takes their place.

What is restored lies beside each of these places until the swap, and what was there is kept beside it afterwards. Of a
tablespace's directory only the cluster's own entry moves (PG_14_202107181): the rest may be another cluster's, or anybody's. A
place that is mounted can't be renamed: there "beside" is a directory inside it, and its entries are moved one by one. So it is
with a data directory in which something else is mounted; that stays where it is, as does a directory that its owner can't move.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _mounts
from .._host._users import User, call_as
from .._postgres import _data_dir
from ._journal import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Where things lie inside a mount point. Base backups leave out what is below a directory of this name (WAL-G and
#: pg_basebackup alike), so that an old cluster kept here is not backed up with the new one.
INSIDE = ".mapswipe-walg/pgsql_tmp"
#: Without this file PostgreSQL does not start: it goes first and comes last, so that a half-swapped directory stays down.
_GATE = "PG_VERSION"
_WAL = "pg_wal"
_IN_WAL = ("archive_status", "summaries")
_NAMED = 5  # paths, in a message


@dataclass(frozen=True)
class Location:
    """A directory of a cluster.

    ``link``: the name in the data directory that leads here (pg_wal, pg_tblspc/OID); empty: the data directory itself.
    ``mount``: its entries are moved one by one, within it. ``stays``: mount points below it, relative to it, and directories in it
    that can't be moved so.
    """

    path: str
    link: str
    mount: bool
    work: str
    aside: str
    stays: Sequence[str] = ()

    @property
    def parent(self) -> str:
        """The directory in which ``work`` and ``aside`` lie, or which holds that room."""
        return self.path if self.mount else os.path.dirname(self.path)

    @property
    def tablespace(self) -> bool:
        """Only the cluster's own entry is moved."""
        return self.link.startswith("pg_tblspc/")

    def inside(self, data: str) -> bool:
        """Say whether it is no link, but a file system mounted in the data directory at that name."""
        return bool(self.link) and self.path == os.path.join(data, self.link)

    def used_by(self, data: str, links_: Mapping[str, str]) -> bool:
        """Say whether a cluster uses it: a data directory with these links."""
        return not self.link or links_.get(self.link) == self.path or self.inside(data)

    def moved(self) -> str:
        """What is moved: the path, or what the names of a tablespace's entries begin with."""
        return os.path.join(self.path, "PG_") if self.tablespace else f"{self.path}/"


def place(path: str, link: str, request: str) -> Location:
    """Describe one place for a restore of that name."""
    if not os.path.isabs(path):
        raise WalgError(f"{path} is not an absolute path.")
    path = os.path.realpath(path)
    points = _mounts.at_or_below(path)
    stays = tuple(os.path.relpath(point, path) for point in points if point != path)
    if path in points or _other_device(path) or (stays and not link):
        if not link.startswith("pg_tblspc/"):
            stays = tuple(sorted({*stays, *_unmovable(path)}))
        room = os.path.join(path, INSIDE)
        beside = os.path.join(room, f"restore-{request}"), os.path.join(room, f"before-{request}")
        return Location(path, link, True, *beside, stays)
    return Location(path, link, False, f"{path}.restore-{request}", f"{path}.before-{request}", stays)


def _unmovable(path: str) -> list[str]:
    """Return the directories in a mounted one that its owner can't move one by one: root's, or a storage's snapshots."""
    if not os.path.isdir(path):
        return []
    owner = User.by_uid(os.stat(path).st_uid) if os.geteuid() == 0 else None
    return list(call_as(owner, _data_dir._read_only, path))


def _other_device(path: str) -> bool:
    """Say whether a directory is a volume of its own that nobody mounted (btrfs): nothing is renamed across its border."""
    try:
        return os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev
    except OSError:
        return False


def refuse_mounts(one: Location, major: int) -> None:
    """Raise WalgError where something is mounted inside a place that has to move with it, or can't be moved out of it.

    ``major``: PostgreSQL's; entries of other versions in a tablespace's directory are not touched.
    """
    mounted = _mounts.at_or_below(one.path)
    for stays in one.stays:
        point = os.path.join(one.path, stays)
        if _may_stay(one, stays, major, mounted=point in mounted):
            continue
        where, lies = f"{one.path} ({one.link or 'data directory'})", "is in"
        if point in mounted:
            what = (
                "a restore can't move what is mounted. Stop the server, copy what is there into a plain directory in its place and "
                "unmount it"
            )
            lies = "is mounted inside"
        else:
            what = "its owner may not write to it, so a restore can't move it. Give it back to the owner of the cluster"
        raise WalgError(
            f"{point} {lies} {where}, and {what}; or restore into another directory "
            "(walg_pg_data_dir, walg_restore_tablespaces, walg_restore_wal_dir). Nothing was changed.",
            found=point,
        )


def _may_stay(one: Location, stays: str, major: int, *, mounted: bool) -> bool:
    """Say whether what can't be moved is nothing that a restore replaces."""
    top, _slash, deeper = stays.partition("/")
    if one.tablespace:
        return not _data_dir.is_entry(top, major) and top != INSIDE.split("/", maxsplit=1)[0]  # somebody else's
    if one.link:
        return not mounted and top not in _IN_WAL
    return (stays == _WAL and mounted) or (
        not (deeper or _data_dir._REPLACED.match(top)) and top not in _data_dir.NO_CONTENT
    )


def refuse_changed_mounts(places: Sequence[Location], request: str) -> None:
    """Raise WalgError when something was mounted or unmounted since the restore was planned."""
    for one in places:
        now = place(one.path, one.link, request)
        if (now.mount, tuple(now.stays)) != (one.mount, tuple(one.stays)):
            there = ", ".join([*([one.path] if one.mount else []), *one.stays]) or "nothing"
            here = ", ".join([*([now.path] if now.mount else []), *now.stays]) or "nothing"
            raise WalgError(
                f"What is mounted at {one.path} ({one.link or 'data directory'}) has changed since the restore {request!r} was planned: "
                f"it was {there}, now it is {here}. Nothing was moved. Mount as it was and run again; or remove what was restored "
                "(walg_restore_discard: true) and ask for a new restore."
            )


def encode(places: Iterable[Location]) -> list[dict[str, Any]]:
    """Return places as JSON holds them."""
    return [{**asdict(one), "stays": list(one.stays)} for one in places]


def decode(entries: Iterable[Mapping[str, Any]]) -> list[Location]:
    """Read them back."""
    return [Location(**{**entry, "stays": tuple(entry.get("stays") or ())}) for entry in entries]


def refuse_overlap(places: Sequence[Location]) -> None:
    """Raise WalgError when one place is inside another: moving one would move the other."""
    data = places[-1]
    for one in places:
        for other in places:
            inner = other.inside(data.path) and one is data
            if one is not other and not inner and _covers(one, other):
                raise WalgError(
                    f"{other.path} ({other.link or 'data directory'}) is inside {one.path} ({one.link or 'data directory'}), and moving "
                    f"one would move the other. Choose another place: {_option(other if other.link else one)}."
                )


def _covers(one: Location, other: Location) -> bool:
    return other.moved().startswith(one.moved()) or other.path == one.path


def _option(one: Location) -> str:
    name = f"walg_restore_tablespaces: {{{one.path}: /another/directory}}" if one.tablespace else "walg_restore_wal_dir"
    return name if one.link else "walg_pg_data_dir"


def swap_steps(places: Sequence[Location], old_links: Mapping[str, str], uid: int, gid: int) -> list[Step]:
    """Return the steps that put what is at ``work`` in place and keep what was there at ``aside``.

    Called as the directories' owner, when the restored cluster is complete and no server runs; looks, changes nothing.
    ``old_links``: the links of the old data directory, which have to follow what they lead to. The data directory's own
    steps come last; around what is mounted in it, so that nothing can start there meanwhile.
    """
    data = next(one for one in places if not one.link)
    owner = f"{uid}:{gid}"
    steps: list[Step] = []
    inner: list[Step] = []
    for one in places:
        if one.inside(data.path):
            inner += _inner(data, one, owner)
        elif one.link:
            steps += [Step("link", one.work, one.path, os.path.join(data.work, one.link))]
            if old_links.get(one.link) == one.path:
                steps += [_old_link(data, one)]
            steps += (
                _entry_exchanged(one, _data_dir.own_entry(data.work), old_links, owner)
                if one.tablespace
                else _exchange(one, owner)
            )
    return [*steps, *_out(data, owner), *inner, *_in(data)]


def _old_link(data: Location, one: Location) -> Step:
    path = os.path.join(data.path, one.link)
    return Step("link", os.readlink(path), one.aside, path)


def _inner(data: Location, one: Location, owner: str) -> list[Step]:
    """A file system in the data directory keeps its place; the old data directory is led to what lay on it."""
    out = _out(one, owner)
    lead = [Step("lead", one.aside, os.path.join(data.aside, one.link))] if out and _leaving(data) else []
    return [*out, *lead, *_in(one)]


def _entry_exchanged(one: Location, entry: str, old_links: Mapping[str, str], owner: str) -> list[Step]:
    """Of a tablespace's directory the cluster's own entry, and nothing else. The directory itself may be gone."""
    there = os.path.join(one.path, entry)
    steps = [] if os.path.isdir(one.path) else [Step("make", owner, one.path)]
    if os.path.lexists(there):
        if old_links.get(one.link) != one.path:
            raise WalgError(
                f"{there} has come into the way of the tablespace {one.link}: it may be another cluster's. Move it away, then run again."
            )
        steps = [Step("make", owner, one.aside), Step("out", there, os.path.join(one.aside, entry))]
    return [*steps, Step("in", os.path.join(one.work, entry), there)]


def _exchange(one: Location, owner: str) -> list[Step]:
    return [*_out(one, owner), *_in(one)]


def _out(one: Location, owner: str) -> list[Step]:
    if not one.mount:
        return [Step("out", one.path, one.aside)] if os.path.lexists(one.path) else []
    old = sorted(_leaving(one), key=lambda name: name != _GATE)
    steps = [Step("make", owner, one.aside)] if old else []
    return steps + [Step("out", os.path.join(one.path, name), os.path.join(one.aside, name)) for name in old]


def _in(one: Location) -> list[Step]:
    return _moved_in(one, one.work) if one.mount else [Step("in", one.work, one.path)]


def _leaving(one: Location) -> list[str]:
    """Return the entries of a place that are moved one by one."""
    return [name for name in os.listdir(one.path) if name not in _data_dir.NO_CONTENT and name not in one.stays]


def way_back(places: Sequence[Location], steps: Sequence[Step]) -> list[Step]:
    """Return the steps of a swap as they must be undone now: a mount point's entries came and went since, and what was put in
    place may have been lost again.

    Called as the directories' owner, before the first is undone, when no server runs.
    """
    found = [step for step in steps if step.action != "in" or _either(step)]
    for one in places:
        if one.mount and not one.tablespace:
            found = [step for step in found if step.action != "in" or os.path.dirname(step.target) != one.path]
            found += _moved_in(one, one.path)
    data = next(one for one in places if not one.link)
    return [step for step in found if step.action != "link" or _link_there(step, data)]


def _either(step: Step) -> bool:
    return os.path.lexists(step.source) or os.path.lexists(step.target)


def _link_there(step: Step, data: Location) -> bool:
    """Say whether a link that was turned is still there; those of the restored data directory lie in its place now."""
    if not _data_dir.within(step.path, data.work):
        return True
    return os.path.lexists(step.path) or os.path.lexists(os.path.join(data.path, os.path.relpath(step.path, data.work)))


def _moved_in(one: Location, listed: str) -> list[Step]:
    names = [name for name in os.listdir(listed) if name not in _data_dir.NO_CONTENT and name not in one.stays]
    names.sort(key=lambda name: name == _GATE)
    return [Step("in", os.path.join(one.work, name), os.path.join(one.path, name)) for name in names]


def needs_work(one: Location, steps: Iterable[Step]) -> bool:
    """Say whether undoing these steps moves something into a directory that was removed when it was empty."""
    return any(step.action == "in" and os.path.dirname(step.source) == one.work for step in steps)


def refuse_incomplete(places: Sequence[Location]) -> None:
    """Raise WalgError unless each part of a recovered cluster is where its data directory says. Called as the owner."""
    data = places[-1]
    for one in places[:-1]:
        link = os.path.join(data.work, one.link)
        there = os.path.join(one.work, _data_dir.own_entry(data.work)) if one.tablespace else one.work
        if not os.path.islink(link) or os.path.realpath(link) != os.path.realpath(one.work) or not os.path.isdir(there):
            raise WalgError(
                f"The recovered cluster in {data.work} is not whole: {link} should lead to {one.work}, with {there} in it. Nothing was "
                f"moved. Restore again with a new walg_restore_request.",
                found=os.path.realpath(link),
                wanted=there,
            )


def clear_mounted(one: Location) -> None:
    """Remove the old cluster's entries of a place that is mounted; what is mounted in it stays. Called as the owner."""
    for name in sorted(_leaving(one), key=lambda name: name != _GATE):
        remove(os.path.join(one.path, name))


def unremovable(one: Location, own: str) -> list[str]:
    """Return what `clear` could not remove: directories with something in them that are not ours to change."""
    if one.tablespace:
        tops = [os.path.join(one.path, own)]
    else:
        tops = [os.path.join(one.path, name) for name in _leaving(one)] if one.mount else [one.path]
    found: list[str] = []
    for top in (top for top in tops if os.path.isdir(top) and not os.path.islink(top)):
        for folder, folders, files in os.walk(top, onerror=lambda exc: found.append(str(exc.filename))):
            if (folders or files) and not os.access(folder, os.W_OK | os.X_OK):
                found.append(folder)
    return sorted(found)[:_NAMED]


def remove(path: str) -> None:
    """Remove a file, a link or a directory with what is in it, if it exists; not what is mounted there."""
    if os.path.isdir(path) and not os.path.islink(path):
        _mounts.refuse(path)
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def empty(path: str) -> None:
    """Remove what is in a directory; not what is mounted there. Called as the owner."""
    _mounts.refuse(path)
    for name in os.listdir(path):
        remove(os.path.join(path, name))


def clear_work(one: Location) -> None:
    """After the swap, remove what could not be put in place since that is mounted there. Called as the owner."""
    for name in one.stays if one.mount else ():
        remove(os.path.join(one.work, name))
