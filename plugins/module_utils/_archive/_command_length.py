# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on commands that PostgreSQL cuts off without a word, and then runs: the path of the segment may be what is lost.

Measured with PostgreSQL 10 to 15: 1,023 bytes of archive_command are run, with %p in its place, and so many of restore_command
up to 12. Later versions run the whole.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIMIT = 1023  # bytes: MAXPGPATH, without the end of the string
_FILE = 40  # the longest name of a file that is archived: 000000010000000000000001.00000028.backup
_SEGMENT = 24
#: The last major version that cuts a command off, and the longest texts that it puts into it.
_ARCHIVE: tuple[int, dict[str, int]] = (15, {"p": len("pg_wal/") + _FILE, "f": _FILE, "%": 1})
_RESTORE: tuple[int, dict[str, int]] = (12, {"p": len("pg_wal/RECOVERYXLOG"), "f": _SEGMENT, "r": _SEGMENT, "%": 1})


def refuse_cut_archive(command: str, major: int) -> None:
    """Raise WalgError where a PostgreSQL of this major version would run the beginning of an archive_command alone."""
    _refuse("archive_command", command, major, _ARCHIVE, "walg_program_dir or walg_config_dir")


def refuse_cut_restore(command: str, major: int) -> None:
    """Raise WalgError where it would run the beginning of a restore_command alone."""
    _refuse("restore_command", command, major, _RESTORE, "walg_program_dir, walg_config_dir or walg_state_dir")


def _refuse(name: str, command: str, major: int, rule: tuple[int, Mapping[str, int]], options: str) -> None:
    last, texts = rule
    length = sum(texts.get(word[1:], len(os.fsencode(word))) for word in re.findall(r"%.|[^%]+|%", command, re.DOTALL))
    if major <= last and length > _LIMIT:
        raise WalgError(
            f"{name} would have {length} bytes, and PostgreSQL {major} runs the first {_LIMIT} of them alone, which lose WAL: {command}. "
            f"Choose a shorter path for {options}.",
            found=length,
            wanted=_LIMIT,
        )
