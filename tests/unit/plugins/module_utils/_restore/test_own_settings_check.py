# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster's own settings ask of this host before a recovery: each refusal names the setting, its place, and the line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._archive._recorded import Recorded
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._cluster import Cluster
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _own_settings, _own_settings_check
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._own_settings_check import Checker
from support.walg_world import World


@dataclass
class Postgres(Runner):
    """The server's program, which reads a configuration; ``says``: what it rejects."""

    says: str = ""
    tried: list[str] = field(default_factory=list)

    def run(self, argv: Sequence[str], **_options: Any) -> Result:
        assert argv[3:] == ["-C", "server_version"]
        self.tried.append(Path(argv[2], "postgresql.conf").read_text())
        return Result(list(argv), 1 if self.says else 0, "14.23\n", self.says)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    world = World(tmp_path)
    library = tmp_path / "lib" / "postgresql" / "lib"
    library.mkdir(parents=True)
    return world.instance.cluster


def check(
    cluster: Cluster,
    recorded: Recorded,
    wished: dict[str, str] | None = None,
    runner: Runner | None = None,
    *,
    major: int = 14,
    standby: bool = False,
) -> None:
    own = _own_settings.predicted(cluster, recorded, wished or {})
    Checker(runner or Postgres(), cluster, major, recorded, wished or {}, standby).refuse(own)


def rejected(*arguments: Any, **options: Any) -> WalgError:
    with pytest.raises(WalgError) as caught:
        check(*arguments, **options)
    return caught.value


def test_what_the_host_can_do(cluster: Cluster) -> None:
    """Settings of places and logs are not tried: they are the host's."""
    settings = {"work_mem": "4MB", "log_directory": "/none", "archive_command": "x", "primary_conninfo": "host=a"}
    postgres = Postgres()
    check(cluster, Recorded(settings), None, postgres)
    assert postgres.tried == ["work_mem = '4MB'\n"]
    postgres = Postgres()
    check(cluster, Recorded({"log_directory": "/none"}), None, postgres)
    assert postgres.tried == []


def test_a_wish_that_is_overridden(cluster: Cluster) -> None:
    called = replace(cluster, start_options="-c work_mem=1MB")
    error = rejected(called, Recorded(), {"work_mem": "4MB"})
    assert "sets work_mem to '4MB', but the server's command line says '1MB', which overrides every file" in error.msg
    assert (error.fields["found"], error.fields["wanted"]) == ("1MB", "4MB")
    check(called, Recorded(), {"work_mem": "1MB"})


def test_replication_origins_need_slots(cluster: Cluster) -> None:
    check(cluster, Recorded(origins=10))
    error = rejected(cluster, Recorded(origins=11))
    assert "needs max_replication_slots = 11 at least; here it is 10 (PostgreSQL's default)" in error.msg
    assert error.msg.endswith('\n  walg_restore_settings: {max_replication_slots: "11"}')
    error = rejected(cluster, Recorded({"max_replication_slots": "3"}, origins=4))
    assert "here it is 3 (the base backup's record)" in error.msg
    check(cluster, Recorded({"max_replication_slots": "3"}, origins=4), {"max_replication_slots": "4"})
    assert "needs max_active_replication_origins = 11" in rejected(cluster, Recorded(origins=11), major=18).msg


def test_a_standby_needs_its_primarys_limits_and_sessions(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "postgresql.conf").write_text("max_connections = 50\nhot_standby = off\n")
    here = replace(cluster, config_file=str(tmp_path / "postgresql.conf"))
    recorded = Recorded(limits={"max_connections": "100"})
    check(here, recorded)
    error = rejected(here, recorded, standby=True)
    assert (
        f"A standby needs max_connections as high as its primary had it: 100. Here it is 50 ({tmp_path}/postgresql.conf, line 1)"
        in error.msg
    )
    error = rejected(here, recorded, {"max_connections": "100"}, standby=True)
    assert "The cluster has hot_standby = off" in error.msg
    assert error.msg.endswith('\n  walg_restore_settings: {hot_standby: "on"}')
    check(here, recorded, {"max_connections": "100", "hot_standby": "on"}, standby=True)


def test_what_this_version_rejects(cluster: Cluster) -> None:
    said = '2026-01-01 00:00:00 UTC [7] LOG:  unrecognized configuration parameter "Wal_Keep" in file "x" line 1\nFATAL: errors\n'
    error = rejected(cluster, Recorded({"wal_keep": "3", "work_mem": "4MB"}), None, Postgres(says=said))
    assert (
        "PostgreSQL 14 on this host does not accept the cluster's setting wal_keep (the base backup's record)"
        in error.msg
    )
    assert ': unrecognized configuration parameter "Wal_Keep"' in error.msg
    assert error.msg.endswith('\n  walg_restore_settings: {wal_keep: "..."}')
    error = rejected(cluster, Recorded({"work_mem": "4MB"}), None, Postgres(says="FATAL: no memory\n"))
    assert error.msg.endswith("does not accept the cluster's settings: FATAL: no memory")


def test_libraries_that_are_not_there(cluster: Cluster, tmp_path: Path) -> None:
    class WithConfig(Postgres):
        def run(self, argv: Sequence[str], **options: Any) -> Result:
            if argv[-1] == "--pkglibdir":
                return Result(list(argv), 0, f"{tmp_path}/lib\n")
            return super().run(argv, **options)

    (tmp_path / "bin" / "pg_config").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "pg_config").chmod(0o755)
    (tmp_path / "lib" / "there.so").touch()
    recorded = Recorded({"shared_preload_libraries": "there, gone"})
    error = rejected(cluster, recorded, None, WithConfig())
    assert "The cluster preloads gone (shared_preload_libraries, the base backup's record)" in error.msg
    assert error.msg.endswith('\n  walg_restore_settings: {shared_preload_libraries: "there"}')
    (tmp_path / "lib" / "gone.so").touch()
    check(cluster, recorded, None, WithConfig())


@pytest.mark.parametrize("copy", [True, False])
def test_notes(cluster: Cluster, tmp_path: Path, copy: bool) -> None:
    (tmp_path / "postgresql.conf").write_text("shared_preload_libraries = 'pg_cron'\n")
    here = replace(cluster, config_file=str(tmp_path / "postgresql.conf"))
    told = [{"name": "sub", "database": "shop"}]
    recorded = Recorded({"track_commit_timestamp": "on"}, subscriptions=told)
    own = _own_settings.predicted(here, recorded, {})
    notes = _own_settings_check.notes(own, recorded, copy=copy, standby=False)
    assert "The cluster tracked commit timestamps" in notes[0]
    assert ["The copy preloads pg_cron as its source does" in one for one in notes].count(True) == copy
    assert "sub (database shop)" in notes[-1]
    assert [_own_settings_check.is_on_subscriptions(one) for one in notes] == [False] * (len(notes) - 1) + [True]
    assert ("are disabled" in notes[-1]) is copy
    wished = _own_settings.predicted(here, recorded, {"track_commit_timestamp": "on", "shared_preload_libraries": ""})
    assert _own_settings_check.notes(wished, recorded, copy=copy, standby=True) == []
