# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Runner with real processes: nothing of them may be left behind, and nothing of us may reach them unasked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _process
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Result, Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User, call_as
from ansible_collections.mapswipe.walg.plugins.module_utils._host._waiting import wait_until

PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def nobody() -> User:
    return User.by_name("nobody")


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether a process ends, or is a zombie that only its reaper has not yet collected."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def written(path: Path, end: str = "\n", seconds: float = 5.0) -> str:
    """Wait for a file to end like this."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().endswith(end):
            return path.read_text().strip()
        time.sleep(0.02)
    raise AssertionError(f"{path} was never written")


@pytest.fixture
def quick_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not five seconds between TERM and KILL."""
    monkeypatch.setattr(_process, "_KILL_AFTER", 0.3)


@pytest.fixture
def open_dir(tmp_path: Path) -> Path:
    """A directory in which everybody may work, below ones that everybody may pass."""
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == os.geteuid() and parent not in (Path("/"), Path("/tmp")):
            parent.chmod(parent.stat().st_mode | 0o011)
    tmp_path.chmod(0o777)
    return tmp_path


# --- one run ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 74, 126, 127, 255])
def test_exit_code_and_streams(code: int) -> None:
    found = Runner().run(["/bin/sh", "-c", f"echo out; echo err >&2; exit {code}"])
    assert (found.rc, found.stdout, found.stderr, found.timed_out) == (code, "out\n", "err\n", False)


def test_death_by_a_signal_is_a_negative_code() -> None:
    assert Runner().run(["/bin/sh", "-c", "kill -9 $$"]).rc == -signal.SIGKILL


def test_no_shell_comes_between() -> None:
    words = ["$HOME", "`id`", "a b", "*", "'", '"', "", "ü"]
    found = Runner().run([PYTHON, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *words])
    assert json.loads(found.stdout) == words


@pytest.mark.parametrize("text", ["", "SELECT 1;\n", "Zürich 東京 🐘\n", "x" * 1_000_000])
def test_stdin(text: str) -> None:
    found = Runner().run(["/bin/cat"], stdin=text)
    assert (found.rc, found.stdout) == (0, text)


def test_output_that_is_not_utf8_is_still_text() -> None:
    assert Runner().run(["/usr/bin/printf", r"a\377b"]).stdout == "a\ufffdb"


def test_working_directory(tmp_path: Path) -> None:
    assert Runner().run(["/bin/pwd"], cwd=str(tmp_path)).stdout.strip() == os.path.realpath(tmp_path)
    assert Runner().run(["/bin/pwd"]).stdout.strip() == "/"


@pytest.mark.parametrize("argv", [["/no/such/program"], ["/etc/passwd"], ["/"]])
def test_a_program_that_cannot_be_started(argv: list[str]) -> None:
    with pytest.raises(WalgError, match=f"Cannot start {argv[0]} as ") as caught:
        Runner().run(argv)
    assert caught.value.fields == {"cmd": argv}


def test_a_working_directory_that_is_not_there() -> None:
    with pytest.raises(WalgError, match="Cannot start /bin/true"):
        Runner().run(["/bin/true"], cwd="/no/such/directory")


def test_result_fields_and_last_line() -> None:
    found = Result(["x"], 1, "out\n", "first\n\n  the reason \n\n", 1.0)
    assert found.fields() == {"cmd": ["x"], "rc": 1, "stdout": "out\n", "stderr": "first\n\n  the reason \n\n"}
    assert found.last_line() == "the reason"
    assert Result(["x"], 1, "only out\n").last_line() == "only out"
    assert Result(["x"], 1).last_line() == "no output"


def test_fields_keep_the_end_of_a_long_stream() -> None:
    kept = Result(["x"], 1, "", "a" * 100_000 + "the end").fields()["stderr"]
    assert len(kept) == 64 * 1024
    assert kept.endswith("the end")


# --- environment ------------------------------------------------------------------------------------------------------

PLANTED = {
    "WALG_FILE_PREFIX": "/elsewhere",
    "WALG_S3_PREFIX": "s3://elsewhere",
    "PGHOST": "elsewhere",
    "PGPASSWORD": "x",
    "PGSERVICE": "x",
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_PROFILE": "x",
    "GOOGLE_APPLICATION_CREDENTIALS": "/x",
    "HTTPS_PROXY": "http://x",
    "LD_PRELOAD": "",
    "PYTHONPATH": "/x",
    "LC_MESSAGES": "de_DE.UTF-8",
}


def test_nothing_of_our_environment_reaches_a_child_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.delenv("TMPDIR", raising=False)
    shown = Runner().run(["/usr/bin/env"], env={"PGHOST": "/run/postgresql"}).stdout
    found = dict(line.split("=", 1) for line in shown.splitlines())
    me = User.current()
    assert found == {
        "PATH": os.environ["PATH"],
        "TZ": "Asia/Tokyo",
        "HOME": me.home,
        "USER": me.name,
        "LOGNAME": me.name,
        "LANG": "C",
        "LC_ALL": "C",
        "PGHOST": "/run/postgresql",
    }


def test_a_path_is_there_even_when_we_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert _process.environment(None)["PATH"] == _process.DEFAULT_PATH


# --- time-out ---------------------------------------------------------------------------------------------------------


def test_time_out_ends_a_program() -> None:
    started = time.monotonic()
    found = Runner().run(["/bin/sh", "-c", "echo before; exec sleep 60"], timeout=0.3)
    assert found.timed_out
    assert (found.rc, found.stdout) == (-signal.SIGTERM, "before\n")
    assert time.monotonic() - started < 4


@pytest.mark.usefixtures("quick_kill")
def test_time_out_ends_the_whole_group_though_all_of_it_ignores_term(tmp_path: Path) -> None:
    """Child and grandchild ignore TERM: KILL has to reach both."""
    inner = f'trap "" TERM; echo $$ > {tmp_path}/inner; while :; do sleep 0.05; done'
    outer = f"trap '' TERM; sh -c '{inner}' & echo $$ > {tmp_path}/outer; while :; do sleep 0.05; done"
    found = Runner().run(["/bin/sh", "-c", outer], timeout=0.5)
    assert (found.timed_out, found.rc) == (True, -signal.SIGKILL)
    for name in ("inner", "outer"):
        assert gone(int(written(tmp_path / name)))


def test_time_out_ends_a_grandchild_that_outlives_its_obedient_parent(tmp_path: Path) -> None:
    """The parent dies of TERM at once; what it started and ignores TERM must go with it."""
    inner = f'trap "" TERM; echo $$ > {tmp_path}/inner; while :; do sleep 0.05; done'
    found = Runner().run(["/bin/sh", "-c", f"sh -c '{inner}' & wait"], timeout=0.5)
    assert found.rc == -signal.SIGTERM
    assert gone(int(written(tmp_path / "inner")))


def test_a_program_that_ends_in_time_keeps_its_code_when_it_is_asked_late() -> None:
    """A time-out of nothing on a program that is over already is not a time-out of the program."""
    assert Runner().run(["/bin/true"], timeout=30).timed_out is False
    assert Runner().run(["/bin/sleep", "5"], timeout=0).timed_out is True


def test_a_grandchild_that_holds_the_output_does_not_hold_us(tmp_path: Path) -> None:
    """WAL-G's prefetch child inherits stdout and stderr; a pipe would keep us waiting for it."""
    started = time.monotonic()
    found = Runner().run(["/bin/sh", "-c", f"sleep 30 & echo $! > {tmp_path}/pid; echo done"], timeout=20)
    seconds = time.monotonic() - started
    child = int(written(tmp_path / "pid"))
    alive = Path(f"/proc/{child}").exists()
    os.kill(child, signal.SIGKILL)
    assert alive
    assert (found.rc, found.stdout) == (0, "done\n")
    assert seconds < 10


def test_tick_is_called_while_a_program_runs() -> None:
    ticks: list[float] = []
    runner = Runner(tick=lambda: ticks.append(time.monotonic()), tick_every=0.1)
    assert runner.run(["/bin/sleep", "0.5"]).rc == 0
    assert 2 <= len(ticks) <= 5


def test_tick_does_not_stretch_the_time_out() -> None:
    runner = Runner(tick=lambda: None, tick_every=10)
    started = time.monotonic()
    assert runner.run(["/bin/sleep", "60"], timeout=0.3).timed_out
    assert time.monotonic() - started < 5


def test_a_tick_that_fails_ends_the_program_and_tells_what_it_said() -> None:
    def tick() -> None:
        raise WalgError("stands still")

    started = time.monotonic()
    with pytest.raises(WalgError, match="stands still") as caught:
        Runner(tick=tick, tick_every=0.5).run(
            ["/bin/sh", "-c", "printf '%s\\n' begins 'ERROR: disk full' 'ERROR: so' on >&2; exec sleep 60"], timeout=60
        )
    assert time.monotonic() - started < 5
    fields = caught.value.fields
    assert (fields["rc"], fields["stderr"]) == (-signal.SIGTERM, "begins\nERROR: disk full\nERROR: so\non\n")
    assert fields["said"] == "ERROR: disk full"


# --- programs that stay -----------------------------------------------------------------------------------------------


def test_start_leaves_a_program_running_and_collects_its_output(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("earlier\n")
    background = Runner().start(["/bin/sh", "-c", "echo out; echo err >&2; exec sleep 60"], output=str(log))
    try:
        assert background.poll() is None
        assert os.getsid(background.pid) == background.pid
        written(log, "err\n")
    finally:
        code = background.stop()
    assert code == -signal.SIGTERM
    assert log.read_text() == "earlier\nout\nerr\n"
    assert background.stop() == -signal.SIGTERM


def test_a_new_log_is_private(tmp_path: Path) -> None:
    Runner().start(["/bin/true"], output=str(tmp_path / "log")).stop()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_stop_waits_then_kills_the_group(tmp_path: Path) -> None:
    inner = f'trap "" INT TERM; echo $$ > {tmp_path}/inner; while :; do sleep 0.05; done'
    outer = f"trap '' INT; sh -c '{inner}' & while :; do sleep 0.05; done"
    background = Runner().start(["/bin/sh", "-c", outer], output=str(tmp_path / "log"))
    child = int(written(tmp_path / "inner"))
    assert background.stop(signal.SIGINT, wait=0.3) == -signal.SIGKILL
    assert gone(child)


def test_a_log_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """In a directory that the database user can write, a planted link would lead root to any file."""
    victim = tmp_path / "victim"
    victim.write_text("precious\n")
    (tmp_path / "log").symlink_to(victim)
    with pytest.raises((OSError, WalgError)):
        Runner().start(["/bin/echo", "overwritten"], output=str(tmp_path / "log"))
    assert victim.read_text() == "precious\n"


# --- another user -----------------------------------------------------------------------------------------------------


@pytest.fixture
def in_a_group() -> Iterator[None]:
    """We are in a group that nobody else should inherit from us."""
    before = os.getgroups()
    os.setgroups([*before, 4])
    yield
    os.setgroups(before)


@needs_root
@pytest.mark.usefixtures("in_a_group")
def test_run_as_another_user() -> None:
    ids = "os.getresuid(), os.getresgid(), sorted(os.getgroups()), os.environ['HOME']"
    code = f"import json, os; print(json.dumps([{ids}]))"
    other = nobody()
    found = Runner().run([PYTHON, "-c", code], user=other)
    wanted = [[other.uid] * 3, [other.gid] * 3, sorted(os.getgrouplist(other.name, other.gid)), other.home]
    assert json.loads(found.stdout) == wanted, found.stderr


@needs_root
@pytest.mark.usefixtures("in_a_group")
def test_a_number_without_a_name_gets_no_groups() -> None:
    """As in a container that runs under a number of its own."""
    stranger = User.by_uid(54321)
    assert stranger == User("54321", 54321, 54321, "/")
    found = Runner().run(["/usr/bin/id", "-G"], user=stranger)
    assert found.stdout.split() == ["54321"]
    assert Runner().run(["/usr/bin/id", "-u"], user=stranger).stdout.split() == ["54321"]


@needs_root
def test_a_program_that_the_user_may_not_run(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    with pytest.raises(WalgError, match=r"as nobody: .*Permission denied"):
        Runner().run([str(program)], user=nobody())


def become_root() -> None:
    Runner().run(["/bin/true"], user=User.by_name("root"))


def test_another_user_needs_root() -> None:
    with pytest.raises(WalgError, match=r"must run as the user 'root'.*not root"):
        call_as(nobody() if os.geteuid() == 0 else None, become_root)


def test_user_look_up() -> None:
    assert User.by_name("root") == User.by_uid(0)
    assert User.current().uid == os.geteuid()
    with pytest.raises(WalgError, match="No operating system user named 'no-such-user'"):
        User.by_name("no-such-user")


# --- functions with another user's rights -----------------------------------------------------------------------------


def identity(*args: Any) -> dict[str, Any]:
    return {"ids": [os.geteuid(), os.getegid()], "pid": os.getpid(), "args": list(args), "text": "ü 🐘"}


def refuse() -> None:
    raise WalgError("no, thank you", found=1, wanted=[2])


def read_protected(path: str) -> str:
    return Path(path).read_text()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    sys.exit(0)


def test_call_as_ourselves_needs_no_child() -> None:
    for user in (None, User.current()):
        assert call_as(user, identity, 1)["pid"] == os.getpid()


@needs_root
def test_call_as_another_user() -> None:
    other = nobody()
    found = call_as(other, identity, "a", 2)
    assert found["pid"] != os.getpid()
    assert found["ids"] == [other.uid, other.gid]
    assert (found["args"], found["text"]) == (["a", 2], "ü 🐘")
    assert os.geteuid() == 0


@needs_root
def test_call_as_carries_a_large_answer() -> None:
    """More than a pipe holds at once."""
    assert len(call_as(nobody(), "x".__mul__, 1_000_000)) == 1_000_000


@pytest.mark.parametrize("user", [None, pytest.param("nobody", marks=needs_root)])
def test_call_as_passes_errors_on(user: str | None) -> None:
    who = User.by_name(user) if user else None
    with pytest.raises(WalgError, match="no, thank you") as refused:
        call_as(who, refuse)
    assert refused.value.fields == {"found": 1, "wanted": [2]}
    with pytest.raises(WalgError, match="/no/such/file"):
        call_as(who, read_protected, "/no/such/file")


@needs_root
def test_call_as_has_that_users_rights_only(open_dir: Path) -> None:
    secret = open_dir / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    assert call_as(None, read_protected, str(secret)) == "x"
    with pytest.raises(WalgError, match="Permission denied"):
        call_as(nobody(), read_protected, str(secret))


@needs_root
def test_call_as_notices_a_child_that_dies() -> None:
    with pytest.raises(WalgError, match="without an answer"):
        call_as(nobody(), die)


def blunder() -> None:
    raise ValueError("surprise")


@needs_root
@pytest.mark.parametrize(("function", "text"), [(blunder, "ValueError: surprise"), (leave, "SystemExit")])
def test_call_as_reports_a_defect_of_ours(function: Any, text: str) -> None:
    with pytest.raises(WalgError, match=f"unexpected {text}") as caught:
        call_as(nobody(), function)
    assert "Traceback" in caught.value.fields["exception"]


@needs_root
def test_call_as_leaves_no_zombie_and_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _turn in range(3):
        call_as(nobody(), identity)
        with pytest.raises(WalgError):
            call_as(nobody(), die)
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("start", ["run", "start"])
def test_a_tied_program_ends_with_whoever_started_it(tmp_path: Path, start: str) -> None:
    """A base backup, or the session that holds its lock, must not go on when the job is killed."""
    script = tmp_path / "starter.py"
    script.write_text(
        "import sys\n"
        "from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner\n"
        "argv = ['/bin/sh', '-c', f'echo $$ >{sys.argv[1]}; exec sleep 60']\n"
        "if sys.argv[2] == 'run':\n"
        "    Runner().run(argv, tied=True)\n"
        "left = Runner().start(argv, output=sys.argv[1] + '.out', tied=True)\n"
        "left.process.wait()\n"
    )
    mark = tmp_path / "pid"
    starter = subprocess.Popen([sys.executable, str(script), str(mark), start], env=os.environ)
    assert wait_until(lambda: mark.exists() and bool(mark.read_text().strip()), 20)
    pid = int(mark.read_text())
    starter.kill()
    starter.wait()
    assert gone(pid)
