# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who knows how large segments are: the cluster, its base backups, the setting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _backups, _segment_size
from support.control_file import control
from support.walg_world import IDENTIFIER, World

MIB = 1024 * 1024


def backup(start_lsn: int, name: str, user_data: Any = None) -> _backups.Backup:
    entry = {"backup_name": name, "start_lsn": start_lsn, "system_identifier": int(IDENTIFIER), "user_data": user_data}
    return _backups.parse_list(json.dumps([entry]))[0]


def named(start_lsn: int, mib: int, suffix: str = "") -> _backups.Backup:
    """As PostgreSQL names the segment in which the backup began."""
    low = (start_lsn & 0xFFFFFFFF) // (mib * MIB)
    return backup(start_lsn, f"base_00000001{start_lsn >> 32:08X}{low:08X}{suffix}")


@pytest.mark.parametrize("mib", [1 << power for power in range(11)])
@pytest.mark.parametrize("high", [0, 7])
def test_a_name_and_its_lsn_give_one_size(mib: int, high: int) -> None:
    lsn = (high << 32) + 2 * mib * MIB + 40
    assert _segment_size.of_backups([named(lsn, mib)]) == mib * MIB
    assert _segment_size.of_backups([named(lsn, mib, "_D_000000010000000000000002")]) == mib * MIB


def test_the_first_segment_of_4_gib_leaves_several_and_another_backup_decides() -> None:
    first = named((1 << 32) + 5 * MIB, 64)
    assert _segment_size.of_backups([first]) == 0
    assert _segment_size.of_backups([first, named((1 << 32) + 70 * MIB, 64)]) == 64 * MIB
    assert _segment_size.of_backups([named((1 << 32) + 600 * MIB, 1024)]) == 1024 * MIB, (
        "no other size is above 600 MiB"
    )


@pytest.mark.parametrize("name", ["base_000000010000000100000002", "copied", "base_00000001000000000000FFFF"])
def test_a_name_that_is_not_of_its_lsn_says_nothing(name: str) -> None:
    assert _segment_size.of_backups([backup(40, name)]) == 0


def test_our_own_record_is_believed_first() -> None:
    told = backup(40, "base_000000010000000000000000", {"mapswipe_walg": {"segment_size": 4 * MIB}})
    assert _segment_size.of_backups([told]) == 4 * MIB


@pytest.mark.parametrize(
    ("mib", "identifier", "known"),
    [(64, IDENTIFIER, 64), (64, "5", 1), (None, "", 1)],
    ids=["own", "another's", "lost"],
)
def test_the_cluster_knows_best_and_its_archive_next(
    tmp_path: Path, mib: int | None, identifier: str, known: int
) -> None:
    world = World(tmp_path)
    if mib:
        (world.data_dir / "global").mkdir(parents=True)
        (world.data_dir / "global" / "pg_control").write_bytes(
            control(1300, identifier=int(identifier), segment_size=mib * MIB)
        )
    assert _segment_size.of(world.instance, [named(3 * MIB + 40, 1)]) == known * MIB


def test_without_both_it_is_what_walg_was_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert _segment_size.of(world.instance, []) == 16 * MIB
    Path(world.instance.settings_file).write_text('{"WALG_PG_WAL_SIZE": "64"}')
    assert _segment_size.of(world.instance, []) == 64 * MIB


@pytest.mark.parametrize("text", ["", "48", "0", "2048", "16MB", "16\n"])
def test_a_setting_that_is_no_size(text: str) -> None:
    with pytest.raises(WalgError, match=r"WALG_PG_WAL_SIZE in walg_settings is .*a power of two from 1 to 1024"):
        _segment_size.of_settings({"WALG_PG_WAL_SIZE": text})


def test_a_setting_that_is_not_the_cluster_s() -> None:
    _segment_size.refuse_other({"WALG_PG_WAL_SIZE": "64"}, 64 * MIB, "x")
    _segment_size.refuse_other({"WALG_PG_WAL_SIZE": "64"}, 0, "x")
    with pytest.raises(WalgError, match="is 64 MiB, but the cluster in /data has segments of 16 MiB"):
        _segment_size.refuse_other({"WALG_PG_WAL_SIZE": "64"}, 16 * MIB, "the cluster in /data")
