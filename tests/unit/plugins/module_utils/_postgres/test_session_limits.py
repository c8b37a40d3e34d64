# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time-outs of sessions that would cut a base backup off: which count in which version, and for which WAL-G."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _sessions
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._server import Server
from support.scripted import Scripted
from support.walg_world import World

BOTH = ["statement_timeout", "idle_session_timeout"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(
    ("major", "names"),
    [(10, BOTH[:1]), (13, BOTH[:1]), (14, BOTH), (16, BOTH), (17, [*BOTH, "transaction_timeout"])],
)
def test_only_what_a_version_knows_is_asked_for(major: int, names: list[str]) -> None:
    assert _sessions.names(major) == names
    assert _sessions.options(major) == " ".join(f"-c {name}=0" for name in names)


@pytest.mark.parametrize("version", [(3, 0, 8), (3, 1, 0), (4, 0, 0)])
def test_a_wal_g_that_reads_pgoptions_is_not_cut_off(world: World, version: tuple[int, int, int]) -> None:
    _sessions.refuse_cut_off(Server(Scripted(), world.instance.cluster), version, 14)


@pytest.mark.parametrize("version", [(1, 1, 3), (3, 0, 7), None])
@pytest.mark.parametrize(
    ("statement", "idle", "short"),
    [
        ("0", "0", []),
        ("5min", "0", []),
        ("299s", "0", ["statement_timeout = 299s"]),
        ("299999", "0", ["statement_timeout = 299999"]),  # milliseconds
        ("0", "1d", ["idle_session_timeout = 1d"]),
        ("1s", "1s", ["statement_timeout = 1s", "idle_session_timeout = 1s"]),
    ],
)
def test_what_is_too_short_is_lifted_by_these_lines(
    world: World, version: tuple[int, int, int] | None, statement: str, idle: str, short: list[str]
) -> None:
    runner = Scripted(calls=[world.psql(f"{statement}\n{idle}\n", stdin="SHOW statement_timeout;")])
    cluster = replace(world.instance.cluster, user='back"up')
    server = Server(runner, cluster)
    if not short:
        _sessions.refuse_cut_off(server, version, 14)
        return
    with pytest.raises(WalgError) as caught:
        _sessions.refuse_cut_off(server, version, 14)
    assert f"WAL-G's sessions have {', '.join(short)}: " in caught.value.msg
    for name in (one.partition(" ")[0] for one in short):
        assert f'\n  ALTER ROLE "back""up" IN DATABASE "postgres" SET {name} = 0;' in caught.value.msg
    assert caught.value.msg.count("ALTER ROLE") == len(short)
