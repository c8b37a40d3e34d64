# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root is sent to places that others can exchange: each module refuses, names the component, and has changed nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.attackers import Tally, own
from support.observe import files
from support.sandbox import Sandbox

CLUSTER = {
    "data_dir": "/d",
    "bin_dir": "/b",
    "socket_dir": "/s",
    "port": "5432",
    "user": "postgres",
    "os_user": "nobody",
}


def install(place: str) -> dict[str, Any]:
    digest = "sha256:" + "0" * 64
    return {"path": f"{place}/wal-g", "version": "3.0.8", "src": "/bin/true", "checksum": digest}


def programs(place: str) -> dict[str, Any]:
    return {"path": f"{place}/lib", "user": "nobody"}


def directories(place: str, key: str) -> dict[str, str]:
    names = ("bin_dir", "config_dir", "program_dir", "state_dir", "log_dir", "cron_dir")
    own_ones = ("state_dir", "log_dir")
    chosen = {name: f"/usr/local/lib/none-of-ours{'/main' if name in own_ones else ''}" for name in names}
    return {**chosen, key: f"{place}/{key}{'/main' if key in own_ones else ''}"}


def config(place: str, key: str = "config_dir") -> dict[str, Any]:
    return {
        "storage": "file:///none",
        "binary": "/bin/true",
        "cluster": CLUSTER,
        "directories": directories(place, key),
    }


def info(place: str, key: str = "config_dir") -> dict[str, Any]:
    return {"directories": {key: f"{place}/{key}"}, "cluster": {"data_dir": "/none"}}


def instance(place: str, key: str = "config_dir") -> dict[str, Any]:
    return {**info(place, key), "storage": "file:///none", "version": "3.0.8"}


def schedule(place: str) -> dict[str, Any]:
    return {"cron_dir": f"{place}/cron.d", "state": "absent"}


def theirs(ground: Path, attacker: str) -> Path:
    return own(ground / "theirs", attacker)


def below_theirs(ground: Path, attacker: str) -> Path:
    """Root's own, but its owner's neighbour can rename it."""
    made = own(ground / "theirs", attacker) / "roots"
    made.mkdir(mode=0o755)
    return made


def by_a_link(ground: Path, attacker: str) -> Path:
    """A link of root's that leads into a directory of the attacker's."""
    own(ground / "theirs", attacker)
    (ground / "link").symlink_to("theirs")
    return ground / "link"


def shared(ground: Path, _attacker: str) -> Path:
    made = ground / "shared"
    made.mkdir()
    made.chmod(0o1777)
    return made


PLACES = [theirs, below_theirs, by_a_link, shared]
#: Which module is sent there by which option.
ORDERS: list[tuple[str, Callable[[str], dict[str, Any]]]] = [
    ("walg_install", install),
    ("walg_programs", programs),
    ("walg_schedule", schedule),
    ("walg_config", config),
    ("walg_instance_info", info),
    ("walg_instance", instance),
]


@pytest.mark.parametrize("make", PLACES)
def test_a_place_that_others_can_exchange(
    ground: Path, attacker: str, sandbox: Sandbox, tally: Tally, make: Callable[[Path, str], Path]
) -> None:
    place = make(ground, attacker)
    before = files(ground)
    for module, options in ORDERS:
        answer = sandbox.module(module, options(str(place)))
        named = any(text in answer.get("msg", "") for text in (f"{ground}/theirs belongs to", f"files in {place}"))
        tally.count(not named or files(ground) != before)


@pytest.mark.parametrize("key", ["program_dir", "state_dir", "log_dir", "cron_dir", "bin_dir"])
def test_each_directory_counts(ground: Path, sandbox: Sandbox, tally: Tally, key: str) -> None:
    place = own(ground / "theirs", "nobody")
    for module, options in (("walg_config", config), ("walg_instance_info", info), ("walg_instance", instance)):
        answer = sandbox.module(module, options(str(place), key))
        tally.count(f"walg_{key}: {place} belongs to the user 'nobody'" not in answer.get("msg", ""))


def test_a_relative_directory_ends_at_once(ground: Path, sandbox: Sandbox, tally: Tally) -> None:
    for module, options in ORDERS:
        for place in ("x", "x/y", f"/usr/local/../..{ground}/x"):
            answer = sandbox.module(module, options(place))
            tally.count(not answer.get("failed") or "exception" in answer)
    assert os.listdir(ground) == []


def test_a_record_that_somebody_else_wrote_is_not_believed(
    ground: Path, attacker: str, sandbox: Sandbox, tally: Tally
) -> None:
    """It names programs and users; a directory of root's, but a file that is not."""
    (ground / "etc").mkdir()
    record = ground / "etc" / "main.env"
    record.write_text("WALG_BINARY=/bin/true\n")
    os.chown(record, own(ground / "theirs", attacker).stat().st_uid, -1)
    for module in ("walg_backup_info", "walg_archive_check", "walg_storage_check"):
        answer = sandbox.module(module, {"config_dir": str(ground / "etc")})
        tally.count(f"{record} belongs to the user {attacker!r}" not in answer.get("msg", ""))
