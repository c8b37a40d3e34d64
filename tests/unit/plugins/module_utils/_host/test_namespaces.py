# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in a container from outside, in real namespaces: what it is there, what others there can do to it, and what is left of it."""

from __future__ import annotations

import hashlib
import importlib
import os
import platform
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _cgroups, _namespaces, _proc, _trust
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User, call_as
from support.box import Box, eventually, lives, needs_box

pytestmark = needs_box


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    made = Box(tmp_path_factory.mktemp("box") / "root")
    yield made
    made.end()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Box]:
    """A box that a test may end."""
    made = Box(tmp_path / "root")
    yield made
    made.end()


def status(*names: str) -> dict[str, str]:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    rows = dict(line.split(":", 1) for line in text.splitlines())
    return {name: rows[name].strip() for name in names}


def test_it_is_in_the_container_s_namespaces_but_the_host_name_s(box: Box) -> None:
    def look() -> dict[str, str]:
        return {name: os.readlink(f"/proc/self/ns/{name}") for name in ("ipc", "net", "mnt", "pid", "uts", "user")}

    found = box.answer(look)
    theirs = {name: os.readlink(f"/proc/{box.pid}/ns/{name}") for name in ("ipc", "net", "mnt", "pid")}
    assert {name: found[name] for name in theirs} == theirs
    assert {name: found[name] for name in ("uts", "user")} == {
        name: os.readlink(f"/proc/self/ns/{name}") for name in ("uts", "user")
    }


def test_it_has_the_root_directory_and_the_process_table_of_the_container(box: Box) -> None:
    def look() -> dict[str, Any]:
        return {"root": os.listdir("/"), "cwd": os.getcwd(), "pids": sorted(_proc.pids()), "mine": os.getpid()}

    found = box.answer(look)
    assert set(found["root"]) <= {*os.listdir(box.root), "old"}
    assert "srv" not in found["root"]
    assert found["cwd"] == "/"
    assert len(found["pids"]) == 3  # the container's own, the guard and who works
    assert found["mine"] in found["pids"]


def test_it_keeps_seven_capabilities_and_gets_no_more(box: Box) -> None:
    found = box.answer(lambda: status("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs"))
    assert found.pop("NoNewPrivs") == "1"
    assert {name: int(bits, 16) for name, bits in found.items()} == {
        "CapEff": 0xFB,
        "CapPrm": 0xFB,
        "CapBnd": 0xFB,
        "CapInh": 0,
        "CapAmb": 0,
    }


def test_programs_get_no_capability_that_the_container_s_have_not(tmp_path: Path) -> None:
    command = ["setpriv", "--bounding-set=-all,+chown,+setuid", "sleep", "infinity"]
    made = Box(tmp_path / "root", command)
    try:
        eventually(lambda: b"sleep" in Path(f"/proc/{made.pid}/cmdline").read_bytes().split(b"\0")[:1])

        def look() -> list[str]:
            mine = status("CapEff", "CapBnd")
            theirs = Runner().run(["grep", "-h", "CapEff", "/proc/self/status"]).stdout
            return [mine["CapEff"], mine["CapBnd"], theirs.split()[-1]]

        assert [int(bits, 16) for bits in made.answer(look)] == [0xFB, 0x81, 0x81]
    finally:
        made.end()


def test_it_can_be_another_user_and_come_back(box: Box) -> None:
    def look() -> list[Any]:
        owner = User.by_name("postgres")
        said = Runner().run(["id", "-u"], user=owner).stdout.strip()
        return [owner.uid, owner.gid, call_as(owner, os.getuid), call_as(owner, os.getgroups), said, os.getuid()]

    assert box.answer(look) == [999, 998, 999, [101, 998], "999", 0]


def test_temporary_files_are_the_container_s(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/somewhere/of/the/machine")
    assert box.answer(tempfile.gettempdir) == "/tmp"


# ---- what others in the container can do


_PEEK = r"""
import ctypes, os, sys
pid = int(sys.argv[1])
won = []
for name in ("mem", "environ", "maps", "exe", "cwd", "root", "auxv", "map_files", *(f"fd/{one}" for one in range(20))):
    path = f"/proc/{pid}/{name}"
    try:
        if name in ("exe", "cwd", "root") or name.startswith("fd/"):
            os.readlink(path)
        elif name == "map_files":
            os.listdir(path)
        else:
            open(path, "rb").read(1)
        won.append(name)
    except OSError:
        pass
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
for number in (16, 0x4206):
    if libc.ptrace(number, pid, None, None) == 0:
        won.append(f"ptrace {number}")
print(" ".join(won) or "nothing")
"""


PYTHON = "/usr/bin/python3"
needs_python = pytest.mark.skipif(not os.path.exists(PYTHON), reason=f"there is no {PYTHON}")


@needs_python
@pytest.mark.parametrize("as_user", [None, "postgres"])
def test_nobody_in_there_can_look_into_it(box: Box, as_user: str | None) -> None:
    """Not the container's root, who has the same capabilities, and not its own children as another user."""

    def peek() -> list[str]:
        user = User.by_name(as_user) if as_user else None
        mine, guard = os.getpid(), os.getppid()
        return [
            Runner().run([PYTHON, "-I", "-S", "-c", _PEEK, str(pid)], user=user).stdout.strip() for pid in (mine, guard)
        ]

    assert box.answer(peek) == ["nothing", "nothing"]


@needs_python
def test_a_child_that_is_another_user_is_as_closed(box: Box) -> None:
    def peek() -> str:
        owner = User.by_name("postgres")

        def look() -> str:
            return Runner().run([PYTHON, "-I", "-S", "-c", _PEEK, str(os.getpid())]).stdout.strip()

        return str(call_as(owner, look))

    assert box.answer(peek) == "nothing"


# ---- what the container has is nothing of this process


def test_no_module_is_imported_from_the_container(tmp_path: Path) -> None:
    """Neither where this Python has its own, nor where the library was."""
    evil = "open('/tmp/won', 'w')\n"
    places = [entry for entry in sys.path if entry.startswith("/") and not entry.startswith(("/usr", "/lib"))]
    made = Box(tmp_path / "root", files={f"{place[1:]}/sunau_none.py": evil for place in [*places, "/tmp"]})

    def look() -> list[str]:
        sys.path.append("/tmp")
        said = []
        for name in ("sunau_none", "sunau", "_strptime2", "encodings.utf_7x"):
            try:
                importlib.import_module(name)
                said.append(name)
            except ImportError as exc:
                said.append(type(exc).__name__)
        return said

    try:
        assert set(made.answer(look)) == {"ModuleNotFoundError"}
        assert not (tmp_path / "root/tmp/won").exists()
    finally:
        made.end()


def test_no_library_is_loaded_from_the_container(tmp_path: Path) -> None:
    """Names of users and hosts are where the C library would load modules by the container's nsswitch.conf."""
    files = {
        "etc/nsswitch.conf": "passwd: evil\ngroup: evil\ninitgroups: evil\nhosts: evil\nservices: evil\n",
        "etc/hosts": "192.0.2.7 storage.example\n",
        "etc/ssl/openssl.cnf": "openssl_conf = x\n[x]\nproviders = p\n[p]\nevil = e\n[e]\nmodule = /evil.so\nactivate = 1\n",
    }
    made = Box(tmp_path / "root", files=files)

    def mapped() -> set[str]:
        return {line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if len(line.split(None, 5)) == 6}

    def look() -> list[Any]:
        before = mapped()
        said: list[Any] = [User.by_name("postgres").uid, User.by_uid(12345).name]
        said.append(_trust.is_loose("/tmp"))
        said.append(hashlib.sha512(b"x").hexdigest()[:8])
        said.append(bool(platform.node()))
        try:
            socket.create_connection(("storage.example", 443), timeout=0.2)
        except OSError as exc:
            said.append(type(exc).__name__)
        return [said, sorted(mapped() - before)]

    try:
        said, loaded = made.answer(look)
        assert loaded == []
        assert said[:3] == [999, "12345", True]
    finally:
        made.end()


def test_host_names_are_those_of_the_container(tmp_path: Path) -> None:
    made = Box(
        tmp_path / "root", files={"etc/hosts": "192.0.2.7 storage.example\n", "etc/nsswitch.conf": "hosts: files\n"}
    )

    def look() -> list[Any]:
        said: list[Any] = [socket.getaddrinfo("storage.example", 443, 0, socket.SOCK_STREAM)[0][4][0]]
        said.append(socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)[0][4][0])
        for name in ("none.example", "-h", "a b"):
            try:
                socket.getaddrinfo(name, 443)
            except socket.gaierror:
                said.append("none")
        return said

    try:
        assert made.answer(look) == ["192.0.2.7", "127.0.0.1", "none", "none", "none"]
    finally:
        made.end()


def test_a_traceback_reads_no_file_of_the_container(tmp_path: Path) -> None:
    """A FIFO in the place of a source file would hold it up for ever."""
    place = Path(__file__)
    made = Box(tmp_path / "root")
    there = tmp_path / "root" / str(place)[1:]
    there.parent.mkdir(parents=True)
    os.mkfifo(there)

    def look() -> str:
        try:
            raise ValueError("a defect")
        except ValueError:
            return traceback.format_exc()

    try:
        assert made.answer(look).endswith("ValueError: a defect\n")
    finally:
        made.end()


@pytest.mark.parametrize(
    "files",
    [
        {"etc/passwd": "\n:::::\n#x:x:1:1::/:\n+nis::::::\npostgres:x:-1:0::/:/\npostgres:x:4294967295:1::/:/\nx\n"},
        {"etc/passwd": "postgres:x:\u0661:1::/:/bin/sh\npostgres:x:99999999999999999999:1::/:/\n"},
        {"etc/passwd": ""},
    ],
)
def test_accounts_that_make_no_sense(tmp_path: Path, files: dict[str, str]) -> None:
    made = Box(tmp_path / "root", files=files)

    def look() -> str:
        try:
            return str(User.by_name("postgres").uid)
        except WalgError as exc:
            return exc.msg

    try:
        assert made.answer(look).startswith("No operating system user named 'postgres'")
    finally:
        made.end()


@pytest.mark.parametrize("kind", ["fifo", "directory", "nothing", "loop"])
def test_accounts_that_are_no_file(tmp_path: Path, kind: str) -> None:
    made = Box(tmp_path / "root")
    path = tmp_path / "root/etc/passwd"
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to("passwd")
    try:
        assert made.answer(lambda: [User.by_uid(999).name, User.by_uid(0).home]) == ["999", "/"]
    finally:
        made.end()


# ---- its end, and that of others


@pytest.mark.parametrize("whom", ["the outside", "all at once", "who works"])
def test_when_it_is_killed_all_of_it_ends(own: Box, whom: str) -> None:
    """The one that works and its programs; none of them is left to the container's main process."""
    outside = os.fork()
    if not outside:
        try:
            os.setsid()
            own.work(lambda: Runner().run(["sh", "-c", "sleep 1000 & sleep 1000"], timeout=1000).rc)
        finally:
            os._exit(0)
    pids = eventually(lambda: len(family := descendants(outside)) >= 6 and family)
    if whom == "the outside":
        os.kill(outside, signal.SIGKILL)
    elif whom == "all at once":
        os.killpg(outside, signal.SIGTERM)
    else:
        os.kill(pids[2], signal.SIGTERM)
    os.waitpid(outside, 0)
    eventually(lambda: not any(map(lives, pids)) or (_proc.children(own.pid) and "left"))
    assert not any(map(lives, pids))
    assert _proc.children(own.pid) == []
    assert lives(own.pid)


def test_a_server_that_it_started_stays(own: Box) -> None:
    """What left the session of its starter, as servers do; the next run finds it."""
    outside = os.fork()
    if not outside:
        try:
            argv = ["sh", "-c", "setsid sleep 1234 & sleep 1000"]
            own.work(lambda: Runner().run(argv, timeout=1000).rc)
        finally:
            os._exit(0)
    pids = eventually(lambda: len(family := descendants(outside)) >= 6 and family)
    time.sleep(1.3)
    (server,) = [pid for pid in pids if _proc.command_line(pid)[:2] == ["sleep", "1234"]]
    os.kill(outside, signal.SIGKILL)
    os.waitpid(outside, 0)
    eventually(lambda: [pid for pid in pids if lives(pid)] == [server])


def descendants(pid: int) -> list[int]:
    below = _proc.children(pid)
    return [*below, *(one for child in below for one in descendants(child))]


def test_orphans_of_its_programs_come_to_the_guard(own: Box) -> None:
    """They may end in any way: the container's main process does not hear of it."""

    def look() -> list[int]:
        Runner().run(["sh", "-c", "(sleep 0.3; kill -KILL $$) & exit 0"])
        Runner().run(["sh", "-c", "sleep 1000 & exit 0"], timeout=5)
        orphans = eventually(lambda: [pid for pid in _proc.pids() if _proc.command_line(pid)[:2] == ["sleep", "1000"]])
        said = [_proc.family(pid)[0] for pid in orphans]
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
        return [*said, os.getppid()]

    parent, guard = own.answer(look)
    assert parent == guard != 1


def test_a_container_that_ends_ends_it(own: Box) -> None:
    threading.Timer(0.5, own.end).start()
    began = time.monotonic()
    end = own.work(lambda: time.sleep(60))
    assert (end.message, end.code) == (None, 137)
    assert time.monotonic() - began < 5


def test_the_exit_code_comes_out(box: Box) -> None:
    assert box.work(lambda: os._exit(7)).code == 7
    assert box.work(lambda: os.kill(os.getpid(), signal.SIGKILL)).code == 137


def test_signals_are_as_they_were_before(box: Box) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    handlers = box.answer(lambda: [repr(signal.getsignal(number)) for number in before])
    assert handlers == [repr(handler) for handler in before.values()]


# ---- who is entered


def test_a_process_that_is_gone() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    with pytest.raises(WalgError, match=f"main process {child} is gone"), _namespaces.opened(child):
        pass
    os.waitpid(child, 0)
    with pytest.raises(WalgError, match="is gone"), _namespaces.opened(child):
        pass


def test_users_of_its_own_are_said_to_be_unsupported(tmp_path: Path) -> None:
    process = os.fork()
    if not process:
        os.execvp("unshare", ["unshare", "-U", "-r", "sleep", "60"])
    try:
        eventually(lambda: os.readlink(f"/proc/{process}/ns/user") != os.readlink("/proc/self/ns/user"))
        with pytest.raises(WalgError, match="users of its own"), _namespaces.opened(process):
            pass
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def test_only_root_enters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(WalgError, match="become: true"), _namespaces.opened(1):
        pass


def test_nothing_is_left_open(box: Box) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    box.answer(lambda: 1)
    assert sorted(os.listdir("/proc/self/fd")) == before


# ---- control groups


def test_it_enters_the_control_groups(tmp_path: Path) -> None:
    """By them a container is kept away from the machine's devices."""
    theirs = Path("/sys/fs/cgroup/devices") if Path("/sys/fs/cgroup/devices").is_dir() else Path("/sys/fs/cgroup")
    group = theirs / f"mapswipe-walg-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no control group can be made here")
    made = Box(tmp_path / "root")
    try:
        (group / "cgroup.procs").write_text(str(made.pid), encoding="ascii")
        before = Path("/proc/self/cgroup").read_text(encoding="ascii")
        assert made.answer(lambda: Path("/proc/self/cgroup").read_text(encoding="ascii")) == Path(
            f"/proc/{made.pid}/cgroup"
        ).read_text(encoding="ascii")
        assert Path("/proc/self/cgroup").read_text(encoding="ascii") == before
    finally:
        made.end()
        eventually(lambda: not (group / "cgroup.procs").read_text(encoding="ascii"))
        group.rmdir()


def test_control_groups_that_can_t_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = tmp_path / "1"
    process.mkdir()
    ours = Path("/proc/self/cgroup").read_text(encoding="ascii")
    (process / "cgroup").write_text(ours.replace(":/", ":/none/none/", 1).replace("devices:/", "devices:/none/x/"))
    lines = (process / "cgroup").read_text(encoding="ascii").splitlines()
    (process / "cgroup").write_text("\n".join(one.replace("0::/", "0::/none/x/") for one in lines))
    with pytest.raises(WalgError, match=r"can't be entered: No such file.*the machine's devices"):
        _cgroups.opened(str(process))
    (process / "cgroup").write_text(ours)
    assert _cgroups.opened(str(process)) == []
    monkeypatch.setattr(_cgroups, "_mounted", lambda _controllers: "")
    (process / "cgroup").write_text("0::/elsewhere\n")
    with pytest.raises(WalgError, match="it is not mounted"):
        _cgroups.opened(str(process))


def test_capabilities_are_given_up_where_the_kernel_knows_fewer(box: Box) -> None:
    """Numbers that it does not know are no failure."""
    known = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
    assert known < _namespaces._MOST_CAPABILITIES
