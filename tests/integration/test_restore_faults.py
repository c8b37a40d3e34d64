# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage that dies, forbids or hangs in the midst of a restore: it fails, production never notices, and it works afterwards.

What may be lost is nothing: a storage that does not answer is never taken for the end of the archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fault_proxy import HANG, RESET, Rule
from support.gcs import Gcs
from support.restoring import History, archived, done, refused, running, unharmed
from support.sandbox import Sandbox

BUCKET = "x4m-test-bucket"
STORAGE = f"gs://{BUCKET}/walg-folder"
FILES = f"^/{BUCKET}/.*tar_partitions"
WAL = f"^/{BUCKET}/.*wal_005(/|%2F)[0-9A-F]{{24}}"


@pytest.fixture(scope="module")
def gcs(sandbox: Sandbox, tools: dict[str, Any]) -> Iterator[Gcs]:
    directory = Path(sandbox.root / "gcs")
    directory.mkdir()
    with Gcs(tools["gcs_server"], directory, BUCKET) as storage:
        yield storage


@pytest.fixture(scope="module")
def history(sandbox: Sandbox, gcs: Gcs) -> History:
    key = sandbox.root / "key.json"
    key.write_text(gcs.key_file_content())
    key.chmod(0o644)
    settings = {name: str(value) for name, value in gcs.variables(STORAGE)["walg_settings"].items()}
    quick = {"GOOGLE_APPLICATION_CREDENTIALS": str(key), "GCS_CONTEXT_TIMEOUT": "2", "GCS_MAX_RETRIES": "1"}
    made = archived(sandbox, STORAGE, {**settings, **quick})
    for _turn in range(2):
        made.step()
        made.cluster.ship()
    return made


@pytest.fixture
def faults(gcs: Gcs) -> Iterator[list[Rule]]:
    """The faults of a test; none is left for the next."""
    gcs.faults.rules = []
    yield gcs.faults.rules
    gcs.faults.rules = []


@pytest.mark.parametrize(
    ("name", "rule", "limits"),
    [
        ("fetch-forbidden", Rule(403, methods=("GET",), path=FILES), {}),
        ("fetch-fails", Rule(503, methods=("GET",), path=FILES), {}),
        ("fetch-hangs", Rule(HANG, methods=("GET",), path=FILES), {"fetch_timeout": 3}),
        ("fetch-hangs-up", Rule(RESET, methods=("GET",), path=FILES), {}),
        ("wal-forbidden", Rule(403, methods=("GET",), path=WAL), {}),
        ("wal-gone", Rule(404, methods=("GET", "HEAD"), path=WAL), {}),
        ("wal-hangs", Rule(HANG, methods=("GET",), path=WAL), {"recovery_timeout": 5}),
        ("wal-hangs-up", Rule(RESET, methods=("GET",), path=WAL), {}),
    ],
)
def test_the_storage_fails_in_the_midst(
    sandbox: Sandbox,
    history: History,
    gcs: Gcs,
    faults: list[Rule],
    name: str,
    rule: Rule,
    limits: dict[str, int],
) -> None:
    cluster = history.cluster
    target = {"target_xid": history.steps[-1]["xid"]}
    faults.append(rule)
    with unharmed(cluster):
        text = refused(sandbox, name, stop_running=True, **target, **limits)
    assert "was not touched" in text
    assert any(answer == rule.answer for _method, _path, answer in gcs.faults.seen), "the fault was met"
    assert running(sandbox) == {str(cluster.data_dir)}


def test_afterwards_it_works(sandbox: Sandbox, history: History, faults: list[Rule]) -> None:
    assert not faults
    history.cluster.ship()
    rows = history.numbers()
    done(sandbox, "wal-hangs-up", target_xid=history.steps[-1]["xid"], stop_running=True)
    assert history.numbers() == rows
