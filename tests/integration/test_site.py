# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped plays: check mode on a virgin host, and what is refused before anything is done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from support import releases
from support.observe import files
from support.sandbox import Cluster, Play, Sandbox

LOST = {"walg_restore_request": "r", "walg_restore_stop_running": True}


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    made = sandbox.cluster("main")
    sandbox.storage("main")
    return made


def test_check_mode_on_a_virgin_host_tells_the_truth(sandbox: Sandbox, cluster: Cluster) -> None:
    assert "main.json" in foretold(sandbox, sandbox.variables(cluster, **LOST))
    before = (files(sandbox.host), files(sandbox.storage_dir), cluster.sql("SELECT * FROM pg_settings ORDER BY name"))
    data = {name: state for name, state in files(cluster.data_dir).items() if name.endswith(".conf")}
    predicted = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster), "--check", "--diff")
    assert predicted.rc == 0, predicted.stdout
    assert (
        files(sandbox.host),
        files(sandbox.storage_dir),
        cluster.sql("SELECT * FROM pg_settings ORDER BY name"),
    ) == before
    assert {name: state for name, state in files(cluster.data_dir).items() if name.endswith(".conf")} == data
    assert "was not looked at" in predicted.of("walg_archive")[0]["warnings"][0]
    done = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster))
    assert done.rc == 0, done.stdout
    assert predicted.changed() == done.changed()
    assert len(done.changed()) == 5
    assert steps(predicted) == steps(done) == ["install", "programs", "settings"]
    assert len(predicted.of("walg_instance")[0]["diff"]) == 4


def test_check_mode_of_another_version(sandbox: Sandbox, cluster: Cluster) -> None:
    """A version that is not there yet: the one in force answers for base backups; what a restore would find stays unknown."""
    path, version = releases.renumbered(sandbox)
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    other = {"walg_version": version, "walg_binary_src": str(path), "walg_binary_checksum": digest}
    assert f"/wal-g-{version}" in foretold(sandbox, sandbox.variables(cluster, **LOST, **other))
    predicted = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster, **other), "--check", "--diff")
    done = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster, **other))
    assert (predicted.rc, done.rc) == (0, 0), predicted.stdout + done.stdout
    assert predicted.changed() == done.changed()
    assert [one.rpartition(" : ")[2] for one in done.changed()] == ["Instance | Make the host ready"]
    assert steps(predicted) == steps(done) == ["install", "settings"]


def steps(play: Play) -> list[str]:
    """Return what made the host ready, or would have."""
    return [one["step"] for one in play.of("walg_instance")[0]["steps"]]


def foretold(sandbox: Sandbox, variables: dict[str, object]) -> str:
    """Check a restore for which WAL-G or its settings are not there yet; return what it says of that."""
    before = (files(sandbox.host), files(sandbox.storage_dir))
    play = sandbox.play("mapswipe.walg.restore", variables, "-e", "walg_hosts=db", "--check", "--diff")
    assert play.rc == 0, play.stdout
    assert (files(sandbox.host), files(sandbox.storage_dir)) == before
    answer = play.of("walg_restore")[0]
    assert answer["changed"]
    notes = str(answer["restore"]["notes"])
    assert "The archive was not checked" in notes
    return notes


def test_a_mistyped_variable_is_refused_first(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main")
    variables = sandbox.variables(cluster, walg_backup_shedule=False, walg_restore_request="known")
    play = sandbox.play("mapswipe.walg.site", variables)
    assert play.rc != 0
    assert "walg_backup_shedule (did you mean walg_backup_schedule?)" in play.failure()
    assert "walg_restore_request" not in play.failure()
    assert play.changed() == []


def test_a_restore_has_no_default_hosts(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main")
    play = sandbox.play("mapswipe.walg.restore", sandbox.variables(cluster, walg_restore_request="r"))
    assert play.rc != 0
    assert "set -e walg_hosts=HOST" in play.failure()
    assert {line["host"] for line in play.results} == {"localhost"}
