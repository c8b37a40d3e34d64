# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on page checksums: which blocks WAL-G found corrupt while it took a base backup, from its log (the same line from 1.1.3 to 3.0.9).

A page that is written meanwhile may look torn, so what is found is reported, and no backup fails for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What makes WAL-G say it, whatever the settings are.
ENVIRONMENT = {"WALG_LOG_LEVEL": "NORMAL", "WALG_LOG_DESTINATION": "stderr"}
_LINE = re.compile(r"Corruption found in (?P<path>\S.*)/\[(?P<block>\d+)\], expected ")
_NAMED = 5  # files in a message


def found(log: str, data_dir: str) -> dict[str, int]:
    """Return how many corrupt blocks each file has, by its path below the data directory."""
    blocks: dict[str, set[str]] = {}
    for match in _LINE.finditer(log):
        path = match["path"]
        if path.startswith(f"{data_dir}/"):
            path = path[len(data_dir) + 1 :]
        blocks.setdefault(path.lstrip("/"), set()).add(match["block"])
    return {path: len(numbers) for path, numbers in sorted(blocks.items())}


def told(blocks: Mapping[str, int]) -> str:
    """Return a sentence on corrupt blocks, "" if there are none."""
    if not blocks:
        return ""
    files = ", ".join(f"{path} ({count})" for path, count in list(blocks.items())[:_NAMED])
    more = f" and {len(blocks) - _NAMED} more files" if len(blocks) > _NAMED else ""
    return (
        f"{sum(blocks.values())} blocks have wrong page checksums: {files}{more}. Find out what they belong to (pg_filenode_relation), and "
        "restore or rebuild that from a base backup without them; the last one without is kept."
    )
