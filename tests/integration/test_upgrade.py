# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL-G's version goes up and down again under a live archive, by plays that know no more than walg_version and a mirror.

WALG_BINARY_NEWER=/path/to/wal-g names the other version. Without it, the other one is the WAL-G under test with another number
stamped into it: the same code, so the plays' work is tested, and not how two WAL-Gs get on with each other's archive.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import releases
from support.observe import files
from support.releases import Releases
from support.restoring import ask, done
from support.sandbox import Cluster, Sandbox

NEWER = os.environ.get("WALG_BINARY_NEWER", "")
PLAYBOOK = str(Path(__file__).parent / "playbooks" / "install.yml")
PASSWORD = "open-sesame-4711"  # of nobody


def stamped(sandbox: Sandbox) -> tuple[Path, str]:
    """Return the other WAL-G and its version."""
    if NEWER:
        shown = sandbox.run([NEWER, "--version"]).stdout
        return Path(NEWER), shown.split("\t")[0].split()[-1]
    return releases.renumbered(sandbox)


@pytest.fixture(scope="module")
def server(sandbox: Sandbox) -> Iterator[Releases]:
    with Releases(sandbox.root / "releases") as it:
        path, version = stamped(sandbox)
        it.publish(sandbox.walg, sandbox.walg_version())
        it.publish(path, version)
        yield it


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    made = sandbox.cluster("main", archive_mode="on")
    made.sql("CREATE TABLE t (id serial PRIMARY KEY, filling text)")
    sandbox.storage("main")
    return made


def told(sandbox: Sandbox, cluster: Cluster, server: Releases, version: str) -> dict[str, Any]:
    """What an inventory says: no file, no digest."""
    variables = sandbox.variables(
        cluster, walg_version=version, walg_binary_mirror=server.url, walg_binary_mirror_ca=server.ca
    )
    for name in ("walg_binary_src", "walg_binary_checksum"):
        variables.pop(name)
    return {**variables, "walg_binary_mirror_username": "backup", "walg_binary_mirror_password": PASSWORD}


def install(sandbox: Sandbox, cluster: Cluster, server: Releases, version: str, *arguments: str, **more: Any) -> Any:
    play = sandbox.play(PLAYBOOK, {**told(sandbox, cluster, server, version), **more}, *arguments)
    assert play.rc == 0, play.stdout
    assert PASSWORD not in play.stdout
    return play


def in_force(sandbox: Sandbox) -> str:
    """Return the name of the binary that the record has."""
    lines = (sandbox.host / "config" / "main.env").read_text().splitlines()
    return Path(next(line for line in lines if line.startswith("WALG_BINARY=")).split("'")[1]).name


def binaries(sandbox: Sandbox) -> list[str]:
    return sorted(path.name for path in (sandbox.host / "bin").iterdir() if not path.name.startswith("."))


@contextmanager
def writing(cluster: Cluster) -> Iterator[list[int]]:
    """Rows and whole segments all the time; yield the list of how many were committed."""
    over, count, wrong = threading.Event(), [0], []

    def write() -> None:
        while not over.is_set():
            try:
                cluster.sql(
                    "INSERT INTO t (filling) SELECT repeat(md5(g::text), 8) FROM generate_series(1, 50) g; SELECT pg_switch_wal()"
                )
            except AssertionError as exc:
                wrong.append(exc)
                return
            count[0] += 50
            time.sleep(0.5)  # whole segments: the archiver has to keep up on a busy machine

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield count
    finally:
        over.set()
        thread.join()
    assert wrong == []


def test_a_version_that_cannot_back_up_this_postgresql_is_not_even_fetched(
    sandbox: Sandbox, cluster: Cluster, server: Releases
) -> None:
    """PostgreSQL 15 with WAL-G before 2.0.1. A stand-in says that the server's programs are of 15."""
    programs = sandbox.root / "fifteen"
    programs.mkdir()
    (programs / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.18'\n")
    (programs / "postgres").chmod(0o755)
    before = files(sandbox.host)
    variables = {**told(sandbox, cluster, server, "2.0.0"), "walg_pg_bin_dir": str(programs)}
    play = sandbox.play(PLAYBOOK, variables)
    assert "Found WAL-G 2.0.0 with PostgreSQL 15" in play.failure()
    assert "Use WAL-G 2.0.1 or newer (walg_version)" in play.failure()
    assert (server.requests, files(sandbox.host)) == ([], before)
    play = sandbox.play(PLAYBOOK, {**variables, "walg_version": "2.0.1"})
    assert "2.0.1/" in play.failure(), "this one is only not on the server"
    assert "answered 404" in play.failure()


def test_a_virgin_host_by_version_and_mirror(sandbox: Sandbox, cluster: Cluster, server: Releases) -> None:
    """Check mode fetches no binary, changes nothing and says what it would fetch."""
    version = sandbox.walg_version()
    before = files(sandbox.host)
    play = install(sandbox, cluster, server, version, "--check")
    assert files(sandbox.host) == before
    assert [path for path, _sent in server.requests if not path.endswith(".sha256")] == []
    answer = play.of("walg_instance")[0]
    assert answer["storage"] == {"asked": False, "reason": "WAL-G is not on this host yet"}
    foretold = [answer["url"]]
    assert foretold[0].startswith(server.url)
    server.requests.clear()
    play = install(sandbox, cluster, server, version)
    assert [path for path, _sent in server.requests] == [
        f"{foretold[0].removeprefix(server.url)}{end}" for end in (".sha256", "")
    ]
    assert binaries(sandbox) == [f"wal-g-{version}"]
    assert in_force(sandbox) == f"wal-g-{version}"
    server.requests.clear()
    assert install(sandbox, cluster, server, version).changed() == []
    assert server.requests == []
    assert PASSWORD not in "".join(
        path.read_text("utf-8", "replace") for path in sandbox.host.rglob("*") if path.is_file()
    )


def test_up_and_down_while_segments_are_shipped(sandbox: Sandbox, cluster: Cluster, server: Releases) -> None:
    """Nothing fails, nothing is missing, both versions' base backups restore with either."""
    version, (_path, other) = sandbox.walg_version(), stamped(sandbox)
    # An idle server ships nothing while a test looks at the files.
    assert sandbox.module("walg_archive", {**sandbox.instance(), "timeout": 600})["changed"]
    backups = [sandbox.module("walg_backup", sandbox.instance())["backup"]["name"]]
    since = cluster.sql("SELECT last_archived_wal FROM pg_stat_archiver")
    with writing(cluster) as count:
        before = count[0]
        moved = install(sandbox, cluster, server, other)
        assert in_force(sandbox) == f"wal-g-{other}"
        assert [one["step"] for one in moved.of("walg_instance")[0]["steps"]] == ["install", "settings"]
        backups.append(sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})["backup"]["name"])
        assert count[0] > before
    cluster.ship()
    if NEWER:
        both_restore(sandbox, cluster, backups, "with-the-other")
    with writing(cluster):
        install(sandbox, cluster, server, version)
        assert in_force(sandbox) == f"wal-g-{version}"
        assert binaries(sandbox) == sorted([f"wal-g-{version}", f"wal-g-{other}"])  # one that nobody uses is kept
    cluster.ship()
    assert cluster.sql("SELECT failed_count FROM pg_stat_archiver") == "0"
    assert missing(sandbox, since, cluster.sql("SELECT last_archived_wal FROM pg_stat_archiver")) == []
    both_restore(sandbox, cluster, backups, "with-the-first")


def missing(sandbox: Sandbox, since: str, last: str) -> list[int]:
    """Return the numbers of the segments that the storage lacks between these two."""

    def number(name: str) -> int:
        return int(name[8:16], 16) * 256 + int(name[16:24], 16)

    names = {
        path.name[:24] for path in (sandbox.storage_dir / "main" / "wal_005").iterdir() if "backup" not in path.name
    }
    there = {number(name) for name in names if len(name) == 24}
    assert number(last) > number(since) + 10, "it did not write"
    return [one for one in range(number(since), number(last) + 1) if one not in there]


def both_restore(sandbox: Sandbox, cluster: Cluster, backups: list[str], request: str) -> None:
    """Restore from each base backup beside the running server, up to now, and compare every row."""
    lsn = cluster.sql("SELECT pg_current_wal_insert_lsn()")
    cluster.sql("INSERT INTO t (filling) VALUES ('after')")
    cluster.ship()
    query = "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY id)) FROM t WHERE filling <> 'after'"
    for number, backup in enumerate(backups):
        found = done(sandbox, f"{request}-{number}", backup=backup, target_lsn=lsn, action="pause")
        assert found["backup"]["name"] == backup
        assert ask(sandbox, found["connect"], query) == cluster.sql(query)
        done(sandbox, f"{request}-{number}", discard=True)


def test_old_versions_go_and_a_package_stays(sandbox: Sandbox, cluster: Cluster, server: Releases) -> None:
    """keep: 0 leaves the one in use; one that somebody else put there is used and left alone."""
    version, (path, other) = sandbox.walg_version(), stamped(sandbox)
    assert binaries(sandbox) == sorted([f"wal-g-{version}", f"wal-g-{other}"])
    play = install(sandbox, cluster, server, version, walg_binary_keep=0)
    assert [one["step"] for one in play.of("walg_instance")[0]["steps"]] == ["prune"]
    assert binaries(sandbox) == [f"wal-g-{version}"]
    package = sandbox.root / "package" / "wal-g"
    package.parent.mkdir()
    package.write_bytes(path.read_bytes())
    package.chmod(0o755)
    before = files(package.parent)
    install(sandbox, cluster, server, other, walg_binary_path=str(package))
    assert in_force(sandbox) == "wal-g"
    assert files(package.parent) == before


def test_a_file_on_the_controller(sandbox: Sandbox, cluster: Cluster, server: Releases) -> None:
    """For hosts without internet. The wrong file is refused before anything is sent."""
    version, (path, other) = sandbox.walg_version(), stamped(sandbox)
    given = {"walg_binary_src": str(path), "walg_binary_remote_src": False}
    before = files(sandbox.host)
    server.requests.clear()
    variables = {**told(sandbox, cluster, server, other), **given}
    play = sandbox.play(PLAYBOOK, {**variables, "walg_binary_checksum": "sha256:" + "0" * 64})
    assert "on the controller has the digest sha256:" in play.failure()
    assert files(sandbox.host) == before
    variables["walg_binary_checksum"] = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    play = sandbox.play(PLAYBOOK, variables, "--check")
    assert play.rc == 0, play.stdout
    assert files(sandbox.host) == before
    foretold = play.changed()
    play = sandbox.play(PLAYBOOK, variables)
    assert play.rc == 0, play.stdout
    assert play.changed() == foretold
    assert in_force(sandbox) == f"wal-g-{other}"
    assert sorted(one for one in os.listdir(sandbox.host / "bin")) == sorted(
        [".mapswipe-walg.json", f"wal-g-{version}", f"wal-g-{other}"]
    )
    assert server.requests == []
