# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mounted where, as the kernel says it: directories, single files, binds of the same device.

os.path.ismount sees none of the last two. What is mounted can't be renamed, and nothing is renamed into it from outside.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TABLE = "/proc/self/mountinfo"
_ESCAPED = re.compile(r"\\([0-7]{3})")


def parse(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and mount point of each line of mountinfo, in its order."""
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) > 4 and fields[0].isdigit():
            # Blanks and the like are escaped, bytes that are no UTF-8 are not.
            yield int(fields[0]), _ESCAPED.sub(lambda match: chr(int(match.group(1), 8)), fields[4])


def at_or_below(path: str) -> list[str]:
    """Return the mount points at a real path and below it, sorted; those that another mount hides are left out."""
    try:
        with open(_TABLE, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read()
    except OSError as exc:
        raise WalgError(f"Cannot read {_TABLE}, which says what is mounted below {path}: {exc.strerror}") from exc
    found = {
        point
        for number, point in parse(text)
        if f"{point}/".startswith(f"{path.rstrip('/')}/") and _seen(number, point)
    }
    return sorted(found)


def refuse(path: str) -> None:
    """Raise WalgError when something is mounted in a directory that is about to be removed: what is there would go as well."""
    points = at_or_below(os.path.realpath(path))
    if points:
        raise WalgError(f"{path} should be removed, but {named(points)} mounted there. Unmount it, then run again.")


def named(points: Iterable[str]) -> str:
    """Return "X is" or "X, Y are", for a message."""
    listed = list(points)
    return f"{', '.join(listed)} {'is' if len(listed) == 1 else 'are'}"


def _seen(number: int, point: str) -> bool:
    """Say whether a path leads to that mount; where it can't be asked, it is treated as seen."""
    try:
        handle = os.open(point, os.O_PATH | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        with open(f"/proc/self/fdinfo/{handle}", encoding="utf-8") as stream:
            told = re.search(r"^mnt_id:\s*(\d+)", stream.read(), re.MULTILINE)
    except OSError:
        return True
    finally:
        os.close(handle)
    return told is None or int(told.group(1)) == number
