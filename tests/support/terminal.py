# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program on a real terminal (a pty) of a width, and what its user sees."""

from __future__ import annotations

import fcntl
import os
import pty
import pwd
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_STEPS = re.compile(r"\x1b\[(\d*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


@dataclass
class Screen:
    """Rows as a terminal has them. A line that is too long breaks into two, as terminals do it."""

    width: int
    rows: list[str] = field(default_factory=lambda: [""])
    at: int = 0

    def write(self, text: str) -> None:
        """Take what a program wrote."""
        for number, command, back, feed, plain in _STEPS.findall(text):
            if command == "A":
                self.at = max(0, self.at - int(number or 1))
            elif command == "J":
                self.rows[self.at :] = [""]
            elif feed:
                self.at += 1
                if self.at == len(self.rows):
                    self.rows.append("")
            elif plain:
                for begin in range(0, len(plain), self.width):
                    self.at += begin > 0
                    self.rows[self.at :] = [plain[begin : begin + self.width]]
            assert back or command in ("", "A", "J"), f"nobody here knows {command!r}"

    def shown(self) -> list[str]:
        """Return the rows that are not empty."""
        return [row for row in self.rows if row]


class Terminal:
    """A program on a terminal; ``frames``: the screen after each piece that it wrote."""

    def __init__(self, argv: list[str], width: int, user: str, environment: dict[str, str]) -> None:
        self.screen, self.frames = Screen(width), list[list[str]]()
        self.pid, self.end = pty.fork()
        if not self.pid:  # the child
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
                if os.geteuid() == 0:
                    entry = pwd.getpwnam(user)
                    os.initgroups(user, entry.pw_gid)
                    os.setgid(entry.pw_gid)
                    os.setuid(entry.pw_uid)
                os.chdir("/")
                os.execve(argv[0], argv, environment)
            finally:
                os._exit(127)

    def until(self, enough: Callable[[list[str]], bool], seconds: float = 60.0) -> None:
        """Look on until the screen shows enough, or the program ends."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ready, _out, _bad = select.select([self.end], [], [], 0.5)
            if not ready:
                continue
            try:
                piece = os.read(self.end, 65536)
            except OSError:  # how Linux says that the program has closed the terminal
                return
            if not piece:
                return
            self.screen.write(piece.decode())
            self.frames.append(self.screen.shown())
            if enough(self.frames[-1]):
                return
        raise AssertionError(f"not seen within {seconds:.0f} s: {self.frames[-3:]}")

    def control_c(self) -> None:
        """Type it."""
        os.write(self.end, b"\x03")

    def code(self) -> int:
        """Wait for the end, and return the exit code."""
        self.until(lambda _rows: False)
        _pid, status = os.waitpid(self.pid, 0)
        os.close(self.end)
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """End what still runs."""
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return
