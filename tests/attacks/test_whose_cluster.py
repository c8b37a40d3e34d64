# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another user pretends to be the cluster, its server or its manager: root runs nothing of his, and is led nowhere."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _debian
from support.attackers import Tally, attackers, holding, in_time, own, program
from support.restoring import archived, restore
from support.sandbox import Cluster, Sandbox, database_user

STRANGER = attackers()[-1]


def number(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


#: Seconds that a module may take, on a busy machine, where it waits for nobody.
SOON = 60


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    """A real one that is archived, with a base backup."""
    return archived(sandbox).cluster


def info(sandbox: Sandbox, cluster: Cluster, **given: str) -> dict[str, Any]:
    """What the first task of a play asks, in check mode."""
    known = {"data_dir": str(cluster.data_dir), "service": "pg_ctl", **given}
    options = sandbox.host_options(cluster, purpose="backup", cluster=known)
    return in_time(SOON, lambda: sandbox.module("walg_instance", options, check=True)) or {"msg": "held up"}


def is_real(answer: dict[str, Any], cluster: Cluster) -> bool:
    """Say whether it is the real cluster that was found, with its own programs."""
    found = answer.get("cluster", {})
    return (found.get("bin_dir"), found.get("os_user"), found.get("service")) == (
        str(cluster.bin_dir),
        cluster.sandbox.user,
        "pg_ctl",
    )


@pytest.fixture
def theirs(ground: Path, cluster: Cluster) -> Path:
    """A directory of the stranger's that looks like a cluster, with a program beside it that tells who runs it."""
    made = own(ground / "theirs", STRANGER)
    (made / "data" / "global").mkdir(parents=True)
    shutil.copy(cluster.data_dir / "global" / "pg_control", made / "data" / "global" / "pg_control")
    (made / "data" / "PG_VERSION").write_text(f"{cluster.sandbox.major()}\n")
    (made / "bin").mkdir()
    shutil.copy("/bin/sleep", made / "bin" / "postgres")
    for path in (made, *made.rglob("*")):
        shutil.chown(path, STRANGER)
        path.chmod(0o755)
    return made


def trap(theirs: Path) -> Path:
    """Put a script in the place of the program that runs: whoever looks for programs there would start it."""
    mark = theirs / "ran"
    (theirs / "bin" / "postgres").unlink()
    (theirs / "bin" / "postgres").write_text(f"#!/bin/sh\nid -u >> {mark}\necho 'postgres (PostgreSQL) 14.1'\n")
    (theirs / "bin" / "postgres").chmod(0o755)
    return mark


@pytest.mark.parametrize("named", [False, True])
def test_a_program_called_postgres_in_a_directory_that_looks_like_a_cluster(
    sandbox: Sandbox, cluster: Cluster, theirs: Path, tally: Tally, named: bool
) -> None:
    """Whether or not the play names its cluster, the stranger's is none that root finds by itself."""
    fake = theirs / "data"
    with program(STRANGER, ["postgres", "600"], fake, theirs / "bin" / "postgres") as pid:
        (fake / "postmaster.pid").write_text(f"{pid}\n{fake}\n1\n5432\n/tmp\n*\n1 1\nready\n")
        mark = trap(theirs)
        if named:
            tally.count(not is_real(info(sandbox, cluster), cluster))
        else:
            answer = info(sandbox, cluster, data_dir="")
            told = [answer.get("cluster", {}).get("data_dir"), *answer.get("found", [])]
            tally.count(str(fake) in told or answer.get("msg") == "held up")
        tally.count(mark.exists())


def in_the_real_one(cluster: Cluster, _theirs: Path) -> tuple[list[str], Path]:
    return ["postgres", "600"], cluster.data_dir


def called_with_it(cluster: Cluster, _theirs: Path) -> tuple[list[str], Path]:
    return ["postgres", "-D", str(cluster.data_dir)], Path("/")


def a_manager(cluster: Cluster, _theirs: Path) -> tuple[list[str], Path]:
    return ["patroni", str(cluster.data_dir)], Path("/")


PRETENDERS: list[Callable[[Cluster, Path], tuple[list[str], Path]]] = [in_the_real_one, called_with_it, a_manager]


@contextlib.contextmanager
def pretending(
    cluster: Cluster, theirs: Path, who: Callable[[Cluster, Path], tuple[list[str], Path]]
) -> Iterator[None]:
    """The stranger's process; it sleeps whatever it is called with, and the data directory lets everybody pass."""
    sleeper = theirs / "bin" / "postgres"
    sleeper.write_bytes(Path("/bin/sh").resolve().read_bytes())
    argv, place = who(cluster, theirs)
    mode = cluster.data_dir.stat().st_mode & 0o777
    cluster.data_dir.chmod(0o711)
    try:
        with program(STRANGER, ["postgres", "-c", "read line < /dev/zero", *argv], place, sleeper):
            yield
    finally:
        cluster.data_dir.chmod(mode)


@pytest.mark.parametrize("who", PRETENDERS)
def test_a_process_of_a_stranger_counts_for_nothing(
    sandbox: Sandbox,
    cluster: Cluster,
    theirs: Path,
    tally: Tally,
    who: Callable[[Cluster, Path], tuple[list[str], Path]],
) -> None:
    with pretending(cluster, theirs, who):
        answer = info(sandbox, cluster)
        tally.count(not is_real(answer, cluster))


def test_nor_does_it_keep_a_lost_cluster_from_being_restored(
    sandbox: Sandbox, cluster: Cluster, theirs: Path, tally: Tally
) -> None:
    cluster.stop()
    try:
        for who in PRETENDERS:
            with pretending(cluster, theirs, who):
                answer = in_time(SOON, lambda: restore(sandbox, "any", check=True))
                tally.count(answer is None or bool(answer.get("failed")))
    finally:
        cluster.start()


@pytest.mark.parametrize("name", ["postmaster.pid", "PG_VERSION", "global/pg_control", "postmaster.opts"])
def test_a_pipe_in_a_directory_in_which_a_stranger_works(
    sandbox: Sandbox, cluster: Cluster, theirs: Path, tally: Tally, name: str
) -> None:
    """Root would wait for a writer for ever."""
    path = theirs / "data" / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    for argv in (["sleep", "600"], ["postgres", "600"]):
        with program(STRANGER, argv, theirs / "data", theirs / "bin" / "postgres"):
            tally.count(not is_real(info(sandbox, cluster), cluster))
            tally.count(info(sandbox, cluster, data_dir="").get("msg") == "held up")


@pytest.mark.parametrize("laid_by", ["stranger", "root", "owner"])
def test_the_data_directory_by_a_link(
    sandbox: Sandbox, cluster: Cluster, ground: Path, tally: Tally, laid_by: str
) -> None:
    """Root's and the owner's are good; a stranger's could lead elsewhere the next time."""
    link = ground / "main"
    link.symlink_to(cluster.data_dir)
    if laid_by != "root":
        os.lchown(link, number(STRANGER if laid_by == "stranger" else sandbox.user), -1)
    answer = info(sandbox, cluster, data_dir=str(link))
    if laid_by == "stranger":
        tally.count(f"{link} belongs to the user {STRANGER!r}" not in answer.get("msg", ""))
    else:
        tally.count(not is_real(answer, cluster))


def test_a_data_directory_below_one_of_a_stranger(
    sandbox: Sandbox, cluster: Cluster, ground: Path, tally: Tally
) -> None:
    place = own(ground / "theirs", STRANGER)
    (place / "main").symlink_to(cluster.data_dir)
    answer = info(sandbox, cluster, data_dir=str(place / "main"))
    tally.count(f"{place} belongs to the user {STRANGER!r}" not in answer.get("msg", ""))


@pytest.mark.parametrize("user", [STRANGER, "root", "0"])
def test_another_user_is_not_made_the_owner(sandbox: Sandbox, cluster: Cluster, tally: Tally, user: str) -> None:
    """The settings with the archive's secrets would be given to him."""
    answer = info(sandbox, cluster, os_user=user)
    tally.count(not answer.get("failed") or not ("belongs to" in answer["msg"] or "run as root" in answer["msg"]))
    found = info(sandbox, cluster)
    options = {
        "storage": sandbox.storage("other"),
        "binary": str(sandbox.host / "bin" / "wal-g"),
        "instance": "other",
        "cluster": {**found["cluster"], "os_user": user},
        "directories": found["directories"],
    }
    answer = sandbox.module("walg_config", options)
    tally.count(not answer.get("failed") or (sandbox.host / "config" / "other.json").exists())


def listen(path: Path, note: Path) -> threading.Thread:
    """A stranger's server at a socket: it asks for the password in clear text and notes what it is told."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o777)
    listener.listen()

    def serve() -> None:
        while True:
            with contextlib.suppress(OSError):
                peer, _address = listener.accept()
                peer.recv(65536)
                peer.sendall(b"R" + struct.pack(">ii", 8, 3))
                note.write_bytes(peer.recv(65536))
                peer.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def test_a_socket_of_a_stranger_is_told_no_password(
    sandbox: Sandbox, cluster: Cluster, ground: Path, tally: Tally
) -> None:
    """Where everybody can make files, as in /tmp, anybody can listen while the server is down."""
    place, notes = ground / "sockets", own(ground / "notes", STRANGER)
    place.mkdir()
    place.chmod(0o1777)
    cluster.stop()
    port = "5999"
    try:
        with holding(STRANGER, lambda: listen(place / f".s.PGSQL.{port}", notes / "heard")):
            known = {
                "data_dir": str(cluster.data_dir),
                "bin_dir": str(cluster.bin_dir),
                "socket_dir": str(place),
                "port": port,
            }
            secrets = {"PGPASSWORD": "opensesame"}
            options = sandbox.host_options(cluster, purpose="backup", cluster=known, secrets=secrets)
            in_time(SOON, lambda: sandbox.module("walg_instance", options))
            heard = (notes / "heard").read_bytes() if (notes / "heard").exists() else b""
            tally.count(b"opensesame" in heard)
    finally:
        cluster.start()


def test_debians_files_are_read_as_their_owner(ground: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to a file that is root's alone, and pipes, in configuration that the database user keeps."""
    secret = ground / "secret"
    secret.write_text("data_directory = '/of/root'\n")
    secret.chmod(0o600)
    etc = own(ground / "etc", database_user())
    monkeypatch.setattr(_debian, "ETC", str(etc))
    monkeypatch.setattr(_debian, "LIB", str(ground / "lib"))
    server = ground / "lib" / "15" / "bin" / "postgres"
    server.parent.mkdir(parents=True)
    server.write_text("")
    server.chmod(0o755)
    conf = etc / "15" / "main"
    (conf / "conf.d").mkdir(parents=True)

    def lay(main: Callable[[Path], None], part: Callable[[Path], None] | None) -> list[str] | None:
        for path, make in ((conf / "postgresql.conf", main), (conf / "conf.d" / "a.conf", part)):
            path.unlink(missing_ok=True)
            if make:
                make(path)
        for path in (etc, *etc.rglob("*")):
            os.lchown(path, number(database_user()), -1)
        found = in_time(SOON, lambda: {"found": [one.data_dir for one in _debian.configured()]})
        return None if found is None else list(found["found"])

    def plain(path: Path) -> None:
        path.write_text("data_directory = '/of/the/owner'\ninclude_dir = 'conf.d'\n")

    def leading_to_the_secret(path: Path) -> None:
        path.symlink_to(secret)

    tally.count(lay(plain, None) != ["/of/the/owner"])
    tally.count(lay(leading_to_the_secret, None) != [])
    tally.count(lay(plain, leading_to_the_secret) != ["/of/the/owner"])
    tally.count(lay(os.mkfifo, None) != [])
    tally.count(lay(plain, os.mkfifo) != ["/of/the/owner"])
