# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that the wrappers run beside WAL-G. Every Debian has them, but a container's image may lack some."""

from __future__ import annotations

import os
import shutil

from .._errors import WalgError
from .._host import _inside

_NEEDED = ("date", "env", "mv", "od", "rm", "sh", "sleep", "timeout")
_PLACES = ("/usr/local/bin", "/usr/bin", "/bin")  # the wrappers look there, too, whatever the server's PATH is


def refuse_missing() -> None:
    """Raise WalgError if a program is missing without which no segment would be archived or fetched."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), *_PLACES])
    missing = [name for name in _NEEDED if shutil.which(name, path=places) is None]
    if missing:
        where, how = ("container", "Use an image with") if _inside.current() else ("host", "Install")
        raise WalgError(
            f"This {where} has no {', '.join(missing)}, which wal-push and wal-fetch run for each segment. {how} GNU coreutils or busybox.",
            found=missing,
        )
