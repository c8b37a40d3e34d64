# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Docker engine that the hosts of the tests run on: used if it runs, installed and started if it may be.

Debian's package is installed as root on Debian and its children. Where nothing starts it by itself, it is started here and
stopped by the last run that used it: every run holds a shared lock, and who gets it alone at the end is the last one.
A checkout whose hosts are used by hand (make hosts) keeps it running until it lets it go.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import left_behind
from locations import ToolError, tools_dir

PACKAGES = ("docker.io", "iptables", "debootstrap")
PROGRAMS = ("dockerd", "docker", "iptables", "debootstrap")
_MUTEX = Path("/run/mapswipe-walg-tests.mutex")
_USERS = Path("/run/mapswipe-walg-tests.users")
_PID = Path("/run/mapswipe-walg-tests.dockerd")
_KEPT = Path("/run/mapswipe-walg-tests.kept")  # a file for each checkout that keeps the engine, with its path in it
_READY = 60.0  # seconds


def answers() -> str:
    """Return the engine's version, empty if none answers."""
    if not shutil.which("docker"):
        return ""
    argv = ["docker", "version", "--format", "{{.Server.Version}}"]
    answer = subprocess.run(argv, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _install(programs: Sequence[str]) -> None:
    """Install what is missing with apt. Raises ToolError where that is not ours to do."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    missing = [program for program in programs if not shutil.which(program, path=path)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ToolError(
            f"the tests on hosts need a Docker engine and debootstrap ({', '.join(missing)} missing); "
            "as root on Debian or Ubuntu they are installed by this command"
        )
    log = tools_dir() / "log" / "engine.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with log.open("ab") as stream:
        for argv in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]):
            if subprocess.run(argv, env=env, stdout=stream, stderr=stream, check=False).returncode:
                raise ToolError(f"{' '.join(argv)} failed; its output is in {log}")


def _start() -> None:
    """Start the engine: by systemd where that runs, else in the background. Raises ToolError when it does not answer."""
    log = tools_dir() / "log" / "dockerd.log"
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "start", "docker"], check=False)
    else:
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
        with log.open("ab") as stream:
            process = subprocess.Popen(
                ["dockerd"],
                env={**os.environ, "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        _PID.write_text(f"{process.pid}\n", encoding="ascii")
    deadline = time.monotonic() + _READY
    while not answers():
        if time.monotonic() > deadline:
            raise ToolError(f"the Docker engine was started and does not answer after {_READY:.0f} s; see {log}")
        time.sleep(0.2)


def _stop() -> None:
    """Stop the engine if it is the one that was started here, and no checkout keeps it."""
    if any(Path(file.read_text(encoding="utf-8")).is_dir() for file in _KEPT.glob("*")):
        return
    with contextlib.suppress(OSError, ValueError):
        pid = int(_PID.read_text(encoding="ascii"))
        if Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() == "dockerd":
            os.kill(pid, signal.SIGTERM)
            for _turn in range(150):
                # Our own child stays as a zombie until it is asked for.
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                if not Path(f"/proc/{pid}").exists():
                    break
                time.sleep(0.1)
    _PID.unlink(missing_ok=True)


@contextlib.contextmanager
def running() -> Iterator[str]:
    """A Docker engine for the time of the block; gives its version.

    Raises ToolError with one line that says what is missing.
    """
    version = answers()
    if os.geteuid() != 0:
        if not version:
            raise ToolError(
                "the tests on hosts need a Docker engine that this user may use; none answers (root starts one)"
            )
        yield version
        return
    with _USERS.open("a", encoding="ascii") as users:
        with mutex():
            version = answers()
            _install(("debootstrap",) if version else PROGRAMS)
            if not version:
                _start()
                version = answers()
                left_behind.remove()
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield version
        finally:
            _leave(users)


def _leave(users: IO[str]) -> None:
    """Stop the engine unless another run uses it."""
    with mutex(), contextlib.suppress(BlockingIOError):
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _stop()


def keep(checkout: Path, name: str) -> None:
    """Have the engine run on after its last run, for this checkout."""
    if os.geteuid() == 0:
        _KEPT.mkdir(exist_ok=True)
        (_KEPT / name).write_text(str(checkout), encoding="utf-8")


def let_go(name: str) -> None:
    """Take that back, and stop the engine if it was started here and nobody uses it any more."""
    if os.geteuid() == 0 and (_KEPT / name).exists():
        (_KEPT / name).unlink()
        with _USERS.open("a", encoding="ascii") as users:
            _leave(users)


@contextlib.contextmanager
def mutex() -> Iterator[None]:
    """One run at a time looks, starts or stops."""
    with _MUTEX.open("a", encoding="ascii") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        yield
