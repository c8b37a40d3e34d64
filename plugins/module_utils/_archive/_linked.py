# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Symbolic links in a data directory that lead to what is not data: a configuration kept elsewhere, logs, statistics in memory.

WAL-G brings none of them back. Measured with 1.1.3 and 3.0.8: a link NAME comes back leading to /NAME, and one of the names whose
content a base backup leaves out (log, pg_stat_tmp) does not come back at all. So each base backup records them, and a restored
directory gets them right before it is put in place: until then they lead to what a running server uses.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host._users import call_as
from .._postgres._pg_files import AUTO
from .._walg import _backups

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._host._users import User
    from .._postgres._data_dir import DataDir
    from .._walg._backups import Backup

#: The cluster's data, whose places are planned elsewhere.
DATA = (
    *(
        "base",
        "global",
        "pg_commit_ts",
        "pg_dynshmem",
        "pg_logical",
        "pg_multixact",
        "pg_notify",
        "pg_replslot",
        "pg_serial",
    ),
    *("pg_snapshots", "pg_stat", "pg_subtrans", "pg_tblspc", "pg_twophase", "pg_wal", "pg_xact"),
)
#: What PostgreSQL or a restore writes again, and our own room in a mount point.
_WRITTEN = (
    *(
        "postgresql.auto.conf",
        "recovery.conf",
        "recovery.done",
        "recovery.signal",
        "standby.signal",
        "backup_label",
        "tablespace_map",
    ),
    *("postmaster.pid", "postmaster.opts", ".mapswipe-walg", "lost+found"),
)
LEADING, DEAD = "links", "dead_links"  # as a base backup records them: those that lead somewhere, and those that don't
#: Directories that PostgreSQL fills again: what a recovery left in them is of no use.
_PASSING = ("pg_stat_tmp", "log", "pg_log")


def found(data_dir: str, leading: bool = True) -> dict[str, str]:
    """Return the links of a data directory that lead somewhere, or those that don't, path in it -> target as it is written.

    Called as the owner.
    """
    links: dict[str, str] = {}
    for folder, folders, files in os.walk(data_dir):
        inside = os.path.relpath(folder, data_dir)
        if inside == ".":
            inside = ""
            folders[:] = [name for name in folders if name not in (*DATA, *_WRITTEN)]
        for name in sorted([*folders, *files]):
            path, key = os.path.join(folder, name), os.path.join(inside, name)
            if _ours(key) and os.path.islink(path) and os.path.exists(path) is leading:
                links[key] = os.readlink(path)
    return links


def _ours(key: str) -> bool:
    parts = key.split("/")
    plain = key.isprintable() and not os.path.isabs(key) and ".." not in parts and "" not in parts
    return plain and parts[0] not in (*DATA, *_WRITTEN)


def planned(user: User, backup: Backup, old: DataDir, data_dir: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the links that the restored directory will have. Raises WalgError where one would lead nowhere on this host.

    ``old``: the cluster that is there, asked where the base backup records nothing; ``wanted``: what the user says, without a
    target to leave a link out.
    """
    links, dead = recorded(backup), recorded(backup, DEAD) or {}
    if links is None:
        same = old.kind == "cluster" and old.system_identifier == str(backup.system_identifier)
        links, dead = (call_as(user, found, old.path, leading) if same else {} for leading in (True, False))
    refuse_unfit(wanted)
    links = {**links, **wanted}
    missing = call_as(user, _leading_nowhere, links, data_dir)
    if missing:
        shown = ", ".join(f"{name} -> {links[name]}" for name in missing)
        raise WalgError(
            f"The data directory had symbolic links to what is not in the base backup {backup.name} and not on this host: {shown}. Put "
            f"that there (a copy, or a new file), or set where it is with walg_restore_links ({missing[0]}: /path; an "
            "empty path leaves the link out).",
            found=missing,
        )
    return {**{name: target for name, target in dead.items() if name not in links}, **links}


def recorded(backup: Backup, key: str = LEADING) -> dict[str, str] | None:
    """Return the links that a base backup records; None for one of another tool, or of an older version of this one."""
    told = _backups.recorded(backup).get(key)
    if not isinstance(told, dict):
        return None
    return {str(name): str(target) for name, target in told.items() if _ours(str(name)) and target}


def refuse_unfit(wanted: Mapping[str, str]) -> None:
    """Raise WalgError for a name that is none of a link in a data directory."""
    for name in wanted:
        if not _ours(name):
            raise WalgError(
                f"walg_restore_links names {name!r}; expected the path of a link in the data directory that leads to no data, such as "
                "postgresql.conf."
            )


def _leading_nowhere(links: Mapping[str, str], data_dir: str) -> list[str]:
    inside = os.path.join(data_dir, "")
    paths = {
        name: os.path.normpath(os.path.join(data_dir, os.path.dirname(name), target))
        for name, target in links.items()
        if target
    }
    return sorted(name for name, path in paths.items() if not path.startswith(inside) and not os.path.exists(path))


def after_fetch(work: str) -> None:
    """Make the directory for statistics where a link stood for it; a link would lead to a running server's. Called as the owner."""
    path = os.path.join(work, "pg_stat_tmp")
    if os.path.islink(path):
        os.unlink(path)
    if not os.path.isdir(path):
        os.mkdir(path, 0o700)


def lay(work: str, links: Mapping[str, str]) -> None:
    """Give a restored directory its links. Called as the owner; done again, it changes nothing."""
    for name, target in links.items():
        path = os.path.join(work, name)
        if not target or (os.path.islink(path) and os.readlink(path) == target):
            continue
        if os.path.islink(path):
            os.unlink(path)
        elif os.path.isdir(path):
            shutil.rmtree(path) if name in _PASSING else os.rmdir(path)
        elif os.path.lexists(path):
            raise WalgError(
                f"{path} should be a symbolic link to {target}, and is a file. Move it away, and run the same request again."
            )
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        os.symlink(target, path)


def refuse_lost_settings(work: str) -> None:
    """Raise WalgError where postgresql.auto.conf was a link: the base backup lacks its content. Called as the owner."""
    path = os.path.join(work, AUTO)
    if os.path.islink(path):
        raise WalgError(
            f"The base backup lacks what ALTER SYSTEM had set: {AUTO} was a symbolic link when it was taken. Put that file in the place of "
            f"{path} (an empty one if you don't need its settings), and run the same request again.",
            found=path,
        )


def lost(work: str) -> list[str]:
    """Return the links that came back from WAL-G without their targets. Called as the owner."""
    names: list[Any] = []
    for folder, folders, files in os.walk(work):
        inside = os.path.relpath(folder, work)
        if inside == ".":
            inside = ""
            folders[:] = [name for name in folders if name not in DATA]
        for name in [*folders, *files]:
            path, key = os.path.join(folder, name), os.path.join(inside, name)
            if os.path.islink(path) and os.readlink(path) == f"/{key}":
                names.append(key)
    return sorted(names)
