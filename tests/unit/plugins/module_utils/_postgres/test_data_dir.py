# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data directories as files: hand-made ones, with a stand-in for a postmaster where one has to live."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _proc
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._host._waiting import wait_until
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import (
    _data_dir,
    _discovery,
    _server_process,
    _servers,
)
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._data_dir import DataDir
from support.scripted import Scripted
from support.walg_world import write_cluster

IDENTIFIER = 18446744073709551557  # above 2**63: read unsigned
UID = os.geteuid()


def make(path: Path, state: int = 1, version: str = "14\n") -> Path:
    (path / "global").mkdir(parents=True)
    (path / "PG_VERSION").write_text(version)
    (path / "global" / "pg_control").write_bytes(
        struct.pack("=QIIi", IDENTIFIER, 1300, 202107181, state).ljust(8192, b"\0")
    )
    return path


@pytest.fixture
def postmaster(tmp_path: Path) -> Iterator[Callable[[Path], int]]:
    """Start programs that are called postgres and work in a directory, as the kernel sees a postmaster."""
    program = tmp_path / "programs" / "postgres"
    program.parent.mkdir()
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    started: list[subprocess.Popen[bytes]] = []

    def start(directory: Path) -> int:
        started.append(subprocess.Popen([str(program), "60"], cwd=directory))
        deadline = time.monotonic() + 5
        while not _server_process.is_server(started[-1].pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_absent(tmp_path: Path) -> None:
    assert _data_dir.inspect(str(tmp_path / "x"), None) == DataDir(str(tmp_path / "x"), "absent")


def test_empty(tmp_path: Path) -> None:
    assert _data_dir.inspect(str(tmp_path), None) == DataDir(str(tmp_path), "empty", owner_uid=UID)


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_no_directory_at_all(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "file":
        path.write_text("")
    else:
        path.symlink_to("/no/such/place")
    assert _data_dir.inspect(str(path), None).kind == "other"


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["lost+found"], "empty"),  # of the file system
        ([".mapswipe-walg", "lost+found"], "empty"),  # where a mount point's old cluster is kept
        (["lost+found", "photos"], "other"),
        (["photos", "mail"], "other"),
        (["PG_VERSION"], "damaged"),
        (["base", "pg_wal"], "damaged"),
        (["photos", "global"], "damaged"),
    ],
)
def test_parts_of_a_cluster_and_what_is_none(tmp_path: Path, names: list[str], kind: str) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    assert _data_dir.inspect(str(tmp_path), None).kind == kind


@pytest.mark.parametrize("size", [0, 8, 19])
def test_a_control_file_cut_short_is_damage(tmp_path: Path, size: int) -> None:
    make(tmp_path / "d")
    control = tmp_path / "d" / "global" / "pg_control"
    control.write_bytes(control.read_bytes()[:size])
    found = _data_dir.inspect(str(tmp_path / "d"), None)
    assert (found.kind, found.major, found.system_identifier) == ("damaged", 14, "")


@pytest.mark.parametrize(
    ("state", "clean"), [(0, False), (1, True), (2, True), (3, False), (4, False), (5, False), (6, False)]
)
def test_cluster_and_its_state(tmp_path: Path, state: int, clean: bool) -> None:
    """DBState: starting up, shut down, the same in recovery, shutting down, two kinds of recovery, in production."""
    path = str(make(tmp_path / "d", state))
    found = _data_dir.inspect(path, None)
    wanted = DataDir(path, "cluster", 14, str(IDENTIFIER), clean, state in (2, 5), owner_uid=UID)
    assert replace(found, limits={}, timeline=0, catalog=0) == wanted
    assert found.catalog == 202107181
    assert _data_dir.inspect(path, User.current()) == found


@pytest.mark.parametrize(("text", "major"), [("10\n", 10), ("18\n", 18), ("9.6\n", 9), ("", 0), ("x", 0)])
def test_major(tmp_path: Path, text: str, major: int) -> None:
    assert _data_dir.inspect(str(make(tmp_path / "d", version=text)), None).major == major


def test_a_directory_closed_to_the_user(tmp_path: Path) -> None:
    if UID != 0:
        tmp_path.chmod(0)
        who = None
    else:
        tmp_path.chmod(0o700)
        for parent in tmp_path.parents:
            if parent.stat().st_uid == UID and parent not in (Path("/"), Path("/tmp")):
                parent.chmod(parent.stat().st_mode | 0o011)
        who = User.by_name("nobody")
    with pytest.raises(WalgError, match="cannot be read: run as root or as its owner"):
        _data_dir.inspect(str(tmp_path), who)
    tmp_path.chmod(0o700)


# --- servers ----------------------------------------------------------------------------------------------------------


def pid_file(directory: Path, *lines: object) -> None:
    (directory / "postmaster.pid").write_text("\n".join(map(str, lines)) + "\n")


def test_live_postmaster(tmp_path: Path, postmaster: Callable[[Path], int]) -> None:
    path = make(tmp_path / "d", 6)
    pid = postmaster(path)
    pid_file(path, pid, path, 1700000000, 5433, "/run/postgresql", "", "  1234  5", "ready   ")
    found = _data_dir.inspect(str(path), None)
    assert (found.pid, found.port, found.socket_dir, found.clean) == (pid, "5433", "/run/postgresql", False)
    assert _servers.servers_on(str(path)) == [pid]


@pytest.mark.parametrize("lines", [("",), ("x",), (2**22 + 1, "/d", 1, 5433, "/s"), (-4711, "/d", 1, 5433, "/s")])
def test_a_pid_file_without_a_server(tmp_path: Path, lines: tuple[object, ...]) -> None:
    path = make(tmp_path / "d")
    pid_file(path, *lines)
    found = _data_dir.inspect(str(path), None)
    assert (found.pid, found.port, found.socket_dir) == (0, "", "")


def test_a_pid_that_another_program_has_now(tmp_path: Path) -> None:
    path = make(tmp_path / "d")
    pid_file(path, os.getpid(), path, 1, 5433, "/run")
    assert _data_dir.inspect(str(path), None).pid == 0


def test_a_pid_file_of_a_server_that_is_just_starting(tmp_path: Path, postmaster: Callable[[Path], int]) -> None:
    """Its later lines come one by one."""
    path = make(tmp_path / "d")
    pid = postmaster(path)
    pid_file(path, pid, path)
    found = _data_dir.inspect(str(path), None)
    assert (found.pid, found.port, found.socket_dir) == (pid, "", "")


def test_servers_on_other_directories_do_not_count(tmp_path: Path, postmaster: Callable[[Path], int]) -> None:
    for name in ("d", "d2"):
        (tmp_path / name).mkdir()
    second = postmaster(tmp_path / "d2")
    assert _servers.servers_on(str(tmp_path / "d")) == []
    assert _servers.servers_on(str(tmp_path / "d2")) == [second]


def test_a_server_is_found_by_a_link_to_its_directory(tmp_path: Path, postmaster: Callable[[Path], int]) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "d")
    pid = postmaster(tmp_path / "d")
    assert _servers.servers_on(str(tmp_path / "link")) == [pid]


def test_a_server_is_found_when_its_directory_was_deleted_under_it(
    tmp_path: Path, postmaster: Callable[[Path], int]
) -> None:
    """The lost disk that is none: rm -rf of PGDATA leaves the server running."""
    (tmp_path / "d").mkdir()
    pid = postmaster(tmp_path / "d")
    (tmp_path / "d").rmdir()
    assert _servers.servers_on(str(tmp_path / "d")) == [pid]


def test_a_servers_children_are_not_servers(tmp_path: Path) -> None:
    """Backends have the same name and directory; only their parent is the postmaster."""
    program = tmp_path / "postgres"
    shutil.copy(os.path.realpath("/bin/sh"), program)
    data = tmp_path / "d"
    data.mkdir()
    with subprocess.Popen(
        [str(program), "-c", "(while :; do sleep 0.1; done) & echo $!; wait"], cwd=data, stdout=-1, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert _server_process.is_server(child)
        found = _servers.servers_on(str(data))
        os.kill(child, 9)
        parent.kill()
    assert found == [parent.pid]


def test_a_server_that_has_not_gone_to_its_directory_yet(tmp_path: Path) -> None:
    """It has just been started, by a run that was killed then: moved now, the directory would go away under it."""
    program, data, aside = tmp_path / "postgres", make(tmp_path / "d"), make(tmp_path / "aside")
    shutil.copy(os.path.realpath("/bin/sh"), program)
    argv = [str(program), "-c", "read line", "postgres", "-D", str(data)]
    found = {}
    for place in (Path("/"), aside):
        with subprocess.Popen(argv, cwd=place, stdin=-1) as server:
            found[place] = (
                _servers.servers_on(str(data)) == [server.pid],
                _servers.servers_on(str(aside)) == [server.pid],
            )
            server.kill()
    assert found == {Path("/"): (True, False), aside: (False, True)}


def test_a_containers_server_is_known_by_its_directory_not_by_its_path(
    tmp_path: Path, postmaster: Callable[[Path], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path that it works in is one of its own mounts: another directory may have that name here, or another name this one."""
    data, same_name = make(tmp_path / "d"), make(tmp_path / "same name")
    pid, real = postmaster(data), _proc.link

    def link(of: int, name: str) -> str:
        if of == pid:
            return {"ns/mnt": "mnt:[1]", "cwd": str(same_name)}.get(name) or real(of, name)
        return real(of, name)

    monkeypatch.setattr(_proc, "link", link)
    assert _servers.foreign(pid)
    assert not _servers.foreign(os.getpid())
    assert _servers.servers_on(str(same_name)) == []
    assert _servers.servers_on(str(data)) == [pid]
    assert _servers.workers_on(str(same_name), ("postgres",)) == []
    assert str(same_name) not in [one.data_dir for one in _discovery.running(Scripted(), {UID})]


@pytest.mark.parametrize("path", ["its own", "deleted", "closed to us"])
def test_a_units_server_with_mounts_of_its_own_is_no_containers(
    tmp_path: Path, postmaster: Callable[[Path], int], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """PrivateTmp and the like: the data directory is where its path says."""
    data = make(tmp_path / "d")
    pid, real = postmaster(data), _proc.link
    monkeypatch.setattr(_proc, "link", lambda of, name: "mnt:[1]" if (of, name) == (pid, "ns/mnt") else real(of, name))
    if path == "deleted":
        shutil.rmtree(data)
    if path == "closed to us":

        def closed(*_paths: str) -> bool:
            raise PermissionError

        monkeypatch.setattr(os.path, "samefile", closed)
    assert not _servers.foreign(pid)
    assert _servers.servers_on(str(data)) == [pid]


def test_the_directories_on_which_servers_run(tmp_path: Path, postmaster: Callable[[Path], int]) -> None:
    data, idle, log = make(tmp_path / "d"), make(tmp_path / "idle"), tmp_path / "log"
    log.mkdir()
    for place in (data, log):  # a logger of PostgreSQL's may work in another directory
        postmaster(place)
    found = {one.path: one for one in _servers.served()}
    assert {str(data), str(idle), str(log)} & set(found) == {str(data)}
    assert found[str(data)].owner_uid == os.stat(data).st_uid


def test_workers_by_directory_and_by_argument(tmp_path: Path) -> None:
    """Whoever works in it or was called with it, below it too; not in a neighbour whose name only begins alike."""
    program = tmp_path / "wal-g"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    work, neighbour = tmp_path / "data.restore-r1", tmp_path / "data.restore-r10"
    (work / "base").mkdir(parents=True)
    neighbour.mkdir()
    script = tmp_path / "wal-fetch"
    script.write_text("#!/bin/sh\nread x\n")
    script.chmod(0o755)
    mine = [
        subprocess.Popen([str(program), "60"], cwd=work),
        subprocess.Popen([str(program), "60"], cwd=work / "base"),
        subprocess.Popen([str(script), str(work)], cwd="/", stdin=subprocess.PIPE),
    ]
    others = [
        subprocess.Popen([str(program), "60"], cwd=neighbour),
        subprocess.Popen([str(script), str(neighbour)], cwd="/", stdin=subprocess.PIPE),
        subprocess.Popen(["sleep", "60"], cwd=work),
    ]
    try:
        time.sleep(0.2)  # a script's command line is its shell's from exec on
        assert sorted(_servers.workers_on(str(work), ("wal-g", "wal-fetch"))) == sorted(one.pid for one in mine)
    finally:
        for process in (*mine, *others):
            process.kill()
            process.communicate()


def test_no_such_process() -> None:
    assert not _server_process.is_server(2**22 + 1)
    assert not _server_process.is_server(os.getpid())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ('/usr/bin/postgres "-D" "/data"\n', ""),
        ("/usr/bin/postgres -D /data\n", ""),
        ('/usr/bin/postgres "-D/data"\n', ""),
        ('/usr/bin/postgres "-D" "/data" "-c" "config_file=/etc/a b.conf"\n', "-c 'config_file=/etc/a b.conf'"),
        ('/usr/bin/postgres "-p" "5433" "-D" "/data" "-k" "/run"\n', "-p 5433 -k /run"),
        ('/usr/bin/postgres "-D" "/da\n', ""),
        ('/usr/bin/postgres "-D" "/a"; touch "x\\" "-p" "5433"\n', "-p 5433"),  # no name is quoted any better
    ],
)
def test_start_options(tmp_path: Path, text: str, expected: str) -> None:
    path = make(tmp_path / "d")
    (path / "postmaster.opts").write_text(text)
    assert _data_dir.inspect(str(path), None).start_options == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ('/b/postgres "-D" "{data}"', ""),
        ('/b/postgres "-D" "{data}/"', ""),
        ('/b/postgres "-D" "/etc/pg/main"', "/etc/pg/main/postgresql.conf"),
        ('/b/postgres "-D/etc/pg/main" "-p" "5433"', "/etc/pg/main/postgresql.conf"),
        ('/b/postgres "-D" "/etc/pg/main" "-c" "config_file=/etc/pg/other.conf"', "/etc/pg/other.conf"),
        ('/b/postgres "-D" "{data}" "--config-file=/etc/a b.conf"', "/etc/a b.conf"),
        ('/b/postgres "-D" "{data}" "-cconfig_file={data}/custom.conf"', ""),
        ('/b/postgres "-D" "{data}" "-c" "config_file={data}.d/postgresql.conf"', "{data}.d/postgresql.conf"),
        ('/b/postgres "-c" "config_file=relative.conf"', ""),
    ],
)
def test_the_configuration_file_outside_of_the_directory(tmp_path: Path, text: str, expected: str) -> None:
    path = make(tmp_path / "d")
    (path / "postmaster.opts").write_text(text.format(data=path) + "\n")
    assert _data_dir.inspect(str(path), None).config_file == expected.format(data=path)


def test_a_processs_variables() -> None:
    child = subprocess.Popen(["sleep", "60"], env={"PGDATA": "/etc/pg", "EMPTY": ""})
    try:
        assert wait_until(lambda: bool(_proc.environment(child.pid)), 10.0)
        assert _proc.environment(child.pid) == {"PGDATA": "/etc/pg", "EMPTY": ""}
    finally:
        child.kill()
        child.communicate()
    assert _proc.environment(2**22 + 1) == {}


@pytest.mark.parametrize("name", ["PG_VERSION", "postmaster.pid", "postmaster.opts", "global/pg_control"])
def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(tmp_path: Path, name: str) -> None:
    """Any user of the host may run a server on a directory with one, and every server's directory is looked at."""
    write_cluster(tmp_path / "data")
    (tmp_path / "data" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "data" / name)
    assert _data_dir.inspect(str(tmp_path / "data"), None).pid == 0
    assert _data_dir.start_words(str(tmp_path / "data")) == []
    with pytest.raises(OSError, match="not a regular file"):
        _proc.read(str(tmp_path / "data" / name))
