# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the last restore proved of an archive: when, to which moment, from which base backup. The restore leaves it, the verdict shows it.

How far a restore came is root's to know, and in a directory of root's. This is in the owner's, so that the owner's job can read it too.
Nothing is done on its word: it is the owner's, about the owner's own cluster.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _times
from .._host._files import read_state, write_atomic
from .._host._users import call_as

if TYPE_CHECKING:
    from ._record import Instance

_FORMAT = 1
_SHORT_ZONE = re.compile(r"[+-]\d\d\Z")


@dataclass(frozen=True)
class Restored:
    """``time``: when recovery had reached its target; ``last_commit``: the time of the last commit replayed. Both RFC 3339.

    ``target``: what was asked for, in words; ``last_commit`` is None where the server had no time to be asked.
    """

    time: str
    target: str
    backup: str
    system_identifier: str
    storage: str
    last_commit: str | None = None


def commit_time(text: Any) -> str | None:
    """Return a time as PostgreSQL shows it as RFC 3339; None for what is none."""
    try:
        return _times.text(_times.moment(_SHORT_ZONE.sub(r"\g<0>:00", str(text))))
    except WalgError:
        return None


def write(instance: Instance, restored: Restored) -> None:
    """Leave it, as the cluster's owner. Raises WalgError or OSError."""
    text = json.dumps({"format": _FORMAT, **asdict(restored)}, indent=2, sort_keys=True) + "\n"
    call_as(instance.owner, write_atomic, instance.files.restored, text, 0o644)


def read(instance: Instance, system_identifier: str) -> Restored | None:
    """Return what the last restore from this storage proved of this cluster; None if nothing. Run as the cluster's owner."""
    told = read_state(instance.files.restored)
    names = ("time", "target", "backup", "system_identifier", "storage")
    if told.get("format") != _FORMAT or not all(isinstance(told.get(name), str) for name in names):
        return None
    try:
        _times.moment(told["time"])
    except WalgError:
        return None
    if (told["storage"], told["system_identifier"]) != (instance.storage, system_identifier):
        return None
    return Restored(last_commit=commit_time(told.get("last_commit")), **{name: told[name] for name in names})
