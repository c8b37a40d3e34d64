# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Runner: the only way this library starts a program.

It takes an argv list (never a shell), builds the environment from an allow-list, drops to a user in the child,
bounds the run by a time-out that ends the whole process group, and keeps output in files instead of pipes:
WAL-G's prefetch child inherits the descriptors and would hold a pipe open long after WAL-G itself is done.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import signal
import stat
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from .._errors import WalgError
from . import _guard
from ._pipes import Pipe, SilentError
from ._users import MOST_ANSWER, User, call_apart, call_as, dropper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from ._users import PreExec

    Tick = Callable[[], None]

#: Variables that a child may inherit. Anything else in our environment (a stray WALG_FILE_PREFIX, PGHOST,
#: AWS_PROFILE, ...) would override the settings file, since WAL-G prefers the environment.
INHERITED = ("PATH", "TZ", "TMPDIR")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LOG_PREFIX = re.compile(r"^[A-Z]+: \d{4}/\d\d/\d\d \d\d:\d\d:\d\d(\.\d+)? ")  # WAL-G's: level and local time
_KILL_AFTER = 5.0  # seconds between TERM and KILL
_KEEP = 64 * 1024  # bytes of each stream kept in a Result's tail
_START_LIMIT = 60.0  # seconds for a program to be started


@dataclass(frozen=True)
class Result:
    """How one program run ended. ``rc`` is negative for a signal; ``timed_out`` says that we ended it."""

    argv: list[str]
    rc: int
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    timed_out: bool = False

    def fields(self) -> dict[str, Any]:
        """Return result fields for an error: cmd, rc, stdout, stderr."""
        return {"cmd": self.argv, "rc": self.rc, "stdout": self.stdout[-_KEEP:], "stderr": self.stderr[-_KEEP:]}

    def last_line(self) -> str:
        """Return the last line that says something, for a one-line message."""
        lines = [
            _LOG_PREFIX.sub("", line.strip()) for line in (self.stderr or self.stdout).splitlines() if line.strip()
        ]
        return lines[-1] if lines else "no output"

    def first_error(self) -> str:
        """Return the first line of a program's log that is an error, else the last line: what comes after may only follow from it."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.startswith("ERROR")]
        return _LOG_PREFIX.sub("", lines[0]) if lines else self.last_line()


def environment(user: User | None, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Build a child's environment: allow-listed variables, the user's HOME, C locale, then ``extra``."""
    who = user or User.current()
    env = {name: os.environ[name] for name in INHERITED if name in os.environ}
    env.setdefault("PATH", DEFAULT_PATH)
    env.update({"HOME": who.home, "USER": who.name, "LOGNAME": who.name, "LANG": "C", "LC_ALL": "C"})
    env.update(extra or {})
    return env


@dataclass
class Background:
    """A program left running by Runner.start, to be polled and stopped by whoever started it."""

    argv: list[str]
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.process.poll()

    def stop(self, first: int = signal.SIGTERM, wait: float = 60.0) -> int:
        """Send ``first``, wait up to ``wait`` seconds, then KILL the group. Returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(first)
            if not _ended_within(self.process, wait):
                _kill_group(self.process, signal.SIGKILL)
        return self.process.wait()


@dataclass
class Runner:
    """Starts programs. Clients are handed one; unit tests hand them a scripted one."""

    tick: Tick | None = None
    tick_every: float = 2.0
    child: int | None = None  # the process id of what run() waits for, for a tick that looks at it

    def run(
        self,
        argv: Sequence[str],
        *,
        user: User | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        cwd: str = "/",
        stdin: str = "",
        bare: bool = False,
        descriptors: Sequence[int] = (),
        errors: str = "replace",
        tied: bool = False,
    ) -> Result:
        """Run a program to its end or its time-out (seconds). Never raises for a non-zero exit. ``bare``: no variables but ``env``.

        ``descriptors``: open ones that the program gets too; ``errors``: how what it writes is read where it is not UTF-8; ``tied``:
        whether the program is killed when this process is. Raises WalgError when the program can't be started.
        """
        started = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as inp:
            inp.write(stdin.encode("utf-8", "surrogateescape"))
            inp.seek(0)
            whole = dict(env or {}) if bare else environment(user, env)
            process = self._spawn(argv, user, whole, cwd, inp, out, err, descriptors, tied=tied)
            self.child = process.pid

            def ended(timed_out: bool) -> Result:
                seconds = time.monotonic() - started
                return Result(
                    list(argv), process.returncode, _text(out, errors), _text(err, errors), seconds, timed_out
                )

            timed_out = True
            try:
                timed_out = not self._wait(process, timeout)
            except WalgError as exc:  # of a tick: what the program has said so far may tell the cause
                _end_group(process)
                result = ended(timed_out=False)
                exc.fields.update(result.fields())
                exc.fields["said"] = result.first_error()
                raise
            finally:  # a tick that fails must not leave the program behind
                self.child = None
                if timed_out:
                    _end_group(process)
            return ended(timed_out)

    def pipe(
        self,
        argv: Sequence[str],
        read: Callable[[BinaryIO], None],
        *,
        user: User | None = None,
        env: Mapping[str, str] | None = None,
        silence: float = 60.0,
        pace: float = 0.0,
        descriptors: Sequence[int] = (),
    ) -> Result:
        """Run a program whose output ``read`` gets as it comes, at most ``pace`` bytes a second (0: no limit); what it leaves is dropped.

        ``silence``: seconds without output, and from its end to that of the program, that are borne; beyond them the program is ended.
        Raises what ``read`` and the tick raise.
        """
        started = time.monotonic()
        with tempfile.TemporaryFile() as inp, tempfile.TemporaryFile() as err:
            process = self._spawn(argv, user, environment(user, env), "/", inp, subprocess.PIPE, err, descriptors)
            timed_out = False
            with process.stdout or contextlib.nullcontext() as out:
                source = Pipe(out.fileno() if out else -1, silence, self.tick, self.tick_every, pace)
                try:
                    read(io.BufferedReader(source, 1 << 20))
                    source.drain()
                    process.wait(silence)
                except (SilentError, subprocess.TimeoutExpired):
                    timed_out = True
                finally:
                    if process.poll() is None:
                        _end_group(process)
            seconds = time.monotonic() - started
            return Result(list(argv), process.returncode, "", _text(err, "replace"), seconds, timed_out)

    def start(
        self,
        argv: Sequence[str],
        *,
        output: str,
        user: User | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        tied: bool = False,
    ) -> Background:
        """Start a program in a session of its own and leave it running; both streams go to the file ``output``.

        The file is opened with the rights of ``user``, whose directory it may be in. ``tied``: whether the program is killed when this
        process is.
        """
        drop = dropper(user)
        try:
            call_as(user, _try_log, output)
        except WalgError as exc:
            raise WalgError(f"Cannot write the log {output}: {exc.msg}") from exc

        def prepare() -> None:
            if drop is not None:
                drop()
            log = _opened_log(output)
            os.dup2(log, 1)
            os.dup2(log, 2)

        with open(os.devnull, "r+b") as null:
            process = self._spawn(argv, user, environment(user, env), cwd, null, null, null, prepare=prepare, tied=tied)
        return Background(list(argv), process)

    def launch(
        self,
        argv: Sequence[str],
        *,
        output: str,
        user: User | None = None,
        env: Mapping[str, str] | None = None,
        bare: bool = False,
        cwd: str = "/",
    ) -> int:
        """Start a program that outlives us and return its process id; both streams go to the end of a file that its user can write.

        In a session of its own; ``bare``: no variables but ``env``. Raises WalgError when it can't be started.
        """
        whole = dict(env or {}) if bare else environment(user, env)
        return int(call_apart(dropper(user), _launch, [list(argv), output, whole, cwd]))

    @staticmethod
    def _spawn(
        argv: Sequence[str],
        user: User | None,
        env: Mapping[str, str],
        cwd: str,
        stdin: IO[bytes],
        out: IO[bytes] | int,
        err: IO[bytes],
        descriptors: Sequence[int] = (),
        prepare: PreExec | None = None,
        tied: bool = False,
    ) -> subprocess.Popen[bytes]:
        drop = dropper(user)
        before = prepare or drop
        try:
            with _starting(argv[0], user) if drop else contextlib.nullcontext():
                return subprocess.Popen(
                    list(argv),
                    stdin=stdin,
                    stdout=out,
                    stderr=err,
                    cwd=cwd,
                    env=dict(env),
                    start_new_session=True,
                    preexec_fn=_guard.tied(before) if tied else before,
                    pass_fds=descriptors,
                )
        except (OSError, subprocess.SubprocessError) as exc:
            who = (user or User.current()).name
            raise WalgError(f"Cannot start {argv[0]} as {who}: {exc}", cmd=list(argv)) from exc

    def _wait(self, process: subprocess.Popen[bytes], timeout: float) -> bool:
        """Wait for the end; True if it came in time. Calls ``tick`` while waiting."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return process.poll() is not None
            if _ended_within(process, min(left, self.tick_every) if self.tick else left):
                return True
            if self.tick:
                self.tick()


def _ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for a program's end; the kernel tells it at once where it can (Linux 5.3, Python 3.9), while Popen.wait looks now and then."""
    try:
        handle = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode is not None
    try:
        ends = select.poll()
        ends.register(handle, select.POLLIN)
        ends.poll(1000 * seconds)
    finally:
        os.close(handle)
    return process.poll() is not None


@contextlib.contextmanager
def _starting(program: str, user: User | None) -> Iterator[None]:
    """Bound the start of a program: between becoming its user and being the program, a child can be stopped by that user.

    Popen waits for it without limit; when it is killed, Popen continues. Raises WalgError then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known, ended = _children(), set()

    def end(_signum: int, _frame: object) -> None:
        for pid in _children() - known:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                ended.add(pid)

    before = signal.signal(signal.SIGALRM, end)
    left = signal.setitimer(signal.ITIMER_REAL, _START_LIMIT, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *left)
        signal.signal(signal.SIGALRM, before)
    if ended:
        who = (user or User.current()).name
        raise WalgError(
            f"{program} could not be started as {who} within {_START_LIMIT:.0f} s. Find out who stops that user's processes, or whether "
            "the file system hangs that it is on."
        )


def _children() -> set[int]:
    """Return our children; none where the kernel does not list them."""
    try:
        with open(f"/proc/self/task/{threading.get_native_id()}/children", encoding="ascii") as stream:
            return set(map(int, stream.read().split()))
    except OSError:
        return set()


def _launch(argv: Sequence[str], output: str, env: Mapping[str, str], cwd: str) -> int:
    """In a child that ends afterwards: leave a program running."""
    with open(output, "ab", opener=_private) as log, open(os.devnull, "rb") as null:
        started = subprocess.Popen(
            list(argv), stdin=null, stdout=log, stderr=log, cwd=cwd, env=dict(env), start_new_session=True
        )
    return started.pid


def _private(path: str, flags: int) -> int:
    # O_NOFOLLOW: a log in a directory that the database user can write must not lead root elsewhere; and no pipe may hold us up.
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)


def _opened_log(path: str) -> int:
    """Open a log to append to, private, and never wait for the reader of a pipe in its place."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise WalgError("it is not a regular file. Remove it.")
    return handle


def _try_log(path: str) -> None:
    os.close(_opened_log(path))


def _text(stream: IO[bytes], errors: str) -> str:
    stream.seek(0)
    text = stream.read(MOST_ANSWER + 1)
    if len(text) > MOST_ANSWER:
        raise WalgError(f"A program wrote more than {MOST_ANSWER} bytes; its answer is not taken.")
    return text.decode("utf-8", errors)


def _kill_group(process: subprocess.Popen[bytes], signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signum)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """TERM, then KILL, to the whole group. TERM alone does not end a WAL-G that waits for archiving."""
    _kill_group(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_AFTER)
    _kill_group(process, signal.SIGKILL)
    process.wait()
