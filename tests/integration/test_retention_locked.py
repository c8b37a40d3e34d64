# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention on Google Cloud Storage that holds objects back, forbids, or fails on the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import Retention
from support.expiring import SENTINEL, expire
from support.fault_proxy import Rule
from support.gcs import BUCKET, Gcs
from support.sandbox import Cluster, Sandbox

ONE = Retention(days=0, backups=1, minimum_backups=1, minimum_days=0)


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox, gcs: Gcs) -> Cluster:
    made = sandbox.cluster("main", archive_mode="on", autovacuum="off")
    told = {"google_credentials": gcs.key_file_content(), "settings": gcs.settings()}
    sandbox.configure(made, f"gs://{BUCKET}/walg-folder", **told)
    sandbox.module("walg_archive", sandbox.instance())
    return made


@pytest.fixture(autouse=True)
def _no_fault_is_left(gcs: Gcs) -> Iterator[None]:
    yield
    gcs.faults.rules = []


def take(sandbox: Sandbox, cluster: Cluster) -> str:
    cluster.ship()
    answer = sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})
    assert answer.get("changed"), answer
    return str(answer["backup"]["name"])


def of(gcs: Gcs, part: str) -> list[str]:
    """The objects whose names have a part."""
    return [one.removeprefix("walg-folder/") for one in gcs.objects("walg-folder") if part in one]


def segment(name: str) -> str:
    return name.split("_")[1]


def test_a_record_that_is_locked_keeps_its_backup_whole(sandbox: Sandbox, cluster: Cluster, gcs: Gcs) -> None:
    first, second = take(sandbox, cluster), take(sandbox, cluster)
    parts = of(gcs, f"{first}/")
    gcs.faults.rules = [Rule(403, methods=("DELETE",), path=f"{first}{SENTINEL}")]
    for _turn in range(2):
        answer = expire(sandbox, ONE)
        assert answer["locked"] == [f"basebackups_005/{first}{SENTINEL}"], answer
        assert answer["text"].endswith("; 1 object is locked")
        assert "retention policy" in answer["warnings"][0]
        assert of(gcs, f"{first}/") == parts
        assert of(gcs, segment(first)), "the WAL with which it is consistent stays"
    listed = sandbox.module("walg_backup_info", sandbox.instance())["backups"]
    assert [(one["name"], one["restorable"]) for one in listed] == [(first, True), (second, True)]
    assert listed[0]["finish_lsn_int"] < listed[1]["start_lsn_int"]


def test_a_storage_that_fails_on_the_way_is_an_error_and_the_next_run_finishes(
    sandbox: Sandbox, cluster: Cluster, gcs: Gcs
) -> None:
    first = segment(of(gcs, SENTINEL)[0].removeprefix("basebackups_005/"))
    gcs.faults.rules = [
        Rule(400, methods=("DELETE",), path=f"base_{first}%2Ftar_partitions|base_{first}/tar_partitions")
    ]
    answer = expire(sandbox, ONE)
    assert f"gs://{BUCKET}/walg-folder" in answer["error"], answer
    assert of(gcs, f"{first}{SENTINEL}") == []
    assert of(gcs, f"base_{first}/tar_partitions"), "cut off in the midst"
    gcs.faults.rules = []
    answer = expire(sandbox, ONE)
    assert (answer["changed"], of(gcs, first)) == (True, [])
    assert "had been interrupted" in answer["warnings"][0]
    assert expire(sandbox, ONE)["changed"] is False


def test_wal_that_is_locked_is_named_and_no_error(sandbox: Sandbox, cluster: Cluster, gcs: Gcs) -> None:
    take(sandbox, cluster)
    gcs.faults.rules = [Rule(403, methods=("DELETE",), path=r"wal_005(%2F|/)0")]
    answer = expire(sandbox, ONE)
    assert answer["changed"], answer
    assert answer["locked"]
    assert all(one.startswith("wal_005/") for one in answer["locked"])
    gcs.faults.rules = []
    answer = expire(sandbox, ONE)
    assert (answer["changed"], answer["locked"], answer["plan"]["delete"]) == (True, [], [])
