# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays that speak WAL-G's own names: a prefix among the settings, or the env file of a compose project."""

from __future__ import annotations

from collections.abc import Callable

from support.observe import files
from support.sandbox import Sandbox

PLANTED = "tok-5b1c9e"


def test_an_env_file_is_enough(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main")
    storage = sandbox.storage("main")
    path = sandbox.host / ".env"
    path.write_text(
        f"POSTGRES_PASSWORD={PLANTED}\nPGHOST=elsewhere\nWALG_FILE_PREFIX='{storage[len('file://') :]}' # backups\n"
        f"AWS_SECRET_ACCESS_KEY={PLANTED}\n"
    )
    variables = sandbox.variables(cluster, walg_storage="", walg_env_file=str(path))
    foretold = sandbox.play("mapswipe.walg.site", variables, "--check", "--diff")
    assert foretold.rc == 0, foretold.stdout
    play = sandbox.play("mapswipe.walg.site", variables, "--diff", "-vvv")
    assert play.rc == 0, play.stdout
    assert PLANTED not in foretold.stdout + play.stdout
    assert f"STORAGE='{storage}'" in (sandbox.host / "config/main.env").read_text()
    assert sandbox.play("mapswipe.walg.site", variables).changed() == []

    cluster.sql("CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 200) g")
    cluster.ship()
    rows = cluster.rows("t")
    cluster.lose()
    back = sandbox.play("mapswipe.walg.restore", {**variables, "walg_restore_request": "lost"}, "-e", "walg_hosts=db")
    assert back.rc == 0, back.stdout
    assert cluster.rows("t") == rows

    # The prefix among the settings is the same storage; another one changes nothing.
    own = {**variables, "walg_env_file": "", "walg_settings": {"WALG_FILE_PREFIX": storage[len("file://") :]}}
    before = files(sandbox.host / "config")
    differing = sandbox.play("mapswipe.walg.site", {**own, "walg_storage": storage + "-other"})
    assert "Two storages are set" in differing.failure()
    assert files(sandbox.host / "config") == before
    same = sandbox.play("mapswipe.walg.site", own)
    assert same.rc == 0, same.stdout
    assert f"STORAGE='{storage}'" in (sandbox.host / "config/main.env").read_text()
