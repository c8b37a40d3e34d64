# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the collection's files go: by the filesystem hierarchy standard for root, below the home for others. Private."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ._instance import check_name
from ._process import User

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
_HOME = {
    "bin_dir": ".local/bin",
    "config_dir": ".config/mapswipe-walg",
    "program_dir": ".local/lib/mapswipe-walg",
    "state_dir": ".local/state/mapswipe-walg",
    "log_dir": ".local/state/mapswipe-walg-log",
    "cron_dir": ".config/mapswipe-walg/cron.d",
}


def of_instance(name: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the directories; those of state and log are the instance's own."""
    check_name(name)
    me = User.current()
    defaults = _ROOT if me.uid == 0 else {key: os.path.join(me.home, path) for key, path in _HOME.items()}
    chosen = {key: os.path.normpath(str(given.get(key) or default)) for key, default in defaults.items()}
    for key in ("state_dir", "log_dir"):
        chosen[key] = os.path.join(chosen[key], name)
    return chosen
