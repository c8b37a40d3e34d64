# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module walg_verify against Cloud Storage that fails in its midst, encrypted archives, other compressions and segment sizes.

What may be lost in these faults: nothing. A storage that dies makes the verdict unknown, never sound, and the re-read continues.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from locations import pg_major
from support.fault_proxy import RESET, Rule
from support.flipped import flipped
from support.gcs import BUCKET, Gcs
from support.restoring import archived
from support.sandbox import Sandbox

PREFIX = "walg-folder"
MIB = 1024 * 1024


def verify(sandbox: Sandbox, **options: Any) -> dict[str, Any]:
    answer = sandbox.module("walg_verify", {**sandbox.instance(), **options})
    assert not answer.get("failed"), answer
    return answer


def state(sandbox: Sandbox) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((sandbox.host / "state" / "main" / "verification.json").read_text())
    return told


@pytest.fixture
def faults(gcs: Gcs) -> Iterator[list[Rule]]:
    gcs.faults.rules = []
    yield gcs.faults.rules
    gcs.faults.rules = []


def test_cloud_storage_that_dies_forbids_and_comes_back(sandbox: Sandbox, gcs: Gcs, faults: list[Rule]) -> None:
    settings = {**gcs.settings(), "GCS_MAX_RETRIES": "2"}
    history = archived(sandbox, f"gs://{BUCKET}/{PREFIX}", settings, {"google_credentials": gcs.key_file_content()})
    history.ship(4)
    whole = verify(sandbox, everything=True)
    assert (whole["sound"], whole["reread"]["done_share"]) == (True, 1.0)
    answers: list[dict[str, Any]] = []
    options = {**sandbox.instance(), "everything": True, "rate": 1_000_000}
    run = threading.Thread(target=lambda: answers.append(sandbox.module("walg_verify", options)))
    run.start()
    progress = sandbox.host / "state" / "main" / "verify-progress.json"
    for _turn in range(600):
        told = json.loads(progress.read_text())
        if told["phase"] == "re-reading" and told["objects"] >= 3:
            break
        time.sleep(0.05)
    faults.append(Rule(RESET))
    run.join()
    assert answers[0].get("failed"), answers
    assert f"gs://{BUCKET}/{PREFIX}" in answers[0]["msg"]
    told = state(sandbox)
    assert told["last"]["sound"] is None
    assert told["memory"]["doubts"] == {}
    done = told["memory"]["cycle"]["objects"]
    assert 0 < done < whole["reread"]["objects"]
    faults.clear()
    faults.append(Rule(403, methods=("GET",), path=f"^/{BUCKET}/.*[0-9A-F]{{24}}[.]lz4"))
    forbidden = sandbox.module("walg_verify", {**sandbox.instance(), "everything": True})
    assert "may not read there" in forbidden["msg"]
    assert state(sandbox)["last"]["sound"] is None
    assert state(sandbox)["memory"]["doubts"] == {}
    faults.clear()
    answer = verify(sandbox, everything=True)
    assert (answer["sound"], answer["damaged"]) == (True, [])
    assert answer["reread"]["objects"] <= whole["reread"]["objects"] - done


def own(sandbox: Sandbox, path: Path, data: bytes) -> None:
    path.write_bytes(data)
    if os.geteuid() == 0:
        os.chown(path, pwd.getpwnam(sandbox.user).pw_uid, -1)


@pytest.mark.skipif(shutil.which("gpg") is None, reason="there is no gpg to make keys with")
def test_an_encrypted_archive(make_sandbox: Callable[..., Sandbox], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Damage of one object is damage; a key that opens none is a wrong key."""
    home = tmp_path_factory.mktemp("keys")
    home.chmod(0o700)

    def gpg(*arguments: str) -> str:
        argv = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        done = subprocess.run(
            [*argv, *arguments], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
        )
        return done.stdout

    keys = []
    for name in ("right", "wrong"):
        gpg("--quick-generate-key", f"{name}@example.org", "rsa2048", "encr", "30d")
        keys.append(gpg("--armor", "--export-secret-keys", f"{name}@example.org"))
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False, capture_output=True)
    sandbox = make_sandbox()
    history = archived(sandbox, configured={"secrets": {"WALG_PGP_KEY": keys[0]}})
    history.ship(1)
    assert verify(sandbox, everything=True)["sound"] is True
    path = sorted((sandbox.storage_dir / "main" / "wal_005").glob("?" * 24 + ".lz4"))[-1]
    data = path.read_bytes()
    own(sandbox, path, flipped(data, 1))
    answer = verify(sandbox, everything=True)
    assert (answer["sound"], [one["object"] for one in answer["damaged"]]) == (False, [f"wal_005/{path.name}"])
    own(sandbox, path, data)
    config = sandbox.host / "config" / "main.json"
    right = config.read_text()
    config.write_text(json.dumps({**json.loads(right), "WALG_PGP_KEY": keys[1]}))
    answer = sandbox.module("walg_verify", {**sandbox.instance(), "everything": True})
    assert "Is it the key" in answer["msg"]
    assert state(sandbox)["last"]["sound"] is None
    config.write_text(right)
    assert verify(sandbox, everything=True)["sound"] is True


@pytest.mark.parametrize("mib", [1, 64])
def test_other_segment_sizes(make_sandbox: Callable[..., Sandbox], mib: int) -> None:
    sandbox = make_sandbox()
    sized = ("--wal-segsize", str(mib)) if pg_major() >= 11 else ()
    three = sandbox.walg_version().startswith("v3.")
    settings = {"WALG_COMPRESSION_METHOD": "zstd" if three else "lzma"}
    history = archived(sandbox, walg=settings, initdb=sized)
    history.ship(2)
    answer = verify(sandbox, everything=True)
    assert (answer["sound"], answer["reread"]["done_share"]) == (True, 1.0)
    path = sorted((sandbox.storage_dir / "main" / "wal_005").glob("?" * 24 + ".*"))[-1]
    data = path.read_bytes()
    own(sandbox, path, flipped(data, 1))
    answer = verify(sandbox, everything=True)
    assert (answer["sound"], [one["object"] for one in answer["damaged"]]) == (False, [f"wal_005/{path.name}"])
