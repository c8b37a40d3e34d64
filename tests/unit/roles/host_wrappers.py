# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of both host wrappers share: the shells to run them under, and a WAL-G stand-in that does as told."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.mapswipe.walg.plugins.module_utils._job import _wrappers

if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
#: Host tools that the wrappers call; with busybox's shell its own are used, since its timeout works differently.
TOOLS = {"cksum", "env", "mv", "od", "rm", "sleep", "timeout"}

#: Starts of stand-ins that do not heed TERM, under a GNU timeout that can't end them: it hangs, as under load, or was killed.
STUBBORN = {
    fate: f"mkfifo \"$seen/never\"; trap '' TERM; echo $$ >$seen/ready; kill -{fate} $PPID; read -r never <$seen/never"
    for fate in ("STOP", "KILL")
}


def shells() -> dict[str, list[str]]:
    """Return the shells of this machine that /bin/sh may be: name -> argv before the script. No shell comes twice."""
    candidates = {
        "sh": ["sh"],
        "dash": ["dash"],
        "bash": ["bash", "--posix"],
        "busybox": ["busybox", "ash"],
    }
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    for name, argv in candidates.items():
        path = shutil.which(argv[0])
        if path is not None and os.path.realpath(path) not in seen:
            seen.add(os.path.realpath(path))
            found[name] = [path, *argv[1:]]
    return found


SHELLS = shells()


@functools.lru_cache(maxsize=1)
def applets() -> set[str]:
    """Return the tools that this machine's busybox has; Debian's has no cksum."""
    listed = subprocess.run([SHELLS["busybox"][0], "--list"], capture_output=True, text=True, check=True)
    return set(listed.stdout.split())


@functools.cache
def prefers_applets(shell: str) -> bool:
    """Say whether the shell's own tools come before those on the PATH, as in Debian's busybox: they have no stand-in."""
    argv = [*SHELLS[shell], "-c", "PATH=/none; sleep 0"]
    return subprocess.run(argv, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _answer_signals() -> None:
    """In the child: a test run in a shell's background ignores these, and a shell can't trap what it was born to ignore."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Bench:
    """A place with an instance's files, a stand-in for WAL-G, and one of the wrappers under one shell."""

    wrapper: str
    shell: str
    root: Path
    keys: dict[str, str | None] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the directories, the settings file and the ordinary record."""
        for name in ("state", "data", "bin", "seen"):
            (self.root / name).mkdir(parents=True)
        self.program.write_text(_wrappers.texts()[self.wrapper], encoding="utf-8")
        (self.root / "main.json").write_text("{}\n", encoding="ascii")
        if self.shell == "busybox":
            for tool in TOOLS & applets():
                (self.root / "bin" / tool).symlink_to(SHELLS["busybox"][0])
        self.keys = {
            "WALG_BINARY": str(self.binary),
            "WALG_CONFIG": str(self.root / "main.json"),
            "WALG_INSTANCE": "main",
            "SYSTEM_IDENTIFIER": "",
            "PUSH_TIMEOUT": "20",
            "FETCH_TIMEOUT": "20",
            "STATE_DIR": str(self.state),
            "DATA_DIR": str(self.data),
            "CONFIG_DIR": str(self.root),
            "PROGRAM_DIR": str(self.root / "bin"),
        }
        self.environment = {"PATH": f"{self.root / 'bin'}:{SYSTEM_PATH}", "HOME": str(self.root)}
        self.stand_in("exit 0")
        self.job_stand_in("exit 0")

    @property
    def program(self) -> Path:
        """The wrapper, as it is installed."""
        return self.root / self.wrapper

    @property
    def binary(self) -> Path:
        """The stand-in."""
        return self.root / "wal-g 3"

    @property
    def state(self) -> Path:
        """STATE_DIR."""
        return self.root / "state"

    @property
    def data(self) -> Path:
        """DATA_DIR."""
        return self.root / "data"

    @property
    def record(self) -> Path:
        """ENVFILE."""
        return self.root / "main.env"

    def stand_in(self, body: str) -> None:
        """Make WAL-G record its arguments and environment, and then do ``body`` (sh, with WAL-G's arguments)."""
        seen = shlex.quote(str(self.root / "seen"))
        text = (
            f"#!/bin/sh\nseen={seen}\nprintf '%s|' \"$@\" >>$seen/calls\necho >>$seen/calls\n"
            f"tr '\\0' '\\n' </proc/$$/environ >$seen/environ\n{body}\n"
        )
        self.binary.write_text(text, encoding="utf-8")
        self.binary.chmod(0o755)

    def job_stand_in(self, body: str) -> None:
        """Make walg-job record its arguments and environment, and then do ``body`` (sh)."""
        seen = shlex.quote(str(self.root / "seen"))
        job = self.root / "bin" / "walg-job"
        job.write_text(
            f"#!/bin/sh\nseen={seen}\nprintf '%s|' \"$@\" >>$seen/asked\necho >>$seen/asked\n{body}\n", encoding="utf-8"
        )
        job.chmod(0o755)

    def asked(self) -> list[list[str]]:
        """Return the arguments of each call of walg-job."""
        return [line.split("|")[:-1] for line in self.lines("asked")]

    def fast_pauses(self) -> None:
        """Replace sleep by one that only counts."""
        path = self.root / "bin" / "sleep"
        path.unlink(missing_ok=True)
        log = shlex.quote(str(self.root / "seen" / "pauses"))
        path.write_text(f'#!/bin/sh\necho "$1" >>{log}\n', encoding="utf-8")
        path.chmod(0o755)

    def no_pauses(self) -> None:
        """Replace sleep by what ends at once: no shell is started for each, which takes its time on a busy machine."""
        path = self.root / "bin" / "sleep"
        path.unlink(missing_ok=True)
        path.symlink_to(str(shutil.which("true")))

    def slow_removal(self) -> None:
        """Have rm take its time: what runs meanwhile comes to its end before it is waited for."""
        path, real = self.root / "bin" / "rm", shlex.quote(str(shutil.which("rm")))
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/sh\nsleep 0.2\nexec {real} "$@"\n', encoding="utf-8")
        path.chmod(0o755)

    def calls(self) -> list[list[str]]:
        """Return the arguments of each call of the stand-in."""
        return [line.split("|")[:-1] for line in self.lines("calls")]

    def lines(self, name: str) -> list[str]:
        """Return the lines of something the stand-ins recorded."""
        path = self.root / "seen" / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def seen_environment(self) -> dict[str, str]:
        """Return the environment that the last call of the stand-in was given."""
        return dict(line.split("=", 1) for line in self.lines("environ"))

    def write_record(self) -> None:
        """Write ENVFILE from ``keys``; a key of None is left out."""
        lines = [f"{key}={shlex.quote(value)}" for key, value in self.keys.items() if value is not None]
        self.record.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self, *args: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start the wrapper with these arguments in DATA_DIR, or elsewhere. Its stderr is a pipe, as a log collector is."""
        return subprocess.Popen(
            [*SHELLS[self.shell], str(self.program), *args],
            cwd=cwd or self.data,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_answer_signals,
        )

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """Wait for the wrapper; return its exit code and stderr.

        Nothing may be on stdout, nor left in STATE_DIR but the note on the owner and the last messages.
        """
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
        assert out == ""
        assert [
            path for path in self.state.glob("*") if path.name not in ("push-owner", "owner-seen", "wal-push.log")
        ] == []
        return process.returncode, err

    def run(self, *args: str) -> tuple[int, str]:
        """Run the wrapper with these arguments."""
        return self.finish(self.start(*args))

    def signalled(self, number: signal.Signals, *args: str) -> tuple[int, str, float]:
        """Start the wrapper, signal it once the stand-in says "ready", and return code, stderr and the seconds since.

        Only the wrapper is signalled: that WAL-G ends is its duty. The stand-in's pid is expected in seen/ready.
        """
        process = self.start(*args)
        pids = wait_for(lambda: self.lines("ready"))
        began = time.monotonic()
        process.send_signal(number)
        code, err = self.finish(process)
        spent = time.monotonic() - began
        wait_for(lambda: not alive(int(pids[0])))
        return code, err, spent


def wait_for(question: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Return the first true answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = question()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def alive(pid: int) -> bool:
    """Say whether a process runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
