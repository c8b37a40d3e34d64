# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine of Google Cloud: no key anywhere, tokens from the metadata server at its own address, in a network of its own.

WAL-G looks for that server where it really is, and nobody tells it another place: the settings in the play are the production ones,
but for the proxy to the storage and its CA. Left out (conftest.py) where no network can be made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.fault_proxy import WRITES, Rule
from support.gcs import BUCKET, Gcs
from support.google_endpoints import ACCOUNT, WELL, Google, Reply, machine
from support.own_network import OwnNetwork
from support.sandbox import Cluster, Sandbox

STORAGE = f"gs://{BUCKET}/walg-folder"
METADATA = "169.254.169.254"
TOKEN = Reply(
    200,
    {"access_token": f"for:{ACCOUNT}", "expires_in": 3599, "token_type": "Bearer"},
    {"Metadata-Flavor": "Google"},
)


@pytest.fixture(scope="module")
def google(sandbox: Sandbox) -> Iterator[Google]:
    directory = sandbox.root / "google"
    directory.mkdir()
    with OwnNetwork({"metadata.google.internal": METADATA}), Google(directory, (METADATA, 80)) as endpoints:
        endpoints.answers["machine_token"] = TOKEN
        yield endpoints


@pytest.fixture(scope="module")
def gcs(google: Google, sandbox: Sandbox, tools: dict[str, Any]) -> Iterator[Gcs]:
    directory = sandbox.root / "gcs"
    directory.mkdir()
    with Gcs(tools["gcs_server"], directory, BUCKET) as storage:
        yield storage


@pytest.fixture(scope="module")
def cluster(gcs: Gcs, sandbox: Sandbox) -> Cluster:
    return sandbox.cluster("main", archive_mode="on")


@pytest.fixture(scope="module")
def variables(sandbox: Sandbox, cluster: Cluster, gcs: Gcs) -> dict[str, Any]:
    given = gcs.variables(STORAGE)
    del given["walg_google_credentials"]
    return sandbox.variables(cluster, **given)


def test_site_then_loss_then_restore(
    sandbox: Sandbox, cluster: Cluster, gcs: Gcs, google: Google, variables: dict[str, Any]
) -> None:
    checked = sandbox.play("mapswipe.walg.site", variables, "--check")
    assert checked.rc == 0, checked.stdout
    play = sandbox.play("mapswipe.walg.site", variables)
    assert play.rc == 0, play.stdout + cluster.log.read_text()
    said = play.of("walg_instance")[-1]["storage"]["google"]
    assert (said["asked"], said["type"], said["found_by"]) == (True, "machine", "metadata server")
    assert (said["account"], said["missing"], "problem" in said) == (ACCOUNT, [], False)
    assert gcs.tokens.asked == 0, "no key file was used"
    cluster.sql("CREATE TABLE t AS SELECT g AS id, md5(g::text) AS x FROM generate_series(1, 500) g")
    cluster.ship()
    cluster.sql("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(501, 700) g")
    cluster.ship()
    rows = cluster.rows("t")
    assert len(rows) == 700
    asked = google.steps().count("machine_token")
    cluster.lose()
    play = sandbox.play("mapswipe.walg.restore", {**variables, "walg_restore_request": "r"}, "-e", "walg_hosts=db")
    assert play.rc == 0, play.stdout
    assert google.steps().count("machine_token") > asked
    assert cluster.rows("t") == rows
    assert play.of("walg_backup")[-1]["backup"]["timeline"] == 2
    again = sandbox.play("mapswipe.walg.site", variables)
    assert (again.rc, again.changed()) == (0, []), again.stdout
    assert "google" not in again.of("walg_instance")[-1]["storage"], "WAL arrives, so nothing was asked again"
    assert not [
        line for line in again.results if line["action"].endswith(".walg_google_check") and line["status"] != "skipped"
    ]


def fails(sandbox: Sandbox, variables: dict[str, Any]) -> dict[str, Any]:
    """Run site with another folder, so that the storage is asked again; return how it failed."""
    play = sandbox.play("mapswipe.walg.site", {**variables, "walg_storage": f"gs://{BUCKET}/another"})
    assert play.rc != 0, play.stdout
    result: dict[str, Any] = next(line["result"] for line in play.results if line["status"] == "failed")
    assert result["google"]["advice"] in result["msg"]
    return result


def test_a_machine_with_the_default_scopes(
    sandbox: Sandbox, cluster: Cluster, gcs: Gcs, google: Google, variables: dict[str, Any]
) -> None:
    """They let it read in Cloud Storage and no more: the first trap on a new machine."""
    google.answers["machine"] = machine("devstorage.read_only", "logging.write")
    gcs.faults.rules = [Rule(403, methods=WRITES)]
    try:
        result = fails(sandbox, variables)
    finally:
        google.answers["machine"] = WELL["machine"]
        gcs.faults.rules = []
    assert result["google"]["problem"] == "wrong_scope"
    assert "--scopes=storage-rw" in result["msg"]


def test_a_role_that_can_not_delete(
    sandbox: Sandbox, cluster: Cluster, gcs: Gcs, google: Google, variables: dict[str, Any]
) -> None:
    gcs.faults.rules = [Rule(403, methods=("DELETE",))]
    try:
        checked = sandbox.play("mapswipe.walg.site", {**variables, "walg_storage": f"gs://{BUCKET}/another"}, "--check")
        assert (
            "storage.objects.delete" in " ".join(checked.of("walg_instance")[-1].get("warnings", [])) + checked.stdout
        )
        result = fails(sandbox, variables)
    finally:
        gcs.faults.rules = []
    assert (result["google"]["problem"], result["google"]["missing"]) == ("permissions", ["storage.objects.delete"])


def test_no_account_and_no_metadata_server(
    sandbox: Sandbox, cluster: Cluster, gcs: Gcs, google: Google, variables: dict[str, Any]
) -> None:
    well = dict(google.answers)
    missing = Reply(404, "Not Found\n", {"Metadata-Flavor": "Google"})
    try:
        google.answers.update(machine=missing, machine_token=missing)
        assert fails(sandbox, variables)["google"]["problem"] == "no_machine_account"
        google.answers = dict.fromkeys(well, Reply(404, "Not Found"))
        assert fails(sandbox, variables)["google"]["problem"] == "no_metadata_server"
    finally:
        google.answers = well
