# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers as people set them up: what works there is done, and what does not is refused before the first change."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.observe import files
from support.restoring import backup, restarted_with
from support.sandbox import Cluster, Sandbox

Host = tuple[Sandbox, Cluster]


@pytest.fixture(scope="module")
def host(make_sandbox: Callable[..., Sandbox]) -> Host:
    """A stock server on a virgin host, for what is refused."""
    sandbox = make_sandbox()
    return sandbox, sandbox.cluster("main")


@pytest.fixture
def configured(make_sandbox: Callable[..., Sandbox], request: pytest.FixtureRequest) -> Callable[..., Host]:
    """A factory of clusters with WAL-G and settings, archiving not yet switched on; ``walg``: settings of WAL-G."""

    def make(walg: dict[str, str] | None = None, **settings: str) -> Host:
        sandbox = make_sandbox()
        cluster = sandbox.cluster("main", **{"archive_mode": "on", **settings})
        sandbox.configure(cluster, settings=walg)
        request.addfinalizer(cluster.stop)
        return sandbox, cluster

    return make


def preflight(sandbox: Sandbox, cluster: Cluster, check: bool = True, **more: Any) -> dict[str, Any]:
    """Ask as the role does; ``more`` goes to the cluster, but for the options of the module itself."""
    own = {name: more.pop(name) for name in ("secrets", "settings") if name in more}
    sandbox.storage(cluster.name)
    options = sandbox.host_options(cluster, purpose="backup", archive={"restart": "allowed"}, **own)
    return sandbox.module("walg_instance", {**options, "cluster": {**options["cluster"], **more}}, check)


def refusal(sandbox: Sandbox, cluster: Cluster, **more: Any) -> str:
    """Return what it says, in check mode as well; it must not have touched the host or the server."""
    before = (files(sandbox.host), cluster.pid(), [path.read_bytes() for path in cluster.data_dir.glob("*.conf")])
    messages = set()
    for check in (True, False):
        answer = preflight(sandbox, cluster, check, **dict(more))
        assert answer.get("failed"), answer
        messages.add(str(answer["msg"]))
    now = (files(sandbox.host), cluster.pid(), [path.read_bytes() for path in cluster.data_dir.glob("*.conf")])
    assert now == before
    assert len(messages) == 1
    return messages.pop()


def passes(sandbox: Sandbox, cluster: Cluster, **more: Any) -> dict[str, Any]:
    answer = preflight(sandbox, cluster, **more)
    assert not answer.get("failed"), answer
    return dict(answer["cluster"])


@contextmanager
def changed(cluster: Cluster, content: bytes) -> Iterator[Path]:
    """Another postgresql.conf for the time of a block, and a server that has read it."""
    conf = cluster.data_dir / "postgresql.conf"
    before = conf.read_bytes()
    conf.write_bytes(content)
    cluster.sql("SELECT pg_reload_conf()")
    try:
        yield conf
    finally:
        conf.write_bytes(before)
        cluster.sql("SELECT pg_reload_conf()")


# --- the operating system user ----------------------------------------------------------------------------------------


def test_the_owner_given_by_number(host: Host) -> None:
    sandbox, cluster = host
    uid = pwd.getpwnam(sandbox.user).pw_uid
    assert passes(sandbox, cluster, os_user=str(uid))["os_user"] == sandbox.user
    assert passes(sandbox, cluster, os_user=uid)["os_user"] == sandbox.user


def test_a_user_who_is_not_the_owner(host: Host) -> None:
    sandbox, cluster = host
    assert "No operating system user named 'nobody-here'" in refusal(sandbox, cluster, os_user="nobody-here")
    other = "daemon" if os.geteuid() == 0 else "root"
    message = refusal(sandbox, cluster, os_user=other)
    assert f"belongs to {sandbox.user!r}" in message
    assert "walg_pg_os_user" in message


# --- what is read after our file ---------------------------------------------------------------------------------------


def test_a_line_after_ours_is_named(configured: Callable[..., Host]) -> None:
    sandbox, cluster = configured()
    options = {**sandbox.instance(), "restart": "allowed"}
    assert sandbox.module("walg_archive", options).get("changed")
    conf = cluster.data_dir / "postgresql.conf"
    ours = conf.read_bytes()
    conf.write_bytes(ours + b"# of the house\nArchive_Timeout = 5min\n")
    started = cluster.sql("SELECT pg_postmaster_start_time(), pg_reload_conf()")
    number = conf.read_bytes().count(b"\n")
    for check in (True, False):
        answer = sandbox.module("walg_archive", options, check)
        assert f"archive_timeout = '5min' in {conf} line {number} comes after the collection's file" in answer["msg"], (
            answer
        )
    assert cluster.sql("SELECT pg_postmaster_start_time(), true") == started
    conf.write_bytes(ours + b"archive_timeout = 1min\narchive_mode = yes\n")
    cluster.sql("SELECT pg_reload_conf()")
    assert sandbox.module("walg_archive", options)["changed"] is False, "the same value in other words"


@pytest.mark.parametrize(
    ("lines", "name", "content"),
    [
        ("include_dir 'conf.d'\n", "conf.d/zz-later.conf", "archive_mode = off\n"),
        ("include_dir = 'conf.d'\ninclude 'site.conf'\n", "site.conf", "archive_mode = off\n"),
        ("include_dir 'conf.d'\ninclude_dir 'more'\n", "more/00.conf", "\narchive_mode = false\n"),
        ("include_if_exists 'mapswipe_walg.conf'\ninclude 'site.conf'\n", "site.conf", "archive_mode = off\n"),
    ],
)
def test_what_comes_later_is_seen_before_ours_is_there(host: Host, lines: str, name: str, content: str) -> None:
    sandbox, cluster = host
    later = cluster.data_dir / name
    for folder in (cluster.data_dir / "conf.d", later.parent):
        folder.mkdir(exist_ok=True)
        shutil.chown(folder, sandbox.user)
    later.write_text(content)
    try:
        with changed(cluster, (cluster.data_dir / "postgresql.conf").read_bytes() + lines.encode()):
            message = refusal(sandbox, cluster)
            assert f"in {later} line {content.count(chr(10))} comes after the collection's file" in message
            later.write_text("work_mem = 5MB\n")
            passes(sandbox, cluster)
    finally:
        later.unlink()


def test_what_sorts_before_ours_does_not_matter(host: Host) -> None:
    sandbox, cluster = host
    earlier = cluster.data_dir / "conf.d/aa.conf"
    earlier.parent.mkdir(exist_ok=True)
    shutil.chown(earlier.parent, sandbox.user)
    earlier.write_text("archive_mode = off\n")
    try:
        with changed(
            cluster,
            b"archive_timeout = 3\n" + (cluster.data_dir / "postgresql.conf").read_bytes() + b"include_dir 'conf.d'\n",
        ):
            passes(sandbox, cluster)
    finally:
        earlier.unlink()


def test_alter_system_that_waits_for_a_restart_is_seen(host: Host) -> None:
    sandbox, cluster = host
    cluster.sql("ALTER SYSTEM SET archive_mode = off")
    try:
        assert "Run: ALTER SYSTEM RESET archive_mode;" in refusal(sandbox, cluster)
    finally:
        cluster.sql("ALTER SYSTEM RESET archive_mode")


# --- configuration files of every kind ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tail",
    [
        b"# Datenbank f\xfcr Z\xfcrich\n",
        b"work_mem = 5MB\r\n# CR and LF\r\n",
        b"work_mem = 5MB\r\n# no end",
        b"cluster_name = 'caf\xe9'  # \xff\xfe\n",
    ],
)
def test_the_bytes_of_others_stay_as_they_are(configured: Callable[..., Host], tail: bytes) -> None:
    sandbox, cluster = configured()
    conf = cluster.data_dir / "postgresql.conf"
    before = conf.read_bytes() + tail
    conf.write_bytes(before)
    assert sandbox.module("walg_archive", sandbox.instance()).get("changed")
    after = conf.read_bytes()
    assert after.startswith(before)
    added = after[len(before) :].strip().decode()
    assert added.startswith("include_if_exists = 'mapswipe_walg.conf'")
    assert sandbox.module("walg_archive", sandbox.instance())["changed"] is False
    backup(sandbox)


def test_a_configuration_of_others_includes_ours_by_hand(make_sandbox: Callable[..., Sandbox]) -> None:
    """Neither root's own nor the owner's: a line of the administrator's is the way on, and no directory is given away."""
    sandbox = make_sandbox()
    cluster = sandbox.cluster("main", archive_mode="on")
    etc = sandbox.root / "etc"
    etc.mkdir()
    shutil.copy(cluster.data_dir / "postgresql.conf", etc / "postgresql.conf")
    (etc / "postgresql.conf").chmod(0o644)
    if os.geteuid() == 0:
        shutil.chown(etc, "daemon")
    etc.chmod(0o555)
    cluster.stop()
    cluster.start("-c", f"config_file={etc}/postgresql.conf", "-c", f"hba_file={cluster.data_dir}/pg_hba.conf")
    sandbox.configure(cluster)
    message = str(sandbox.module("walg_archive", sandbox.instance()).get("msg"))
    line = f"include_if_exists = '{cluster.data_dir}/mapswipe_walg.conf'"
    assert f"\n  {line}\n" in message
    assert "Give" not in message
    etc.chmod(0o755)
    with open(etc / "postgresql.conf", "a", encoding="utf-8") as stream:
        stream.write(f"{line}\n")
    etc.chmod(0o555)
    assert sandbox.module("walg_archive", sandbox.instance()).get("changed")
    assert cluster.sql("SELECT sourcefile FROM pg_settings WHERE name = 'archive_command'").startswith(
        str(cluster.data_dir)
    )
    assert sandbox.module("walg_archive", sandbox.instance())["changed"] is False
    cluster.stop()
    etc.chmod(0o755)


# --- sessions ----------------------------------------------------------------------------------------------------------

ROLE = [
    ("statement_timeout", "100ms"),
    ("idle_in_transaction_session_timeout", "1s"),
    ("idle_session_timeout", "1s"),
    ("transaction_timeout", "1s"),
    ("lock_timeout", "1ms"),
    ("default_transaction_read_only", "on"),
    ("search_path", "nowhere"),
    ("datestyle", "German"),
]


@pytest.mark.parametrize("place", ["role", "database", "server"])
def test_settings_that_would_end_a_session(configured: Callable[..., Host], place: str) -> None:
    """A base backup that takes longer than each of them: it is taken, or refused before, with the line that lets it through."""
    sandbox, cluster = configured({"WALG_DISK_RATE_LIMIT": "8000000"})
    known = cluster.sql("SELECT name FROM pg_settings").splitlines()
    target = {"role": "ALTER ROLE postgres", "database": "ALTER DATABASE postgres", "server": "ALTER SYSTEM"}[place]
    cluster.sql(
        "".join(f"{target} SET {name} = '{value}';\n" for name, value in ROLE if name in known)
        + "SELECT pg_reload_conf()"
    )
    answer = preflight(sandbox, cluster)
    if answer.get("failed"):
        assert sandbox.walg_version() != "v3.0.8"
        lines = [line for line in answer["msg"].splitlines() if line.startswith("  ALTER")]
        assert len(lines) == len({"statement_timeout", "idle_session_timeout", "transaction_timeout"} & set(known))
        taken = sandbox.module("walg_backup", {**sandbox.instance(), "max_age": 0})
        assert taken["msg"] == answer["msg"], "the job says the same"
        cluster.sql("SET default_transaction_read_only = off;" + "".join(lines))
    passes(sandbox, cluster)
    archived = sandbox.module("walg_archive", sandbox.instance())
    assert archived.get("changed"), archived
    assert sandbox.module("walg_archive_check", sandbox.instance()).get("changed")
    assert backup(sandbox)["name"]


# --- files that the owner can't read -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["postgresql.conf.before", "base/notes", "lost+found/"])
def test_what_the_owner_can_not_read_is_named(host: Host, name: str) -> None:
    sandbox, cluster = host
    path = cluster.data_dir / name
    if name.endswith("/"):
        path.mkdir()
    else:
        path.write_text("x")
    path.chmod(0)
    try:
        message = refusal(sandbox, cluster)
        assert f"{sandbox.user!r} can't read {path}: no base backup can be taken" in message
        assert ("remove it as root with rmdir" in message) is (path.name == "lost+found")
    finally:
        path.rmdir() if name.endswith("/") else path.unlink()
    passes(sandbox, cluster)


def test_a_socket_ends_a_base_backup(host: Host) -> None:
    """WAL-G gives up at one, PostgreSQL's own included: somebody has unix_socket_directories lead into the data directory."""
    sandbox, cluster = host
    path = cluster.data_dir / "agent.sock"
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(cluster.data_dir):
        listener.bind(path.name)
    try:
        message = refusal(sandbox, cluster)
        assert f"{path}: WAL-G ends a base backup at a socket" in message
        assert "unix_socket_directories" in message
    finally:
        path.unlink()
    passes(sandbox, cluster)


# --- how the server is reached -----------------------------------------------------------------------------------------


def found_host(sandbox: Sandbox, cluster: Cluster) -> dict[str, Any]:
    """Ask without saying where the socket is."""
    return preflight(sandbox, cluster, socket_dir="")


def test_the_address_alone(host: Host) -> None:
    sandbox, cluster = host
    with restarted_with(cluster, "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1"):
        answer = found_host(sandbox, cluster)
        assert (answer.get("failed"), answer["cluster"]["socket_dir"]) == (None, "127.0.0.1"), answer


def test_several_sockets(host: Host) -> None:
    sandbox, cluster = host
    both = f"@mapswipe-{cluster.port}, {cluster.socket_dir}"
    with restarted_with(cluster, "-c", f"unix_socket_directories={both}"):
        answer = found_host(sandbox, cluster)
        assert (answer.get("failed"), answer["cluster"]["socket_dir"]) == (None, str(cluster.socket_dir)), answer


def test_an_abstract_socket_alone_is_refused(host: Host) -> None:
    sandbox, cluster = host
    with restarted_with(cluster, "-c", f"unix_socket_directories=@mapswipe-{cluster.port}"):
        message = refusal(sandbox, cluster, socket_dir="")
        assert f"the abstract socket @mapswipe-{cluster.port} alone, which WAL-G can't use" in message
        assert "unix_socket_directories" in message


def test_a_socket_that_is_not_there(host: Host) -> None:
    sandbox, cluster = host
    message = refusal(sandbox, cluster, socket_dir="/nowhere")
    assert "Set walg_pg_socket_dir and walg_pg_port to where the server listens" in message


def test_no_database_postgres(configured: Callable[..., Host]) -> None:
    sandbox, cluster = configured()
    cluster.sql("CREATE DATABASE maps")
    psql = cluster.psql("maps")
    assert sandbox.run([*psql, "-c", "ALTER DATABASE postgres RENAME TO renamed"]).returncode == 0
    message = refusal(sandbox, cluster)
    assert "Set walg_pg_database to one of those that exist: maps, renamed, template1." in message
    assert passes(sandbox, cluster, database="maps")["database"] == "maps"
    sandbox.configure(cluster, cluster_options={"database": "maps"})
    archived = sandbox.module("walg_archive", sandbox.instance())
    assert archived.get("changed"), archived
    assert backup(sandbox)["name"]
    assert sandbox.run([*psql, "-c", "ALTER DATABASE renamed RENAME TO postgres"]).returncode == 0


@pytest.mark.parametrize("way", ["secret", "passfile"])
def test_a_password_on_the_socket(configured: Callable[..., Host], way: str) -> None:
    sandbox, cluster = configured()
    cluster.sql("SET password_encryption = 'scram-sha-256'; ALTER ROLE postgres PASSWORD 'open sesame'")
    hba = cluster.data_dir / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text("local all all scram-sha-256\n")
    cluster.sql("SELECT pg_reload_conf()")
    try:
        message = refusal(sandbox, cluster)
        assert "The server wants a password of this role. Put it into walg_secrets as PGPASSWORD" in message
        wrong = refusal(sandbox, cluster, secrets={"PGPASSWORD": "wrong"})
        assert "password authentication failed" in wrong
        passfile = sandbox.pg_dir / "passfile"
        passfile.write_text("*:*:*:postgres:open sesame\n")
        passfile.chmod(0o600)
        shutil.chown(passfile, sandbox.user)
        given: dict[str, Any] = {
            "secret": {"secrets": {"PGPASSWORD": "open sesame"}},
            "passfile": {"settings": {"PGPASSFILE": str(passfile)}},
        }[way]
        passes(sandbox, cluster, **given)
        sandbox.configure(cluster, **given)
        archived = sandbox.module("walg_archive", sandbox.instance())
        assert archived.get("changed"), archived
        assert "open sesame" not in str(archived)
        assert backup(sandbox)["name"]
    finally:
        hba.write_text(before)
        passfile.unlink(missing_ok=True)
