# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job in a fork of this process, which kills itself with -9 after a step: a program has ended, a lock is held, a file is written."""

from __future__ import annotations

import io
import os
import pwd
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _cluster_lock, _verify
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _locks
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _main, _parts
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _stored
from ansible_collections.mapswipe.walg.plugins.module_utils._walg._client import Walg

from .job_host import Host

_parts.loaded("_web")  # the cluster's owner may not read this process's Python, which a host's job can


class Step(NamedTuple):
    """The ``number``-th step of this name, from 1 on: "wal-g st rm", "lock backup.lock", "write history.jsonl", "psql"."""

    name: str
    number: int = 1


@dataclass
class Ended:
    """``code``: of the job; negative for a signal. ``steps``: their names, in order. ``said``: what it printed."""

    code: int
    steps: list[str]
    said: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


def run(host: Host, *words: str, kill: Step | None = None, patience: float | None = None) -> Ended:
    """Run the job as the cluster's owner, killed after a step. ``patience``: seconds for a question to the storage."""
    argv = host.argv(*words)[1:]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as steps:
        child = os.fork()
        if not child:
            _be_the_job(host.sandbox.user, argv, kill, patience, out.fileno(), steps.fileno())
        _pid, status = os.waitpid(child, 0)
        out.seek(0)
        steps.seek(0)
        return Ended(os.waitstatus_to_exitcode(status), steps.read().splitlines(), out.read())


def _be_the_job(name: str, argv: list[str], kill: Step | None, patience: float | None, out: int, steps: int) -> None:
    code = 99
    try:
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(one, "w"), write_through=True) for one in (1, 2))
        user = pwd.getpwnam(name)
        if os.geteuid() == 0:
            os.initgroups(name, user.pw_gid)
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        os.chdir("/")
        path = os.environ["PATH"]
        os.environ.clear()
        os.environ.update({"PATH": path, "HOME": user.pw_dir})
        _Kill(steps, kill).follow()
        if patience is not None:
            of = Walg.of
            vars(_stored)["_SLOWEST"] = 16 * 1024**2  # bytes a second: loopback is no distant storage
            type.__setattr__(Walg, "of", lambda *given: replace(of(*given), ask_timeout=patience))
        code = _main.main(argv)
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)


@dataclass
class _Kill:
    """Writes down each step that is done, and kills after one."""

    steps: int
    after: Step | None
    passed: dict[str, int] = field(default_factory=dict)

    def done(self, name: str) -> None:
        os.write(self.steps, f"{name}\n".encode())
        self.passed[name] = self.passed.get(name, 0) + 1
        if self.after == (name, self.passed[name]):
            os.kill(os.getpid(), signal.SIGKILL)

    def follow(self) -> None:
        """Have all that the job does by programs, locks and files be steps."""
        for name in ("run", "pipe"):
            setattr(Runner, name, self._program(getattr(Runner, name)))
        rename = os.rename

        def renamed(source: Any, target: Any, **places: Any) -> None:
            rename(source, target, **places)
            self.done(f"write {os.path.basename(target)}")

        vars(os)["rename"] = renamed
        vars(_locks)["locked"] = self._held(_locks.locked, lambda path, *_: f"lock {os.path.basename(path)}")
        vars(_cluster_lock)["held"] = self._held(_cluster_lock.held, lambda *_: "lock of the cluster")
        vars(_verify)["_SAVE_EVERY"] = 0.0

    def _program(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(runner: Runner, argv: list[str], *given: Any, **options: Any) -> Any:
            answer = real(runner, argv, *given, **options)
            words = [os.path.basename(argv[0]), *(argv[3:5] if argv[1:2] == ["--config"] else ())]
            words = words[:3] if "st" in words else words[:2]
            self.done(" ".join(words))
            return answer

        return called

    def _held(self, real: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        @contextmanager
        def held(*given: Any, **options: Any) -> Iterator[Any]:
            with real(*given, **options) as inner:
                self.done(name(*given))
                yield inner

        return held
