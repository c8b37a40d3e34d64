# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module as Ansible would, and note when the programs ran that it started: python noting.py LOG MODULE ARGUMENTS.

A line of JSON for each: its arguments, when it had started, when it ended. The end is when the program itself ended, not
when the module noticed; what lies between is the module's own time. Clock: CLOCK_REALTIME, which logs can be compared with.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
import threading
import time
from typing import Any

from ansible_collections.mapswipe.walg.plugins.module_utils._host import _process

_LOG = sys.argv[1]


def _note(argv: list[str], began: float, ended: float) -> None:
    with open(_LOG, "a", encoding="utf-8") as stream:
        stream.write(json.dumps([argv, began, ended]) + "\n")


def _watch(argv: list[str], pid: int, began: float) -> None:
    with contextlib.suppress(ChildProcessError):  # the module was quicker to ask
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    _note(argv, began, time.time())


def _noting(spawn: Any) -> Any:
    def noted(argv: Any, *arguments: Any) -> Any:
        process = spawn(argv, *arguments)
        threading.Thread(target=_watch, args=(list(argv), process.pid, time.time())).start()
        return process

    return staticmethod(noted)


def _noting_stop(stop: Any) -> Any:
    def noted(self: Any, *arguments: Any, **options: Any) -> Any:
        began = time.time()
        try:
            return stop(self, *arguments, **options)
        finally:
            _note(["stop", *self.argv], began, time.time())

    return noted


_process.Runner._spawn = _noting(_process.Runner._spawn)
_process.Background.stop = _noting_stop(_process.Background.stop)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
