# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that PostgreSQL would cut off are refused; with real servers in tests/integration/test_shells.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._command_length import (
    refuse_cut_archive,
    refuse_cut_restore,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError

BACKUP_FILE = "pg_wal/000000010000000000000001.00000028.backup"
SEGMENT = "000000010000000000000001"


@pytest.mark.parametrize(("length", "refused"), [(1022, False), (1023, False), (1024, True), (2000, True)])
@pytest.mark.parametrize(
    ("rule", "last", "text", "filled"),
    [
        (refuse_cut_archive, 15, ' "%p"', f' "{BACKUP_FILE}"'),
        (refuse_cut_archive, 15, ' %% "%p"', f' % "{BACKUP_FILE}"'),
        (refuse_cut_archive, 15, ' ü "%p" "%f"', f' ü "{BACKUP_FILE}" "{BACKUP_FILE[7:]}"'),
        (refuse_cut_restore, 12, ' "%f" "%p"', f' "{SEGMENT}" "pg_wal/RECOVERYXLOG"'),
        (refuse_cut_restore, 12, " %x 100% ", " %x 100% "),  # what is no placeholder stays
    ],
)
def test_the_length_of_what_is_run_counts(
    rule: Callable[[str, int], None], last: int, text: str, filled: str, length: int, refused: bool
) -> None:
    command = "x" * (length - len(filled.encode())) + text
    rule(command, last + 1)
    if not refused:
        rule(command, last)
        return
    with pytest.raises(
        WalgError, match=rf"would have {length} bytes, and PostgreSQL {last} runs the first 1023 .*walg_program_dir"
    ):
        rule(command, last)
