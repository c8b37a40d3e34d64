# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules run in a fork of this process, which has imported everything already: for tests that run hundreds of them."""

from __future__ import annotations

import importlib
import io
import json
import os
import runpy
import sys
import tempfile
import traceback
from typing import Any

from .sandbox import Sandbox, judge_answer

_MODULES = "ansible_collections.mapswipe.walg.plugins.modules"


def preload(name: str) -> Any:
    """Import a part of the collection, once its place is on the path."""
    return importlib.import_module(name)


class ForkingSandbox(Sandbox):
    """A sandbox whose modules start in a tenth of the time."""

    def module(self, name: str, options: dict[str, Any], check: bool = False) -> dict[str, Any]:
        """Run one module and return its answer."""
        preload(f"{_MODULES}.{name}")
        argv = self.module_argv(name, options, check)
        with tempfile.TemporaryFile("w+") as out:
            child = os.fork()
            if not child:
                self._run(argv[1:], out.fileno())
            os.waitpid(child, 0)
            out.seek(0)
            said = out.read()
        for line in said.splitlines():
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                judge_answer(name, answer)
                return answer
        raise AssertionError(f"{name} answered nothing: {said}")

    def _run(self, argv: list[str], out: int) -> None:
        """In the child: be the module, and nothing of what this process was."""
        try:
            os.dup2(out, 1)
            os.dup2(out, 2)
            with open(os.devnull, "rb") as null:
                os.dup2(null.fileno(), 0)
            sys.stdin = io.TextIOWrapper(io.FileIO(0))
            sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(one, "w"), write_through=True) for one in (1, 2))
            os.chdir(self.root)
            os.environ.clear()
            os.environ.update(self.environment(self.control / "none"))
            sys.argv = argv
            runpy.run_path(argv[0], run_name="__main__")
        finally:
            error = sys.exc_info()[1]
            if error is not None and not isinstance(error, SystemExit):
                traceback.print_exception(error)
            sys.stdout.flush()
            os._exit(0)
