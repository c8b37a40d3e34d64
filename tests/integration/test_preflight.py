# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host tells is refused before the first change: the module that every role begins with, and one whole play."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.observe import files
from support.restoring import restarted_with
from support.sandbox import Cluster, Sandbox


@pytest.fixture(scope="module")
def host(make_sandbox: Callable[..., Sandbox]) -> tuple[Sandbox, Cluster]:
    """A stock server on a virgin host."""
    sandbox = make_sandbox()
    return sandbox, sandbox.cluster("main")


def preflight(sandbox: Sandbox, cluster: Cluster, purpose: str = "backup", **archive: Any) -> dict[str, Any]:
    """Ask as the roles do in check mode."""
    sandbox.storage(cluster.name)
    options = sandbox.host_options(cluster, purpose=purpose, archive={"restart": "allowed", **archive})
    return sandbox.module("walg_instance", options, check=True)


def refusal(sandbox: Sandbox, cluster: Cluster, purpose: str = "backup", **archive: Any) -> str:
    """Return what it says; it must not have touched the host."""
    before = files(sandbox.host)
    answer = preflight(sandbox, cluster, purpose, **archive)
    assert answer.get("failed"), answer
    assert files(sandbox.host) == before
    return str(answer["msg"])


def test_a_stock_server_passes(host: tuple[Sandbox, Cluster]) -> None:
    answer = preflight(*host)
    assert (answer.get("failed"), answer["cluster"]["service"]) == (None, "pg_ctl"), answer


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("absent", None, "There is no data directory"),
        ("empty", [], "is empty"),
        ("other", ["precious.txt"], "holds no PostgreSQL cluster"),
        ("parts", ["PG_VERSION"], "holds only parts of a PostgreSQL cluster"),
    ],
)
def test_no_cluster(host: tuple[Sandbox, Cluster], name: str, content: list[str] | None, text: str) -> None:
    sandbox, cluster = host
    there = replace(cluster, data_dir=cluster.data_dir.parent / name)
    if content is not None:
        there.data_dir.mkdir()
        shutil.chown(there.data_dir, sandbox.user)
        for file in content:
            (there.data_dir / file).write_text("14\n")
    message = refusal(sandbox, there)
    assert text in message
    assert "restore it (playbook mapswipe.walg.restore)" in message
    assert not preflight(sandbox, there, "restore").get("failed")


def test_programs_of_another_major(host: tuple[Sandbox, Cluster], tmp_path: Path) -> None:
    sandbox, cluster = host
    other = sandbox.root / "other"
    other.mkdir()
    (other / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 10.23'\n")
    (other / "postgres").chmod(0o755)
    message = refusal(sandbox, replace(cluster, bin_dir=other))
    assert f"but the programs in {other} are of 10. Correct walg_pg_bin_dir" in message


def test_a_server_that_does_not_run(host: tuple[Sandbox, Cluster]) -> None:
    sandbox, cluster = host
    cluster.stop()
    try:
        assert "No server runs on" in refusal(sandbox, cluster)
    finally:
        cluster.start()


def test_a_cluster_manager(host: tuple[Sandbox, Cluster]) -> None:
    sandbox, cluster = host
    trace = cluster.data_dir / "patroni.dynamic.json"
    trace.write_text("{}")
    try:
        for purpose in ("backup", "restore"):
            assert f"is managed by Patroni ({trace})" in refusal(sandbox, cluster, purpose)
    finally:
        trace.unlink()


def test_a_restart_that_is_not_allowed_names_every_setting(host: tuple[Sandbox, Cluster]) -> None:
    sandbox, cluster = host
    assert "is needed for archive_mode, and none" in refusal(sandbox, cluster, restart="never")
    with restarted_with(cluster, "-c", "wal_level=minimal", "-c", "max_wal_senders=0"):
        assert "wal_level = 'minimal' is given on the server's command line" in refusal(sandbox, cluster)
    conf = cluster.data_dir / "postgresql.conf"
    before = conf.read_text()
    conf.write_text(f"{before}wal_level = minimal\nmax_wal_senders = 0\n")
    try:
        with restarted_with(cluster):
            assert "is needed for archive_mode, wal_level, and none" in refusal(sandbox, cluster, restart="never")
            assert not preflight(sandbox, cluster).get("failed")
            cluster.sql("ALTER SYSTEM SET wal_level = minimal")
            cluster.stop()
            cluster.start()
            assert "wal_level = 'minimal' was set by ALTER SYSTEM" in refusal(sandbox, cluster)
            cluster.sql("ALTER SYSTEM RESET wal_level")
    finally:
        conf.write_text(before)
        cluster.stop()
        cluster.start()


COMMAND_LINE = [
    # (options, whether it is refused, text)
    ({"archive_mode": "off"}, "archive_mode = 'off' is given on the server's command line"),
    ({"archive_mode": "on", "archive_command": "cp %p /x"}, "archive_command = 'cp %p /x' is given on the server's"),
    ({"archive_command": "cp %p /x"}, "archive_command is given on the server's command line"),
    ({"archive_timeout": "7"}, "archive_timeout = '7' is given on the server's command line"),
    ({"archive_mode": "on"}, None),
    ({"wal_level": "logical"}, None),
]


@pytest.mark.parametrize(("options", "text"), COMMAND_LINE, ids=["+".join(row[0]) for row in COMMAND_LINE])
def test_what_the_command_line_says_wins(
    host: tuple[Sandbox, Cluster], options: dict[str, str], text: str | None
) -> None:
    """To take over a foreign command does not help: nothing that we write takes its place."""
    sandbox, cluster = host
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    with restarted_with(cluster, *words):
        if text is None:
            assert not preflight(sandbox, cluster).get("failed")
            return
        for replaced in (False, True):
            assert text in refusal(sandbox, cluster, replace=replaced)


def test_a_configuration_that_is_not_the_owners(host: tuple[Sandbox, Cluster]) -> None:
    """A container's ``-c config_file``: readable for the server, others' to write."""
    sandbox, cluster = host
    other = sandbox.root / "etc"
    other.mkdir()
    shutil.copy(cluster.data_dir / "postgresql.conf", other / "postgresql.conf")
    (other / "postgresql.conf").chmod(0o644)
    if os.geteuid() == 0:
        shutil.chown(other, "daemon")
    other.chmod(0o555)
    options = ("-c", f"config_file={other}/postgresql.conf", "-c", f"hba_file={cluster.data_dir}/pg_hba.conf")
    with restarted_with(cluster, *options):
        assert f"{other} holds PostgreSQL's configuration, and {sandbox.user!r} can't write there" in refusal(
            sandbox, cluster
        )
        shutil.chown(other, sandbox.user)
        other.chmod(0o755)
        assert not preflight(sandbox, cluster).get("failed")


def test_a_play_that_is_refused_leaves_a_virgin_host(host: tuple[Sandbox, Cluster]) -> None:
    sandbox, cluster = host
    sandbox.storage("main")
    before = (files(sandbox.host), files(sandbox.storage_dir))
    play = sandbox.play("mapswipe.walg.site", sandbox.variables(cluster, walg_backup_restart="never"))
    assert play.rc != 0
    assert "walg_backup_restart: allowed" in play.failure()
    assert (files(sandbox.host), files(sandbox.storage_dir)) == before
