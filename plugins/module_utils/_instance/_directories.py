# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the collection's files go: by the filesystem hierarchy standard for root, below the home for others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .._host import _trust
from .._host._users import User
from ._record import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROOT = {
    "bin_dir": "/usr/local/bin",
    "config_dir": "/etc/mapswipe-walg",
    "program_dir": "/usr/local/lib/mapswipe-walg",
    "state_dir": "/var/lib/mapswipe-walg",
    "log_dir": "/var/log/mapswipe-walg",
    "cron_dir": "/etc/cron.d",
}
_OWN = ("state_dir", "log_dir")
_HOME = {
    "bin_dir": ".local/bin",
    "config_dir": ".config/mapswipe-walg",
    "program_dir": ".local/lib/mapswipe-walg",
    "state_dir": ".local/state/mapswipe-walg",
    "log_dir": ".local/state/mapswipe-walg-log",
    "cron_dir": ".config/mapswipe-walg/cron.d",
}


def of_instance(name: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the directories; those of state and log are the instance's own. Raises WalgError for a relative one."""
    check_name(name)
    me = User.current()
    defaults = _ROOT if me.uid == 0 else {key: os.path.join(me.home, path) for key, path in _HOME.items()}
    chosen = {key: os.path.normpath(str(given.get(key) or default)) for key, default in defaults.items()}
    for key, path in chosen.items():
        _trust.refuse_unplain(path, f"walg_{key}")
    for key in _OWN:
        chosen[key] = os.path.join(chosen[key], name)
    return chosen


def refuse_loose(chosen: Mapping[str, str]) -> None:
    """Raise WalgError if root would keep something where others can exchange it, with the component that they can change.

    The instance's own directories of state and log belong to the cluster's owner; those above them do not.
    """
    for key in _ROOT:
        if chosen.get(key):
            path = os.path.dirname(chosen[key]) if key in _OWN else chosen[key]
            _trust.refuse_loose(path, f"walg_{key}")
