# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_backup against real servers: when one is needed, what counts, what ends it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.sandbox import Cluster, Sandbox


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    """A cluster that archives."""
    made = sandbox.cluster("main", archive_mode="on")
    sandbox.configure(made)
    assert sandbox.module("walg_archive", sandbox.instance())["changed"]
    return made


@pytest.fixture(scope="module")
def storage(sandbox: Sandbox) -> Path:
    return sandbox.storage_dir / "main"


def sentinels(storage: Path) -> list[str]:
    return sorted(path.name for path in storage.glob("basebackups_005/*_backup_stop_sentinel.json"))


def test_the_first_one_is_taken_once(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    assert sandbox.module("walg_backup", sandbox.instance(), check=True)["changed"] is True
    assert sentinels(storage) == []
    first = sandbox.module("walg_backup", sandbox.instance())
    assert first.get("changed"), first
    assert sentinels(storage) == [f"{first['backup']['name']}_backup_stop_sentinel.json"]
    assert sandbox.module("walg_backup", sandbox.instance(), check=True)["changed"] is False
    again = sandbox.module("walg_backup", sandbox.instance())
    assert (again["changed"], again["backup"]) == (False, first["backup"])
    assert len(sentinels(storage)) == 1
    kept = json.loads((storage / "basebackups_005" / sentinels(storage)[0]).read_text())["UserData"]["mapswipe_walg"]
    assert kept["system_identifier"] == cluster.system_identifier()
    assert kept["limits"]["max_connections"] == cluster.sql("SHOW max_connections")


def test_age_decides(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    there = len(sentinels(storage))
    assert sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 3600})["changed"] is False
    assert len(sentinels(storage)) == there
    assert sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0.5})["changed"] is True
    assert len(sentinels(storage)) == there + 1


def test_a_backup_without_its_wal_does_not_count(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    for name in sentinels(storage):
        segment = name.split("_")[1]
        for path in storage.glob(f"wal_005/{segment}.*"):
            path.unlink()
    answer = sandbox.module("walg_backup", sandbox.instance(), check=True)
    assert answer["changed"] is True
    assert "no restorable base backup" in answer["reason"]
    assert sandbox.module("walg_backup", sandbox.instance())["changed"] is True
    assert sandbox.module("walg_backup", sandbox.instance())["changed"] is False


def test_a_hung_backup_is_ended_with_its_children(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    there = sentinels(storage)
    cluster.sql("SELECT 1")
    with hanging(sandbox, cluster):
        answer = sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0, "timeout": 4})
        assert answer.get("failed"), answer
        assert "did not end within 4 s" in answer["msg"]
        assert "pg_stat_archiver" in answer["msg"]
        assert sentinels(storage) == there
        assert not [argv for argv in _command_lines() if f"{sandbox.host}/bin/wal-g" in argv]
    cluster.ship()
    assert sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})["changed"] is True


@contextmanager
def hanging(sandbox: Sandbox, cluster: Cluster) -> Iterator[None]:
    """WAL-G 1.1.3 waits for the archiver at a backup's end, 3.0.8 does not; that one is held up by the checkpoint at its beginning."""
    if sandbox.walg_version().startswith("v1."):
        conf = cluster.data_dir / "mapswipe_walg.conf"
        good = conf.read_text()
        conf.write_text(good.replace("archive_command = '", "archive_command = 'false "))
        cluster.sql("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            conf.write_text(good)
            cluster.sql("SELECT pg_reload_conf()")
        return
    checkpointer = int(cluster.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"))
    os.kill(checkpointer, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(checkpointer, signal.SIGCONT)


def test_a_dead_storage_is_an_error_and_not_an_empty_one(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    away = storage.with_suffix(".away")
    shutil.move(storage, away)
    try:
        for check in (True, False):
            answer = sandbox.module("walg_backup", sandbox.instance(), check=check)
            assert answer.get("failed")
            assert str(storage) in answer["msg"]
    finally:
        shutil.move(away, storage)


def _command_lines() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found
