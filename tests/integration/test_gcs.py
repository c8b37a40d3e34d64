# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cycle on Google Cloud Storage: a service account's key, a bucket, and a network that goes away."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from support.fault_proxy import Rule
from support.gcs import BUCKET, Gcs
from support.sandbox import Cluster, Sandbox

MARKER = "mapswipe_walg_owner.json"
STORAGE = f"gs://{BUCKET}/walg-folder"


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    return sandbox.cluster("main", archive_mode="on")


@pytest.fixture(scope="module")
def variables(sandbox: Sandbox, cluster: Cluster, gcs: Gcs) -> dict[str, Any]:
    return sandbox.variables(cluster, **gcs.variables(STORAGE))


def test_site_then_loss_then_restore(sandbox: Sandbox, cluster: Cluster, gcs: Gcs, variables: dict[str, Any]) -> None:
    play = sandbox.play("mapswipe.walg.site", variables)
    assert play.rc == 0, play.stdout
    assert [name for name in gcs.objects("walg-folder") if name.endswith("_backup_stop_sentinel.json")]
    assert gcs.tokens.asked > 0, "the key file was used"
    assert gcs.objects("walg-folder.owner") == [f"walg-folder.owner/{MARKER}"]
    cluster.sql("CREATE TABLE t AS SELECT g AS id, md5(g::text) AS x FROM generate_series(1, 500) g")
    cluster.ship()
    rows = cluster.rows("t")
    cluster.lose()
    play = sandbox.play("mapswipe.walg.restore", {**variables, "walg_restore_request": "r"}, "-e", "walg_hosts=db")
    assert play.rc == 0, play.stdout
    assert cluster.rows("t") == rows
    assert play.of("walg_backup")[-1]["backup"]["timeline"] == 2


def test_points_to_restore_to(sandbox: Sandbox, cluster: Cluster, gcs: Gcs) -> None:
    """The listing of a bucket tells when segments were uploaded; the last commit is read from the last one."""
    answer = sandbox.module("walg_backup_info", {**sandbox.instance(), "read_last_commit": True})
    assert not answer.get("failed"), answer
    assert answer["trunk"]["timeline"] == 2
    assert all(one["last_uploaded"] for one in answer["timelines"])
    first, second = answer["windows"]
    assert (first["last"]["time"], first["last"]["time_known"]) == (answer["timelines"][0]["last_uploaded"], False)
    (commit,) = answer["last_commits"]
    assert (second["timeline"], commit["timeline"]) == (2, 2)
    assert (second["last"]["time_known"], commit["segments_read"] > 0) == (commit["time"] is not None, True)


def test_a_network_that_is_down_is_an_error_in_bounded_time(
    sandbox: Sandbox, cluster: Cluster, gcs: Gcs, variables: dict[str, Any]
) -> None:
    cluster.stop()
    before = (cluster.data_dir / "global" / "pg_control").read_bytes()
    gcs.network.down = True
    try:
        answer = sandbox.module("walg_restore", {**sandbox.instance(), "request": "second"})
    finally:
        gcs.network.down = False
    assert answer.get("failed")
    assert STORAGE in answer["msg"]
    assert (cluster.data_dir / "global" / "pg_control").read_bytes() == before
    cluster.start()


def test_a_bucket_that_does_not_exist_is_refused(
    sandbox: Sandbox, cluster: Cluster, gcs: Gcs, variables: dict[str, Any]
) -> None:
    command = cluster.sql("SHOW archive_command")
    play = sandbox.play("mapswipe.walg.site", {**variables, "walg_storage": "gs://no-such-bucket/walg-folder"})
    assert play.rc != 0
    assert "gs://no-such-bucket/walg-folder" in play.failure()
    assert cluster.sql("SHOW archive_command") == command


def test_credentials_that_end_at_the_prefix(sandbox: Sandbox, cluster: Cluster, gcs: Gcs) -> None:
    """Then whose archive it is stands inside. A storage that fails is not taken for one that forbids."""
    (gcs.directory / "objects" / gcs.bucket / "walg-folder.owner" / MARKER).unlink()
    gcs.faults.rules = [Rule(400, path=r"walg-folder\.owner")]
    try:
        answer = sandbox.module("walg_archive", sandbox.instance())
        assert answer.get("failed"), answer
        gcs.faults.rules = [Rule(403, path=r"walg-folder\.owner")]
        assert sandbox.module("walg_archive", sandbox.instance())["changed"] is True
        assert (gcs.objects("walg-folder.owner"), MARKER in str(gcs.objects("walg-folder"))) == ([], True)
        assert sandbox.module("walg_archive", sandbox.instance())["changed"] is False
        cluster.stop()
        cluster.start()
        cluster.ship()
    finally:
        gcs.faults.rules = []


def test_the_controller_asks_google_where_the_host_can_not(
    sandbox: Sandbox, cluster: Cluster, gcs: Gcs, variables: dict[str, Any]
) -> None:
    """The host's Python has no google-auth, the controller's has: the failure is the host's, with what the controller heard."""
    python = sandbox.tools["public_python"]
    assert subprocess.run([python, "-c", "import google.auth"], capture_output=True, check=False).returncode != 0
    there = {**variables, "walg_storage": f"gs://{BUCKET}/another", "ansible_python_interpreter": python}
    before = cluster.sql("SHOW archive_command")
    gcs.faults.rules = [Rule(403, methods=("DELETE",))]
    try:
        play = sandbox.play("mapswipe.walg.site", there)
        never = sandbox.play("mapswipe.walg.site", {**there, "walg_google_check": "never"})
    finally:
        gcs.faults.rules = []
    (failed,) = [line for line in play.results if line["status"] == "failed"]
    assert failed["action"] == "mapswipe.walg.walg_google_check"
    result = failed["result"]
    assert (result["step"], result["google"]["problem"], result["google"]["missing"]) == (
        "storage",
        "permissions",
        ["storage.objects.delete"],
    )
    assert f"gs://{BUCKET}/another" in result["msg"]
    assert result["google"]["advice"] in result["msg"]
    assert never.rc != 0
    assert "storage.objects.delete on the bucket" not in never.failure()
    assert never.of("walg_google_check") == []
    key = json.loads(gcs.key_file_content())["private_key"].splitlines()[1]
    assert key not in play.stdout + never.stdout
    assert cluster.sql("SHOW archive_command") == before
