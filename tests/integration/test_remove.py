# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance leaves a host as one plan: check, do, check, do; the other one archives on, and the storage stays as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.observe import files, kept
from support.sandbox import Cluster, Play, Sandbox


@pytest.fixture(scope="module")
def clusters(sandbox: Sandbox) -> dict[str, Cluster]:
    """Two instances of a host that archive; one has conf.d as on Debian."""
    made = {name: sandbox.idle_cluster(name) for name in ("maps", "orders")}
    for name, cluster in made.items():
        cluster.create(**({"include_dir": "conf.d"} if name == "maps" else {}))
        sandbox.run(["mkdir", str(cluster.data_dir / "conf.d")], user=sandbox.user)
        cluster.start()
        sandbox.storage(name)
        before = (cluster.data_dir / "postgresql.conf").read_bytes()
        (sandbox.control / f"{name}.conf").write_bytes(before)
        assert sandbox.play("mapswipe.walg.site", sandbox.variables(cluster)).rc == 0
    return made


def leave(cluster: Cluster, *arguments: str, **more: Any) -> Play:
    variables = cluster.sandbox.variables(cluster, **more)
    return cluster.sandbox.play("mapswipe.walg.remove", variables, "-e", "walg_hosts=db", *arguments)


def steps(play: Play) -> list[str]:
    assert play.rc == 0, play.stdout
    return [one["step"] for one in play.of("walg_instance")[0]["steps"]]


def test_no_restart_that_was_not_allowed(sandbox: Sandbox, clusters: dict[str, Cluster]) -> None:
    before, started = files(sandbox.host), clusters["maps"].sql("SELECT pg_postmaster_start_time()")
    play = leave(clusters["maps"], walg_backup_restart="never")
    assert "walg_backup_restart: allowed" in play.failure()
    play = leave(clusters["maps"], walg_backup_restart="perhaps")
    assert "must be one of: never, allowed" in play.stdout, "the entry point has a spec of its own"
    assert (files(sandbox.host), clusters["maps"].sql("SELECT pg_postmaster_start_time()")) == (before, started)


def test_a_stopped_server_can_not_prove_it(sandbox: Sandbox, clusters: dict[str, Cluster]) -> None:
    clusters["maps"].stop()
    before = files(sandbox.host)
    try:
        assert "Start it, then run again" in leave(clusters["maps"]).failure()
        assert files(sandbox.host) == before
    finally:
        clusters["maps"].start()


def test_check_do_check_do(sandbox: Sandbox, clusters: dict[str, Cluster]) -> None:
    """The last one to leave takes the programs along."""
    check_do_check_do(sandbox, clusters["maps"], ["archive", "schedule", "settings"])
    clusters["orders"].ship()
    check_do_check_do(sandbox, clusters["orders"], ["archive", "schedule", "programs", "settings"])
    assert kept(sandbox.host) == {}


def check_do_check_do(sandbox: Sandbox, cluster: Cluster, wanted: list[str]) -> None:
    name = cluster.name
    cluster.sql("CREATE TABLE t (id int)")
    last = cluster.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    before = files(sandbox.host), kept(sandbox.storage_dir), cluster.sql("SHOW archive_command")
    foretold = leave(cluster, "--check", "--diff")
    assert steps(foretold) == wanted
    assert (files(sandbox.host), kept(sandbox.storage_dir), cluster.sql("SHOW archive_command")) == before
    done = leave(cluster)
    assert steps(done) == wanted
    assert foretold.changed() == done.changed()
    assert cluster.sql("SHOW archive_mode") == "off"
    storage = kept(sandbox.storage_dir)
    assert {one: state for one, state in storage.items() if one in before[1]} == before[1]
    assert [one for one in storage if last in one], "the restart ships what is left"
    assert (cluster.data_dir / "postgresql.conf").read_bytes() == (sandbox.control / f"{name}.conf").read_bytes()
    assert [path for path in cluster.data_dir.rglob("*") if "mapswipe" in path.name] == []
    started = cluster.sql("SELECT pg_postmaster_start_time()")
    for arguments in (("--check",), ()):
        assert steps(leave(cluster, *arguments)) == []
    assert cluster.sql("SELECT pg_postmaster_start_time()") == started


def test_a_killed_run_is_finished_and_an_open_restore_is_not_touched(
    sandbox: Sandbox, clusters: dict[str, Cluster]
) -> None:
    """It died after our settings were removed from the files, before the restart: the server still archives through the wrapper."""
    cluster = clusters["maps"]
    assert sandbox.play("mapswipe.walg.site", sandbox.variables(cluster)).rc == 0
    marker = sandbox.marker("maps")
    marker.parent.mkdir(exist_ok=True)
    names = ("request", "target", "standby", "backup", "system_identifier", "data_dir", "places", "plan")
    plan = {"timeline": 1, "major": sandbox.major(), "segment_size": 1 << 24}
    story = dict(zip(names, ("r1", {}, False, "b", "1", str(cluster.data_dir), [], plan), strict=True))
    marker.write_text(json.dumps({**story, "state": "paused"}))
    assert "The restore 'r1'" in leave(cluster).failure()
    assert "wal-push" in cluster.sql("SHOW archive_command")
    marker.write_text(json.dumps({**story, "state": "done"}))
    (cluster.data_dir / "conf.d" / "mapswipe_walg.conf").unlink()
    (sandbox.host / "cron" / "mapswipe-walg-maps").unlink()
    for name in ("maps.json", "maps.job.json"):
        (sandbox.host / "config" / name).unlink()
    wrapper = sandbox.host / "program" / "wal-push"
    assert "walg_backup_restart: allowed" in leave(cluster, walg_backup_restart="never").failure()
    assert wrapper.exists(), "the server still calls it"
    assert steps(leave(cluster)) == ["archive", "programs", "settings"]
    assert (cluster.sql("SHOW archive_mode"), kept(sandbox.host)) == ("off", {})
