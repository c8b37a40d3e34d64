# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _corruption

LOG = """INFO: 2026/01/31 04:05:06.123456 Starting part 1 ...
WARNING: 2026/01/31 04:05:06.123456 Corruption found in /srv/pg/base/13757/1259/[3], expected 1a2b, found 3c4d
WARNING: 2026/01/31 04:05:06.123456 Corruption found in /srv/pg/base/13757/1259/[3], expected 1a2b, found 3c4d
WARNING: 2026/01/31 04:05:06.123456 Corruption found in /srv/pg/base/13757/1259/[12], expected 1, found 0
WARNING: 2026/01/31 04:05:06.123456 Corruption found in /pg_tblspc/16388/PG_14_202107181/16384/16389/[0], expected 1, found 0
"""


def test_blocks_are_counted_once_by_file() -> None:
    assert _corruption.found(LOG, "/srv/pg") == {
        "base/13757/1259": 2,
        "pg_tblspc/16388/PG_14_202107181/16384/16389": 1,
    }


def test_a_clean_log_has_none() -> None:
    assert _corruption.found("INFO: all is well\n", "/srv/pg") == {}
    assert _corruption.told({}) == ""


def test_the_sentence_names_files_and_counts() -> None:
    told = _corruption.told({f"base/1/{number}": 1 for number in range(7)})
    assert told.startswith("7 blocks have wrong page checksums: base/1/0 (1), ")
    assert " and 2 more files. " in told
