# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_backup_info against a real archive that grows: steps of one story, in order."""

from __future__ import annotations

import json
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.observe import snapshot
from support.sandbox import Cluster, Sandbox


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    """A cluster that archives, with deltas allowed."""
    made = sandbox.cluster("main", archive_mode="on", track_commit_timestamp="on", autovacuum="off")
    sandbox.configure(made)
    settings = sandbox.host / "config" / "main.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "WALG_DELTA_MAX_STEPS": "2"}))
    return made


@pytest.fixture(scope="module")
def storage(sandbox: Sandbox) -> Path:
    return sandbox.storage_dir / "main"


def look(sandbox: Sandbox, **options: Any) -> dict[str, Any]:
    answer = sandbox.module("walg_backup_info", {**sandbox.instance(), **options})
    assert not answer.get("failed"), answer
    assert answer["changed"] is False
    return answer


def promote(cluster: Cluster) -> None:
    """The cluster goes on as the next timeline: a standby of its own that is promoted, after a crash once all is archived.

    A segment or history file that is cut off on its way to a file storage would be refused ever after.
    """
    for _turn in range(600):
        if not list(cluster.data_dir.glob("pg_wal/archive_status/*.ready")):
            break
        time.sleep(0.05)
    cluster.stop("immediate")
    old = int((cluster.data_dir / "PG_VERSION").read_text()) < 12
    marker = cluster.data_dir / ("recovery.conf" if old else "standby.signal")
    marker.write_text("standby_mode = on\n" if old else "")
    shutil.chown(marker, cluster.sandbox.user)
    if not old:
        with open(cluster.data_dir / "postgresql.conf", "a", encoding="utf-8") as stream:
            stream.write("restore_command = 'false'\n")
    cluster.start()
    done = cluster.sandbox.run(
        [str(cluster.bin_dir / "pg_ctl"), "-D", str(cluster.data_dir), "-w", "promote"], user=cluster.sandbox.user
    )
    assert done.returncode == 0, done.stdout


def commit(cluster: Cluster, ship: bool = True) -> datetime:
    """Commit a row; returns when the server did so."""
    cluster.sql("INSERT INTO t VALUES (1)")
    text = cluster.sql("SET timezone = 'UTC'; SELECT timestamp FROM pg_last_committed_xact()")
    if ship:
        cluster.ship()
    return datetime.fromisoformat(text)


def windows(answer: dict[str, Any]) -> list[tuple[int, int, bool, bool]]:
    """(timeline, how many base backups, whether it goes to the end of the archive, whether its end is known)"""
    return [
        (one["timeline"], len(one["backups"]), one["missing"] is None, one["last"]["time_known"])
        for one in answer["windows"]
    ]


def test_an_empty_archive(sandbox: Sandbox, cluster: Cluster) -> None:
    answer = look(sandbox, read_last_commit=True)
    assert [answer[name] for name in ("backups", "chains", "timelines", "windows", "system_identifiers")] == [[]] * 5
    assert answer["trunk"]["timeline"] is None


def test_backups_and_their_windows(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    sandbox.module("walg_archive", sandbox.instance())
    cluster.sql("CREATE TABLE t (i int)")
    assert sandbox.module("walg_backup", sandbox.instance())["changed"]
    commit(cluster)
    assert sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})["changed"]
    argv = [str(sandbox.walg), "--config", str(sandbox.host / "config" / "main.json"), "backup-mark"]
    full = look(sandbox)["backups"][0]["name"]
    marked = sandbox.run([*argv, full], user=sandbox.user)
    assert marked.returncode == 0, marked.stdout
    commit(cluster)
    last = commit(cluster)
    before = snapshot(sandbox, cluster, storage)
    answer = look(sandbox)
    base, delta = answer["backups"]
    assert (base["name"], base["permanent"], base["delta_base"]) == (full, True, None)
    assert (delta["delta"], delta["delta_base"], delta["restorable"]) == (True, full, True)
    assert base["system_identifier"] == cluster.system_identifier()
    assert 0 < delta["age"] < base["age"] < 300
    assert (answer["chains"][0]["full"], answer["chains"][0]["deltas"]) == (full, [delta["name"]])
    assert windows(answer) == [(1, 2, True, False)]
    estimated = answer["windows"][0]["last"]
    assert datetime.fromisoformat(estimated["time"]) > last
    known = look(sandbox, read_last_commit=True)["windows"][0]["last"]
    assert (known["time_known"], known["lsn_known"]) == (True, True)
    assert datetime.fromisoformat(known["time"]) == last
    assert known["lsn_int"] < estimated["lsn_int"]
    assert snapshot(sandbox, cluster, storage) == before


def test_a_second_timeline(sandbox: Sandbox, cluster: Cluster) -> None:
    """Before any base backup of its own, and with one."""
    promote(cluster)
    last = commit(cluster)
    answer = look(sandbox, read_last_commit=True)
    assert (answer["trunk"]["timeline"], answer["last_commits"][0]["timeline"]) == (2, 2)
    assert datetime.fromisoformat(answer["last_commits"][0]["time"]) == last
    assert windows(answer) == [(1, 2, True, False), (2, 2, True, True)]
    assert answer["timelines"][1]["parent"] == 1
    assert sandbox.module("walg_backup", sandbox.instance())["changed"]
    assert windows(look(sandbox)) == [(1, 2, True, False), (2, 3, True, False)]


def test_two_promotions_within_one_segment(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    """Of timeline 3 nothing but a .partial is archived; 4 is reached all the same."""
    commit(cluster)
    promote(cluster)
    commit(cluster, ship=False)
    promote(cluster)
    last = commit(cluster)
    assert [path.name.split(".")[1] for path in storage.glob("wal_005/000000030*")] == ["partial"]
    answer = look(sandbox, read_last_commit=True)
    assert answer["trunk"]["timeline"] == 4
    assert [one["timeline"] for one in answer["timelines"]] == [1, 2, 3, 4]
    assert windows(answer) == [(1, 2, True, False), (2, 3, True, False), (4, 3, True, True)]
    assert datetime.fromisoformat(answer["last_commits"][0]["time"]) == last


def test_a_gap_splits_windows(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    _full, delta, second = look(sandbox)["backups"]
    name = f"{1:08X}{0:08X}{delta['finish_lsn_int'] // (1 << 24) + 1:08X}"
    (lost,) = storage.glob(f"wal_005/{name}.*")
    lost.unlink()
    answer = look(sandbox)
    assert answer["timelines"][0]["gaps"] == [{"first": name, "last": name, "segments": 1}]
    assert [(one["timeline"], len(one["backups"]), one["missing"]) for one in answer["windows"]] == [
        (1, 2, name),
        (2, 1, None),
        (4, 1, None),
    ]
    assert answer["windows"][0]["last"]["lsn_int"] == (delta["finish_lsn_int"] // (1 << 24) + 1) * (1 << 24)
    assert answer["windows"][1]["backups"] == [second["name"]]
    assert answer["trunk"]["timeline"] == 4


def test_another_clusters_archive_is_shown(sandbox: Sandbox, cluster: Cluster) -> None:
    own = cluster.system_identifier()
    path = sandbox.host / "config" / "main.env"
    record = path.read_text()
    path.write_text(record.replace(own, "42"))
    try:
        answer = sandbox.module("walg_backup_info", sandbox.instance(), check=True)
    finally:
        path.write_text(record)
    assert (answer["changed"], answer["foreign"]) == (False, [own])
    assert [one["foreign"] for one in answer["backups"]] == [True] * 3
    assert len(answer["windows"]) == 3
    assert answer["trunk"]["timeline"] is None


def test_a_dead_storage_is_an_error(sandbox: Sandbox, cluster: Cluster, storage: Path) -> None:
    away = storage.with_suffix(".away")
    shutil.move(storage, away)
    try:
        answer = sandbox.module("walg_backup_info", sandbox.instance())
    finally:
        shutil.move(away, storage)
    assert answer.get("failed")
    assert str(storage) in answer["msg"]
