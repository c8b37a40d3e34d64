# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layouts of a cluster of which WAL-G takes a base backup that lacks files, or never ends: no base backup is taken of them.

Measured with WAL-G 1.1.3 and 3.0.8, see _fetched. A tablespace's directory that holds the data directory is walked in circles, and
the storage fills up. A plain directory in pg_tblspc (allow_in_place_tablespaces) is backed up like any other.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host._users import User, call_as
from . import _data_dir, _pg_files

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Directories whose content belongs to one run of a server: a restored cluster has them, empty.
_EMPTIED = (
    "pg_dynshmem",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
)
#: Where PostgreSQL's own files lie, and no link but those of tablespaces and of WAL.
_OWN = re.compile(r"^(base|global|pg_(?!wal$|tblspc$|log$).*)$")


def refuse_unrestorable(path: str, owner: User | None) -> None:
    """Raise WalgError where a base backup of the cluster in a data directory could not be restored whole."""
    found = _data_dir.inspect(os.path.realpath(path), owner)
    if found.kind != "cluster":
        return
    spaces = found.tablespaces()
    _refuse_unreadable_names({"data directory": found.path, "WAL directory": found.links.get("pg_wal", "")})
    _refuse_unreadable_names({f"directory of the tablespace with OID {oid}": place for oid, place in spaces.items()})
    for oid, location in spaces.items():
        others = {f"the tablespace {other}": there for other, there in spaces.items() if other != oid}
        _refuse_nested(oid, location, found.path, found.links.get("pg_wal", ""), others)
    behind = call_as(owner, _indirect, found.path)
    if behind:
        link, target, real = behind[0]
        why = "is a symbolic link itself" if os.path.isabs(target) else "is a relative path"
        raise WalgError(
            f"{os.path.join(found.path, link)} leads to {target}, which {why}. WAL-G does not follow it, so a "
            f"base backup lacks that tablespace, and none is taken. Stop the server, let the first link lead to {real} (ln -sfn), start "
            "the server, and run again.",
            found=target,
            wanted=real,
        )
    auto_conf = os.path.join(found.path, _pg_files.AUTO)
    if call_as(owner, os.path.islink, auto_conf):
        raise WalgError(
            f"{auto_conf} is a symbolic link. WAL-G does not follow it, so a base backup lacks what ALTER SYSTEM has set, and none is "
            "taken. Replace the link by the file that it leads to, as the next ALTER SYSTEM would; the server needs no restart.",
            found=auto_conf,
        )
    own = [os.path.join(location, found.own_entry) for location in spaces.values()]
    links = call_as(owner, _stray_links, found.path, own)
    if links:
        raise WalgError(
            f"These symbolic links are among PostgreSQL's own files: {', '.join(links[:5])}. WAL-G does not follow them, so a base backup "
            "lacks what they lead to, and none is taken. Stop the server, and replace each by the file or directory that it leads to; to "
            "keep tables on another disk, use a tablespace.",
            found=links[:100],
        )


def _refuse_unreadable_names(places: Mapping[str, str]) -> None:
    """Raise WalgError for a directory whose name can't be written down as text, and so not named for a restore."""
    for what, path in places.items():
        if not path.isprintable():
            raise WalgError(
                f"The name of the {what}, {path!r}, has a control character or is not UTF-8. It can't be recorded in a base backup, so "
                "none is taken. Rename the directory while the server is stopped (a tablespace: and let its link in pg_tblspc lead there), "
                "and run again.",
                found=repr(path),
            )


def _indirect(data_dir: str) -> list[tuple[str, str, str]]:
    """Return the tablespaces whose link does not name the directory itself, by its full path: link, what it names, where that is."""
    folder, found = os.path.join(data_dir, "pg_tblspc"), []
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        target = os.readlink(path) if os.path.islink(path) else ""
        if target and (not os.path.isabs(target) or os.path.islink(target.rstrip("/"))):
            found.append((f"pg_tblspc/{name}", target, os.path.realpath(path)))
    return found


def _stray_links(data_dir: str, spaces: list[str]) -> list[str]:
    return stray_links(data_dir, [path for path in spaces if os.path.isdir(path)])


def _refuse_nested(oid: str, location: str, data_dir: str, wal_dir: str, others: dict[str, str]) -> None:
    outer = {"the data directory": data_dir, **others, **({"the WAL directory": wal_dir} if wal_dir else {})}
    for name, path in outer.items():
        if _data_dir.within(location, path):
            raise _nested(f"The tablespace with OID {oid} is at {location}, inside {path} ({name})")
    for name, path in (("data directory", data_dir), ("WAL directory", wal_dir)):
        if path and _data_dir.within(path, location):
            raise _nested(f"The {name} {path} is inside {location}, the directory of the tablespace with OID {oid}")


def _nested(what: str) -> WalgError:
    return WalgError(
        f"{what}: WAL-G puts such files where a restore does not find them, so no base backup is taken. Make a tablespace in a directory "
        "of its own, outside of the others (CREATE TABLESPACE), move what is in this one there (ALTER TABLE ALL IN TABLESPACE, ALTER INDEX "
        "ALL IN TABLESPACE, ALTER DATABASE, each with SET TABLESPACE), drop this one, and run again."
    )


def stray_links(data_dir: str, spaces: Sequence[str]) -> list[str]:
    """Return the symbolic links among PostgreSQL's own files, where WAL-G loses what they lead to. Called as the owner.

    ``spaces``: the cluster's own directories in its tablespaces.
    """
    tops = [entry for entry in os.scandir(data_dir) if _OWN.match(entry.name) and entry.name not in _EMPTIED]
    found = [entry.path for entry in tops if entry.is_symlink() and not entry.name.endswith(".conf")]
    for top in [*(entry.path for entry in tops if entry.is_dir(follow_symlinks=False)), *spaces]:
        found += _links_below(top)
    return sorted(found)


def _links_below(top: str) -> Iterator[str]:
    stack = [top]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    yield entry.path
                elif entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
