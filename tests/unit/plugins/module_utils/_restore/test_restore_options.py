# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a restore, judged at once: what can't be meant is refused without a look at the host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _options
from ansible_collections.mapswipe.walg.plugins.module_utils._setup import _given


def test_what_is_right() -> None:
    made = _options.from_params(
        {
            "request": "r1",
            "target_time": "2026-01-31T04:05:06+01:00",
            "timeline": "0",
            "backup": "base_000000010000000000000002",
            "tablespaces": {16403: "/srv/new", "/srv/old": "/srv/newer"},
            "links": {"log": "", "conf/a": "/etc/a"},
            "overwrite": 7310203040506070809,
            "wal_dir": None,
        }
    )
    assert (made.timeline, made.overwrite, made.wal_dir) == (None, "7310203040506070809", "")
    assert made.tablespaces == {"16403": "/srv/new", "/srv/old": "/srv/newer"}
    assert made.target.value == "2026-01-31T03:05:06.000000Z"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"request": "../x"}, "Restore request"),
        ({"target_time": "\u0662\u0660\u0662\u0666-01-31T04:05:06Z"}, "Not a time with a zone"),
        ({"target_time": "\uff12\uff10\uff12\uff16-01-31T04:05:06Z"}, "Not a time with a zone"),
        ({"target_time": "2026-01-31T04:05:0\u00b2Z"}, "Not a time with a zone"),
        ({"target_time": "2026-01-31T04:05:06+99:99"}, "Not a time"),
        ({"target_time": "0001-01-01T00:00:00+14:00"}, "Not a time"),
        ({"target_lsn": "0/G"}, "Not an LSN"),
        ({"target_xid": "\u0661\u0662"}, "Not a transaction id"),
        ({"target_name": "x" * 64}, "Not the name of a restore point"),
        ({"timeline": -1}, "walg_restore_timeline"),
        ({"timeline": 2**32}, "walg_restore_timeline"),
        ({"backup": "../base"}, "walg_restore_backup"),
        ({"backup": "-rf"}, "walg_restore_backup"),
        ({"tablespaces": {"16403": "relative"}}, "relative path"),
        ({"tablespaces": {"16403": "/a/../b"}}, r"without `\.\.`"),
        ({"tablespaces": {"\u0661": "/a"}}, "OID"),
        ({"tablespaces": {"16403": ""}}, "walg_restore_tablespaces"),
        ({"tablespaces": ["x"]}, "must be a dictionary"),
        ({"wal_dir": "$HOME/wal"}, "relative path"),
        ({"wal_dir": "~/wal"}, "relative path"),
        ({"links": {"../x": "/y"}}, "walg_restore_links"),
        ({"links": {"/x": "/y"}}, "walg_restore_links"),
        ({"overwrite": "yes"}, "walg_restore_overwrite"),
        ({"primary_conninfo": "host=a password=x"}, "holds a password"),
        ({"settings": ["x"]}, "must be a dictionary"),
        ({"action": "pause"}, "needs a target"),
        ({"target_xid": "7", "target_lsn": "0/1"}, "Several recovery targets"),
    ],
)
def test_what_is_not(given: dict[str, Any], told: str) -> None:
    with pytest.raises(WalgError, match=told):
        _options.from_params({"request": "r1", **given})


@pytest.mark.parametrize(
    ("cluster", "told"),
    [
        ({"service": "systemd:../x"}, "Service"),
        ({"service": "sytemd:x"}, "Unknown service"),
        ({"port": "\u0665\u0664"}, "walg_pg_port"),
        ({"port": "0"}, "walg_pg_port"),
        ({"port": "65536"}, "walg_pg_port"),
        ({"port": "5432 "}, "walg_pg_port"),
    ],
)
def test_what_can_be_told_of_a_cluster(cluster: dict[str, str], told: str) -> None:
    with pytest.raises(WalgError, match=told):
        _given.judge_cluster(cluster)
    _given.judge_cluster({"service": "none", "port": "5432"})
