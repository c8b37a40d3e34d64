# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which places root lets a restore use. Links in a data directory and records in the storage name places; others can write both.

- What is there already is a real directory of the cluster's owner, whoever names it. So / and what root has mounted are out.
- Unless the play names it, all parents of a place belong to root or the owner, and nobody else can write them.
- Where the owner can't write into the parent, root would have to: the parent must be root's all the way up, and a place that does
  not exist yet must be named by the play.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _moves, _trust
from .._host._files import first_existing_parent
from .._host._users import call_as

if TYPE_CHECKING:
    from .._host._users import User
    from .._instance._record import Instance
    from ._layout import Location

_MADE_BY_HAND = "install -d -m 0700 -o"


def refuse(instance: Instance, one: Location, named: str) -> None:
    """Raise WalgError where root may not let a restore use a place. ``named``: as the play names it, "" if it does not."""
    owner = instance.owner
    if not _moves.for_another(owner.uid):
        return
    what = f"{one.path} ({one.link or 'data directory'})"
    _trust.refuse_unplain(one.path, "A place of the restored cluster")
    there = os.path.lexists(one.path)
    if there:
        _refuse_not_owned(one, what, owner)
    _refuse_ours(instance, one, what)
    if not named:
        _refuse_shared(one, what, owner)
    above = first_existing_parent(os.path.dirname(one.path))
    if one.mount or call_as(owner, _moves.can_write, above):
        return
    if not there and not named:
        raise WalgError(
            f"{what} does not exist, and {owner.name!r} can't make it: {above} is not that user's to write. The play does not name this "
            "place; a link in the data directory or a record in the storage does, and root makes nothing on their word. Make it "
            f"({_MADE_BY_HAND} {owner.name} {one.path}), or name it: {_option(one)}.",
            found=one.path,
        )
    for path in [os.path.dirname(one.path), *([os.path.dirname(named)] if named else [])]:
        _refuse_loose(path, what, owner)


def _refuse_ours(instance: Instance, one: Location, what: str) -> None:
    for path in (instance.state_dir, instance.log_dir, instance.config_dir, instance.program_dir):
        if f"{one.path}/".startswith(f"{path}/") or f"{path}/".startswith(f"{one.path.rstrip('/')}/"):
            raise WalgError(
                f"{what} overlaps {path}, where this collection keeps its own files. {_elsewhere(one)}", found=one.path
            )


def _refuse_not_owned(one: Location, what: str, owner: User) -> None:
    found = os.lstat(one.path)
    if stat.S_ISDIR(found.st_mode) and found.st_uid == owner.uid and one.path != "/":
        return
    is_ = f"belongs to user {found.st_uid}" if stat.S_ISDIR(found.st_mode) else "is no directory"
    mounted = " It is mounted; no option makes root use a file system that is not that user's." if one.mount else ""
    raise WalgError(
        f"{what} {is_}: a restore moves and fills only directories of the cluster's owner {owner.name!r}, whoever names them."
        f"{mounted} Nothing was changed. If it is that user's, give it to them (chown {owner.name} {one.path}). {_elsewhere(one)}",
        found=found.st_uid,
        wanted=owner.uid,
    )


def _refuse_shared(one: Location, what: str, owner: User) -> None:
    try:
        _trust.refuse_exchangeable(one.path, what, owner.uid)
    except _trust.LooseError as exc:
        raise WalgError(
            f"{exc.msg} The play does not name this place; a link in the data directory or a record in the storage does, and these count "
            f"only below directories of root and of {owner.name!r} that nobody else can write to. {_elsewhere(one)}",
            **exc.fields,
        ) from exc


def _refuse_loose(path: str, what: str, owner: User) -> None:
    try:
        _trust.refuse_loose(path, what)
    except _trust.LooseError as exc:
        raise WalgError(
            f"{exc.msg} (Here {owner.name!r} can't write into {path}, so root would have to.)", **exc.fields
        ) from exc


def _elsewhere(one: Location) -> str:
    return f"Or choose another place: {_option(one)}."


def _option(one: Location) -> str:
    """Return the option that names the place, with the place as its value."""
    if not one.link:
        return f"walg_pg_data_dir: {one.path}"
    if one.tablespace:
        return f'walg_restore_tablespaces: {{"{one.link.rpartition("/")[2]}": {one.path}}}'
    return f"walg_restore_wal_dir: {one.path}"
