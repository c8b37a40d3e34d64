# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What another user of the host can read while root's modules work with secrets, and afterwards: files, command lines, logs."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.attackers import Tally, attackers, partner
from support.sandbox import Cluster, Sandbox

_MARK = b"Planted"
_KEY = "-----BEGIN PRIVATE KEY-----\nPlantedKey7\n-----END PRIVATE KEY-----\n"
_SECRETS = {
    "PGPASSWORD": "PlantedOne7",
    "AWS_SECRET_ACCESS_KEY": "PlantedTwo7",
    "HTTPS_PROXY": "me:PlantedThree7@127.0.0.1:9",
}


def _looked(roots: list[Path], leave: Path) -> bytes:
    """As whoever we are: return all that can be read below these directories, and of each process."""
    found = b""
    for root in roots:
        for place, names, files in os.walk(root):
            names[:] = [name for name in names if Path(place, name) != leave]
            found += b"".join(_read(Path(place, name)) for name in files)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            found += b"".join(_read(Path("/proc", entry, name)) for name in ("cmdline", "environ"))
    return found


def _read(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        if path.is_file() or path.parent.parent == Path("/proc"):
            return path.read_bytes()[:200000]
    return b""


def _modules(sandbox: Sandbox, cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Do as the roles do, with secrets of each kind; yield each answer."""
    given = {key[len("walg_pg_") :]: value for key, value in cluster.variables().items()}
    places = {key[len("walg_") :]: value for key, value in sandbox.directories().items()}
    settings = {
        "storage": sandbox.storage("main"),
        "secrets": _SECRETS,
        "google_credentials": {"type": "service_account", "client_email": "a@b.example", "private_key": _KEY},
    }
    found = sandbox.module("walg_instance_info", {"cluster": given, "directories": places})
    yield found
    yield sandbox.module("walg_instance", sandbox.host_options(cluster, **settings))
    known = {"cluster": found["cluster"], "directories": found["directories"], "binary": str(sandbox.walg)}
    for name in ("walg_storage_check", "walg_config", "walg_config"):
        yield sandbox.module(name, {**settings, **known})
    wrong = {**settings, **known, "secrets": {}, "settings": {"HTTPS_PROXY": "me:PlantedWrong7@proxy:1"}}
    yield sandbox.module("walg_config", wrong)
    address = {"request": "r", "primary_conninfo": "host=a password='PlantedAddress7'"}
    yield sandbox.module("walg_restore", {**sandbox.instance(), **address})


def test_nothing_is_there_for_another_user(sandbox: Sandbox, tally: Tally) -> None:
    other = attackers()[1]
    cluster = sandbox.cluster("main")
    seen = sandbox.root / "seen"
    seen.write_bytes(b"")
    seen.chmod(0o666)
    temporary = [sandbox.root, *(path for path in Path("/tmp").glob("mapswipe-walg-settings-*"))]

    def look() -> None:
        found = _looked(temporary, sandbox.control)
        with open(seen, "ab") as stream:
            stream.write(b"." if _MARK not in found else b"!")
        time.sleep(0.01)

    with partner(other, look):
        for answer in _modules(sandbox, cluster):
            tally.count("Planted" in json.dumps(answer))
        time.sleep(0.5)
    looks = seen.read_bytes()
    assert len(looks) > 3, "the attacker hardly looked"
    for one in looks:
        tally.count(one == ord("!"))
    holders = [path for path in sandbox.root.rglob("*") if path.is_file() and _MARK in path.read_bytes()]
    mine = [path for path in holders if sandbox.control not in path.parents]
    assert {path.name for path in mine} == {"main.json", "main.credentials.json"}
    for path in mine:
        tally.count(bool(path.stat().st_mode & 0o077))


def test_the_attacker_can_read_at_all(sandbox: Sandbox) -> None:
    """What the test would see if a secret lay open."""
    (sandbox.root / "open").write_bytes(_MARK)
    assert _MARK in _looked([sandbox.root], sandbox.control)
