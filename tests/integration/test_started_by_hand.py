# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that were started by hand come back the way they were: configuration directory, options, environment, log."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.restoring import History
from support.sandbox import Cluster, Sandbox

OWN = ("LANG", "PGPORT", "LD_LIBRARY_PATH", "TZ", "PG_OOM_ADJUST_VALUE", "A_SECRET")


def environment(cluster: Cluster) -> dict[str, str]:
    text = Path(f"/proc/{cluster.pid()}/environ").read_text()
    found = dict(one.partition("=")[::2] for one in text.split("\0") if "=" in one)
    return {name: found[name] for name in OWN if name in found}


def apart(sandbox: Sandbox, name: str, port_in_file: bool = True) -> tuple[Cluster, Path]:
    """A cluster whose configuration lies elsewhere, with the data directory named in it."""
    cluster = sandbox.idle_cluster(name)
    cluster.create(archive_mode="off")
    config = sandbox.pg_dir / f"etc-{name}"
    sandbox.run(["mkdir", str(config)], user=sandbox.user)
    for file in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        sandbox.run(["mv", str(cluster.data_dir / file), str(config)], user=sandbox.user)
    with (config / "postgresql.conf").open("a", encoding="utf-8") as stream:
        stream.write(f"data_directory = '{cluster.data_dir}'\n")
    if not port_in_file:
        text = (config / "postgresql.conf").read_text()
        (config / "postgresql.conf").write_text(text.replace(f"port = '{cluster.port}'\n", ""))
    return cluster, config


def shell(cluster: Cluster, script: str, **variables: str) -> None:
    """Run a line as the owner would type it."""
    env = {"PATH": f"{cluster.bin_dir}:/usr/bin:/bin", "LANG": "C.UTF-8", **variables}
    sandbox = cluster.sandbox
    ended = sandbox.run(["sh", "-c", script], user=sandbox.user, env=env, timeout=60)
    assert ended.returncode == 0, ended.stdout
    for _turn in range(100):
        if sandbox.run([str(cluster.bin_dir / "pg_ctl"), "-D", str(cluster.data_dir), "status"]).returncode == 0:
            break
        subprocess.run(["sleep", "0.1"], check=True)


def by_config_directory(cluster: Cluster, config: Path) -> None:
    shell(cluster, f"pg_ctl -D {config} -l {cluster.log} -w start", TZ="Asia/Tokyo", A_SECRET="hidden")


def by_options(cluster: Cluster, config: Path) -> None:
    options = f"-p {cluster.port} -c config_file={config}/postgresql.conf -c cluster_name='a b'"
    shell(cluster, f"pg_ctl -D {config} -l {cluster.log} -w -o {shlex.quote(options)} start")


def by_variables(cluster: Cluster, config: Path) -> None:
    script = f"nohup postgres > {cluster.log} 2>&1 &"
    shell(cluster, script, PGDATA=str(config), PGPORT=str(cluster.port))


def by_relative_path(cluster: Cluster, config: Path) -> None:
    """The configuration has relative paths, too: they count from where the server is started."""
    with (config / "postgresql.conf").open("a", encoding="utf-8") as stream:
        stream.write(f"data_directory = '{cluster.data_dir.name}'\nhba_file = '{config.name}/pg_hba.conf'\n")
    shell(cluster, f"cd {config.parent} && pg_ctl -D {config.name} -l {cluster.log} -w start", PWD=str(config.parent))


WAYS: dict[str, Callable[[Cluster, Path], None]] = {
    "directory": by_config_directory,
    "options": by_options,
    "variables": by_variables,
    "relative": by_relative_path,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_restart_brings_it_back_as_it_was(sandbox: Sandbox, way: str) -> None:
    """And so does a restore, of a server that runs and of one that is gone."""
    cluster, config = apart(sandbox, way, port_in_file=way not in ("variables", "options"))
    WAYS[way](cluster, config)
    before, names = environment(cluster), ("config_file", "hba_file", "port", "cluster_name")
    shown = [cluster.sql(f"SHOW {name}") for name in names]
    log = os.readlink(f"/proc/{cluster.pid()}/fd/1")
    sandbox.configure(cluster)
    record = Path(sandbox.instance(way)["config_dir"]) / f"{way}.env"
    assert "hidden" not in record.read_text()
    answer = sandbox.module("walg_archive", {**sandbox.instance(way), "restart": "allowed"})
    assert (answer.get("failed"), answer.get("restart")) == (None, True), answer

    def as_it_was() -> bool:
        assert [cluster.sql(f"SHOW {name}") for name in names] == shown
        assert cluster.sql("SHOW archive_mode") == "on"
        assert os.readlink(f"/proc/{cluster.pid()}/fd/1") == log
        return True

    assert as_it_was()
    assert environment(cluster) == before
    text = record.read_text()
    sandbox.configure(cluster)
    assert record.read_text() == text, "what was found is found again"
    cluster.sql("CREATE TABLE t (id int PRIMARY KEY)")
    history = History(cluster)
    history.step()
    answer = sandbox.module("walg_backup", {**sandbox.instance(way), "max_age": 0})
    assert answer.get("changed"), answer
    history.step()
    answer = sandbox.module("walg_restore", {**sandbox.instance(way), "request": "running", "stop_running": True})
    assert answer.get("changed"), answer
    assert not answer.get("failed"), answer
    assert as_it_was()
    assert environment(cluster) == before
    assert history.numbers() == [0, 1]
    cluster.ship()
    cluster.lose()
    answer = sandbox.module("walg_restore", {**sandbox.instance(way), "request": "lost"})
    assert not answer.get("failed"), answer
    assert [cluster.sql(f"SHOW {name}") for name in names] == shown
    recorded = {name: value for name, value in before.items() if name != "A_SECRET"}
    assert {name: environment(cluster).get(name) for name in recorded} == recorded
    assert history.numbers() == [0, 1]


def test_what_can_not_be_started_again_is_not_stopped(sandbox: Sandbox) -> None:
    """A relative path from nobody knows where; the server can't be asked where it went wrong, so nothing is stopped."""
    cluster = sandbox.cluster("main", archive_mode="off")
    sandbox.configure(cluster)
    cluster.stop()
    broken = f"cd {cluster.data_dir.parent} && pg_ctl -D main -l {cluster.log} -w -o '-c ident_file=main/pg_ident.conf' start"
    shell(cluster, f"unset PWD; {broken}", PWD="/")
    pid = cluster.pid()
    answer = sandbox.module("walg_archive", {**sandbox.instance(), "restart": "allowed"})
    if answer.get("failed"):
        assert "relative path" in answer["msg"], answer
        assert cluster.pid() == pid
    else:
        assert cluster.sql("SHOW archive_mode") == "on"
