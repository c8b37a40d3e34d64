# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running archive moves to another storage while segments wait, some of which WAL-G has sent ahead to the old one."""

from __future__ import annotations

from subprocess import CompletedProcess
from typing import Any

import pytest
from support.observe import files
from support.sandbox import Cluster, Sandbox


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    """A cluster that archives and has a base backup."""
    made = sandbox.cluster("main", archive_mode="on")
    sandbox.configure(made, sandbox.storage("old"))
    for name in ("walg_archive", "walg_backup"):
        answer = sandbox.module(name, sandbox.instance())
        assert answer.get("changed"), answer
    return made


def configure(sandbox: Sandbox, cluster: Cluster, storage: str) -> dict[str, Any]:
    """Run the module walg_config for another storage."""
    found = sandbox.module(
        "walg_instance_info",
        {
            "cluster": {key[len("walg_pg_") :]: value for key, value in cluster.variables().items()},
            "directories": {key[len("walg_") :]: value for key, value in sandbox.directories().items()},
        },
    )
    binary = next((sandbox.host / "bin").glob("wal-g-*"))
    options = {
        "storage": storage,
        "binary": str(binary),
        "cluster": found["cluster"],
        "directories": found["directories"],
    }
    return sandbox.module("walg_config", options)


def notes(cluster: Cluster) -> set[str]:
    """Return the segments that WAL-G notes as sent ahead."""
    return {path.name for path in (cluster.data_dir / "pg_wal/walg_data/walg_archive_status").glob("*")}


def stored(sandbox: Sandbox, name: str) -> set[str]:
    return {path.name.partition(".")[0] for path in (sandbox.storage_dir / name / "wal_005").glob("*.*")}


def push(sandbox: Sandbox, cluster: Cluster, segment: str) -> CompletedProcess[str]:
    """Call the wrapper as PostgreSQL does, from the data directory."""
    argv = [str(sandbox.host / "program" / "wal-push"), str(sandbox.host / "config" / "main.env"), f"pg_wal/{segment}"]
    return sandbox.run(["env", "-C", str(cluster.data_dir), *argv], user=sandbox.user)


def send_ahead(sandbox: Sandbox, cluster: Cluster) -> set[str]:
    """Have segments wait, some of them noted as sent, with the server's archiver off; return those that wait."""
    conf = cluster.data_dir / "mapswipe_walg.conf"
    conf.write_text(conf.read_text().replace("archive_command = '", "archive_command = 'false "))
    cluster.sql("SELECT pg_reload_conf()")
    for _turn in range(6):
        cluster.sql("SELECT pg_logical_emit_message(false, 'test', 'x'); SELECT pg_switch_wal()")
    waiting = sorted(path.stem for path in (cluster.data_dir / "pg_wal/archive_status").glob("*.ready"))
    pushed = push(sandbox, cluster, waiting[0])
    assert pushed.returncode == 0, pushed.stdout
    assert notes(cluster)  # how many, is a race of its background uploads with the segment itself
    return set(waiting)


def test_what_was_sent_ahead_arrives_in_the_new_storage(sandbox: Sandbox, cluster: Cluster) -> None:
    waiting = send_ahead(sandbox, cluster)
    assert notes(cluster) <= waiting
    old = files(sandbox.storage_dir / "old")
    variables = sandbox.variables(cluster, walg_storage=sandbox.storage("new"))
    predicted = sandbox.play("mapswipe.walg.site", variables, "--check")
    assert predicted.rc == 0, predicted.stdout
    assert notes(cluster)
    play = sandbox.play("mapswipe.walg.site", variables)
    assert play.rc == 0, play.stdout
    assert predicted.changed() == play.changed()
    assert waiting <= stored(sandbox, "new")
    assert files(sandbox.storage_dir / "old") == old
    backup = play.of("walg_backup")[-1]["backup"]
    assert not backup["delta"]
    assert (sandbox.storage_dir / "new/basebackups_005" / f"{backup['name']}_backup_stop_sentinel.json").exists()
    check = play.of("walg_archive_check")[0]
    assert check["segment"] in stored(sandbox, "new")


def test_a_change_that_was_cut_off_is_finished_by_the_next_run(sandbox: Sandbox, cluster: Cluster) -> None:
    waiting = send_ahead(sandbox, cluster)
    ahead = notes(cluster)
    mark = sandbox.host / "state" / "main" / "storage-change"
    _as_owner(sandbox, ["touch", str(mark)])
    held = push(sandbox, cluster, sorted(ahead)[0])
    assert held.returncode == 1
    assert "is being changed" in held.stdout
    assert notes(cluster) == ahead
    others = {path for path in files(cluster.data_dir / "pg_wal") if "archive_status" not in path}
    assert configure(sandbox, cluster, f"file://{sandbox.storage_dir}/new")["changed"] is True
    assert not mark.exists()
    assert notes(cluster) == set()
    assert others <= set(files(cluster.data_dir / "pg_wal"))
    assert sandbox.module("walg_archive", sandbox.instance())["changed"] is True
    cluster.ship()
    assert waiting <= stored(sandbox, "new")
    assert configure(sandbox, cluster, f"file://{sandbox.storage_dir}/new")["changed"] is False


def _as_owner(sandbox: Sandbox, argv: list[str]) -> Any:
    done = sandbox.run(argv, user=sandbox.user)
    assert done.returncode == 0, done.stdout
    return done


def test_a_refused_storage_leaves_the_running_archive_alone(sandbox: Sandbox, cluster: Cluster) -> None:
    before = files(sandbox.host)
    absent = f"file://{sandbox.storage_dir}/absent"
    answer = configure(sandbox, cluster, absent)
    assert absent in answer["msg"]
    assert "Create it" in answer["msg"]
    assert files(sandbox.host) == before
    cluster.ship()
