# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a storage can answer on a host where nothing is installed yet: refused in bounded time, with nothing changed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fault_proxy import HANG, RESET, Rule, read_only
from support.gcs import BUCKET, Gcs, certificate
from support.observe import files
from support.sandbox import Cluster, Sandbox

ACCOUNT = "walg@test.invalid"


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    return sandbox.cluster("main")


@pytest.fixture(scope="module")
def options(sandbox: Sandbox, cluster: Cluster, gcs: Gcs) -> dict[str, Any]:
    """What the role hands to the module, for a host where nothing is installed."""
    told = sandbox.variables(cluster, **gcs.variables(f"gs://{BUCKET}/walg-folder"))
    found = sandbox.module(
        "walg_instance_info",
        {
            "cluster": {key[len("walg_pg_") :]: value for key, value in cluster.variables().items()},
            "directories": {key[len("walg_") :]: value for key, value in sandbox.directories().items()},
        },
    )
    return {
        **{key: told[f"walg_{key}"] for key in ("storage", "settings", "google_credentials")},
        "binary": str(sandbox.walg),
        "cluster": found["cluster"],
        "directories": found["directories"],
    }


@pytest.fixture
def faults(gcs: Gcs) -> Iterator[list[Rule]]:
    """The faults of a test; none is left for the next."""
    gcs.faults.rules = []
    yield gcs.faults.rules
    gcs.faults.rules = []
    gcs.faults.present(gcs.directory / "server.crt", gcs.directory / "server.key")


def state(sandbox: Sandbox, gcs: Gcs) -> tuple[Any, ...]:
    """The host, and what lies in the storage."""
    return files(sandbox.host), gcs.objects("")


def left_behind(gcs: Gcs, sandbox: Sandbox) -> list[Path]:
    """Return files with these settings, which only the time of a question may see."""
    mark = str(gcs.variables("")["walg_settings"]["HTTPS_PROXY"]).encode()
    places = [path for path in Path(tempfile.gettempdir()).glob("mapswipe-walg-*") if path != sandbox.root]
    # A link to a descriptor would be read as one of this process: a pipe, for ever.
    found = [path for place in places for path in place.glob("*.json") if path.is_file() and not path.is_symlink()]
    return [path for path in found if mark in _content(path)]


def _content(path: Path) -> bytes:
    """What a file holds; nothing if another test has removed it meanwhile."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


LIST, GET, CREATE, DELETE = (
    {"methods": ("GET",), "path": "/o[?]"},
    {"methods": ("GET",), "path": f"^/{BUCKET}/"},
    {"methods": ("POST",)},
    {"methods": ("DELETE",)},
)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([Rule(403, **LIST)], ["may not list there", "storage.objects.list", ACCOUNT]),
        ([Rule(403, **CREATE)], ["may not write there", "storage.objects.create", "walg_storage_access: read_only"]),
        ([Rule(403, **GET)], ["may not read there", "storage.objects.get"]),
        ([Rule(HANG, **LIST)], ["did not answer", "within 2 s", "missing bucket"]),
        ([Rule(HANG, **CREATE)], ["did not answer `wal-g st put", "within 2 s"]),
        ([Rule(503, **LIST)], [f"gs://{BUCKET}/walg-folder"]),
        ([Rule(RESET)], [f"gs://{BUCKET}/walg-folder", "network"]),
    ],
    ids=["list 403", "create 403", "get 403", "list hangs", "create hangs", "list 503", "reset"],
)
def test_a_faulty_storage_is_refused(
    sandbox: Sandbox, gcs: Gcs, options: dict[str, Any], faults: list[Rule], rules: list[Rule], words: list[str]
) -> None:
    before = state(sandbox, gcs)
    faults += rules
    started = time.monotonic()
    answer = sandbox.module("walg_storage_check", {**options, "timeout": 2})
    assert time.monotonic() - started < 60  # WAL-G by itself tries for many minutes
    assert answer.get("failed"), answer
    for word in words:
        assert word in answer["msg"]
    assert "PRIVATE KEY" not in str(answer)
    assert state(sandbox, gcs) == before
    assert left_behind(gcs, sandbox) == []


def test_a_key_that_may_not_delete_leaves_only_what_the_message_names(
    sandbox: Sandbox, gcs: Gcs, options: dict[str, Any], faults: list[Rule]
) -> None:
    host, objects = state(sandbox, gcs)
    faults.append(Rule(403, **DELETE))
    answer = sandbox.module("walg_storage_check", {**options, "timeout": 5})
    assert answer.get("failed"), answer
    assert "may not delete there" in answer["msg"]
    assert "retention policy" in answer["msg"]
    stays = [name for name in gcs.objects("") if name not in objects]
    assert stays
    probe = Path(stays[0]).name.partition("_chunks")[0]
    assert f"The probe {probe} stays behind" in answer["msg"]
    assert {Path(name).parts[1].replace("_chunks", "") for name in stays} == {probe}
    assert files(sandbox.host) == host
    for name in stays:
        (gcs.directory / "objects" / BUCKET / name).unlink()


def test_a_bucket_that_is_missing_and_a_certificate_that_is_wrong(
    sandbox: Sandbox, gcs: Gcs, options: dict[str, Any], faults: list[Rule]
) -> None:
    before = state(sandbox, gcs)
    answer = sandbox.module("walg_storage_check", {**options, "storage": "gs://no-such-bucket/p"})
    assert "gs://no-such-bucket/p" in answer["msg"]
    assert "Create the bucket" in answer["msg"]
    other = sandbox.root / "other-ca"
    other.mkdir()
    gcs.faults.present(*certificate(other)[1:])
    answer = sandbox.module("walg_storage_check", {**options, "timeout": 2})
    assert answer.get("failed"), answer
    assert state(sandbox, gcs) == before


def test_who_only_reads_is_told_when_it_could_write(
    sandbox: Sandbox, gcs: Gcs, options: dict[str, Any], faults: list[Rule]
) -> None:
    before = state(sandbox, gcs)
    answer = sandbox.module("walg_storage_check", {**options, "access": "read_only"})
    assert answer["can_write"] is True, answer
    assert "can change the archive" in str(answer["warnings"])
    faults.append(read_only(ACCOUNT))
    answer = sandbox.module("walg_storage_check", {**options, "access": "read_only"})
    assert answer["can_write"] is False, answer
    assert "403" in answer["write_answer"]
    assert "warnings" not in answer
    assert state(sandbox, gcs) == before


def test_check_mode_only_lists(sandbox: Sandbox, gcs: Gcs, options: dict[str, Any], faults: list[Rule]) -> None:
    before, asked = state(sandbox, gcs), len(gcs.faults.seen)
    answer = sandbox.module("walg_storage_check", options, check=True)
    assert (answer["changed"], "backups" in answer, "can_write" in answer) == (False, True, False)
    assert {method for method, _path, _status in gcs.faults.seen[asked:]} == {"GET"}
    assert state(sandbox, gcs) == before


def test_a_play_ends_before_anything_is_changed(
    sandbox: Sandbox, cluster: Cluster, gcs: Gcs, options: dict[str, Any], faults: list[Rule]
) -> None:
    before = state(sandbox, gcs)
    settings = cluster.sql("SELECT name, setting FROM pg_settings ORDER BY name")
    faults.append(read_only(ACCOUNT))
    play = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster, **gcs.variables(f"gs://{BUCKET}/walg-folder")))
    assert play.rc != 0
    assert "may not write there" in play.failure()
    assert play.changed() == []
    assert state(sandbox, gcs) == before
    assert cluster.sql("SELECT name, setting FROM pg_settings ORDER BY name") == settings


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (None, 0o600, ["There is no Google credentials file", "walg_google_credentials"]),
        ("{}", 0o000, ["can't be read by the user", "chmod 0600"]),
        ("not json", 0o644, ["is not JSON"]),
        ('{"type": "gdch_service_account"}', 0o644, ["gdch_service_account", "walg_version"]),
    ],
    ids=["missing", "unreadable", "no JSON", "type of a newer library"],
)
def test_a_credentials_file_that_is_no_use(
    sandbox: Sandbox, gcs: Gcs, options: dict[str, Any], content: str | None, mode: int, words: list[str]
) -> None:
    before, asked = state(sandbox, gcs), len(gcs.faults.seen)
    path = sandbox.root / "key.json"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    settings = {**options["settings"], "GOOGLE_APPLICATION_CREDENTIALS": str(path)}
    answer = sandbox.module("walg_storage_check", {**options, "settings": settings, "google_credentials": None})
    assert answer.get("failed"), answer
    assert str(path) in answer["msg"]
    for word in words:
        assert word in answer["msg"]
    assert len(gcs.faults.seen) == asked
    assert state(sandbox, gcs) == before
