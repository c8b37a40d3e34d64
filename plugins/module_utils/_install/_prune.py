# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: old versions of WAL-G go, but for some; never one that is used, or that is not ours."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass

from .._errors import WalgError
from .._host._users import User
from .._instance._record import record_path
from . import _installed

#: Seconds after which an unfinished file belongs to no run any more.
_STALE = 24 * 3600


@dataclass(frozen=True)
class PrunePlan:
    """``removed``: binaries that go; ``forgotten``: names whose file is gone or somebody else's; ``stale``: remains of dead runs."""

    record: _installed.Installed
    removed: list[str]
    forgotten: list[str]
    stale: list[str]
    unreadable: list[str]

    @property
    def changed(self) -> bool:
        return bool(self.removed or self.forgotten or self.stale)

    def warning(self) -> str:
        """Say why nothing goes, where it can't be told what is used."""
        return f"No version of WAL-G is removed: what these instances use can't be read: {', '.join(self.unreadable)}."

    def diff(self) -> dict[str, str]:
        """The files that go."""
        return {"before": "".join(f"{path}\n" for path in [*self.removed, *self.stale]), "after": ""}


def plan(path: str, keep: int, config_dir: str, instance: str) -> PrunePlan:
    """Choose what goes beside ``path``, the binary of this instance. ``keep``: how many that nobody uses stay, the newest."""
    directory = os.path.dirname(path)
    record = _installed.load(directory)
    ours = [one for one in record.others(path) if _installed.ours(record, one)]
    forgotten = [os.path.basename(one) for one in record.others(path) if one not in ours]
    directories = dict.fromkeys([*record.config_dirs, config_dir])
    used, users, unreadable = _installed.recorded_use(directories, record_path(config_dir, instance))
    used |= _installed.running(_uids(users))
    unused = [one for one in ours if os.path.realpath(one) not in used]
    removed = [] if unreadable else unused[: max(len(unused) - keep, 0)]
    return PrunePlan(record, removed, forgotten, _installed.unfinished(directory, time.time() - _STALE), unreadable)


def apply(made: PrunePlan) -> None:
    """Remove the files, then forget them."""
    try:
        for path in [*made.removed, *made.stale]:
            _installed.remove(path)
    except OSError as exc:
        raise WalgError(f"Cannot remove {exc.filename}: {exc.strerror}") from exc
    for name in [*map(os.path.basename, made.removed), *made.forgotten]:
        made.record.binaries.pop(name)
    if made.removed or made.forgotten:
        made.record.save()


def _uids(names: set[str]) -> set[int]:
    """Return the numbers of users whose processes count: ours, root's, and those of the instances."""
    found = {0, os.geteuid()}
    for name in names:
        with contextlib.suppress(WalgError):
            found.add(User.by_name(name).uid)
    return found
