# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that equal a part of a path, a name or a number of the play: it does what it does with any other."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.sandbox import Sandbox

#: Secret settings that a file storage has no use for.
NAMES = (
    "PGPASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCESS_KEY",
    "OS_PASSWORD",
    "SSH_PASSWORD",
    "OSS_ACCESS_KEY_SECRET",
    "S3_SSE_C",
    "PGSSLPASSWORD",
    "AZURE_CLIENT_SECRET",
    "OSS_SESSION_TOKEN",
)


def _made(sandbox: Sandbox) -> set[str]:
    """Return all that is on the host now, by path."""
    return {
        str(path.relative_to(sandbox.root)) for path in sandbox.root.rglob("*") if sandbox.control not in path.parents
    }


@pytest.mark.long
def test_the_same_is_made_as_with_any_other_secret(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main")
    sandbox.storage("main")
    user, major = sandbox.user, str(sandbox.major())
    colliding = ("main", "host", "/", "state", "true", "1", user, "wal-g", str(cluster.port), major, "file", ".")
    made_each: list[set[str]] = []
    for texts in (colliding, tuple(f"Unlike{name}" for name in NAMES)):
        secrets = dict(zip(NAMES, texts, strict=True))
        play = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster, walg_secrets=secrets))
        assert play.rc == 0, play.stdout
        made_each.append(_made(sandbox))
        again = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster, walg_secrets=secrets), "--diff")
        assert (again.rc, again.changed()) == (0, []), again.stdout
    first, second = made_each
    assert not [path for path in first if "*" in path], "made by a name that was hidden"
    assert {path for path in first ^ second if path.startswith("host")} == set()
    record = (sandbox.host / "config/main.env").read_text()
    assert "*" not in record
    assert f"STATE_DIR='{sandbox.host}/state/main'" in record


def test_one_in_the_wrong_place_is_refused_before_anything_is_made(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main")
    for secret in ("main", "/", "host"):
        given = {"PGPASSWORD": secret}
        play = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster, walg_settings=given))
        assert "PGPASSWORD is secret: put it into walg_secrets" in play.failure()
        assert os.listdir(sandbox.host) == []
        assert not [path for path in Path(sandbox.root).glob("*") if "*" in path.name]
