# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module walg_restore and kill it with -9 in its swap: killed_module.py before|after N MODULE ARGUMENTS.

Steps that the disk shows as done are not counted: N is the number of the step among those that this run does, from 1 on.
It ends in peace where there are fewer.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Callable
from typing import Any

from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _hands, _journal


def main() -> None:
    when, number, module, arguments = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
    real, count = _hands.Hands.call, 0

    def call(self: _hands.Hands, directory: str, function: Callable[..., Any], *given: Any) -> Any:
        nonlocal count
        if function not in (_journal._do, _journal._undo):
            return real(self, directory, function, *given)
        if when == "before" and count == number - 1:
            done = bool(real(self, directory, given[0].done))
            if done == (function is _journal._undo):  # it would do something
                os.kill(os.getpid(), signal.SIGKILL)
        answer = real(self, directory, function, *given)
        count += int(answer)
        if when == "after" and answer and count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    vars(_hands)["Hands"].call = call
    sys.argv = [module, arguments]
    runpy.run_path(module, run_name="__main__")


main()
