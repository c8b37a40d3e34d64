# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets are planted in every option that takes one, and looked for everywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from support.observe import ProcessWatch, Syslog
from support.sandbox import Sandbox


def test_secrets_are_seen_nowhere(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main")
    sandbox.storage("main")
    first = {
        "AWS_SECRET_ACCESS_KEY": "PlantedOne7",
        "AWS_ACCESS_KEY_ID": "PlantedTwo7",
        "AZURE_STORAGE_ACCESS_KEY": "PlantedThree7",
    }
    second = {**first, "AWS_SECRET_ACCESS_KEY": "PlantedFour7", "SSH_PASSWORD": "PlantedFive7"}
    seen = ""
    with ProcessWatch() as watch, _system_log() as log:
        for number, (secrets, arguments) in enumerate(
            ((first, ("--diff", "-vvv")), (second, ("--check", "--diff", "-vvv")))
        ):
            pem = f"-----BEGIN PRIVATE KEY-----\nPlantedKey{number}7\n-----END PRIVATE KEY-----\n"
            key = json.dumps({"type": "service_account", "client_email": "a@b.example", "private_key": pem})
            variables = sandbox.variables(cluster, walg_secrets=secrets, walg_google_credentials=key)
            play = sandbox.play("mapswipe.walg.site", variables, *arguments)
            assert play.rc == 0, play.stdout
            seen += play.stdout + json.dumps(play.results)
        wrong = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster, walg_secrets="PlantedString7"), "-vvv")
        misnamed = {"AWS_SECRET_ACCES_KEY": "PlantedTypo7"}
        typo = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster, walg_secrets=misnamed), "-vvv")
        misplaced = sandbox.play(
            "mapswipe.walg.site", sandbox.variables(cluster, walg_google_credentials="PlantedNoJson7"), "-vvv"
        )
        open_secret = {"AWS_SECRET_ACCESS_KEY": "PlantedOpenly7"}
        misfiled = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster, walg_settings=open_secret), "-vvv")
    for play, hint in (
        (misfiled, "walg_secrets"),
        (wrong, "dictionary"),
        (typo, "AWS_SECRET_ACCESS_KEY"),
        (misplaced, "not the JSON"),
    ):
        assert play.rc != 0
        assert hint in play.failure()
        seen += play.stdout + json.dumps(play.results)
    assert "(secret, changed)" in seen, "a changed secret shows as changed"
    assert "Planted" not in seen
    assert not [line for line in watch.seen if "Planted" in line]
    assert [line for line in watch.seen if "backup-push" in line], "the watch sees what runs"
    if log is not None:
        assert "walg_backup" in log.text
        assert "Planted" not in log.text
    holders = [path for path in sandbox.root.rglob("*") if path.is_file() and b"Planted" in path.read_bytes()]
    outside = [path for path in holders if sandbox.control not in path.parents]
    assert {path.name for path in outside} == {"main.json", "main.credentials.json"}
    assert {path.stat().st_mode & 0o777 for path in outside} == {0o600}
    assert "PlantedOne7" in (sandbox.host / "config" / "main.json").read_text()


class _Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _system_log() -> Any:
    """Listen where modules log to; not possible where a daemon does, or without the right to."""
    return Syslog() if os.geteuid() == 0 and not os.path.lexists("/dev/log") else _Nothing()
