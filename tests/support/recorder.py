# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback plugin that writes every task's result as a line of JSON, for tests to read."""

from __future__ import annotations

import json
import os
import time

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: recorder
type: aggregate
short_description: Task results as lines of JSON
description:
  - Writes to the file that RECORDER_FILE names.
  - Has this run of Ansible keep the modules that it sends in the directory that RECORDER_MODULES names, where the next run of the
    same tests finds them. Each run has a temporary directory of its own for them otherwise.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "recorder"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook):
        if "RECORDER_MODULES" in os.environ:
            os.symlink(os.environ["RECORDER_MODULES"], os.path.join(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache"))

    def _write(self, status, result):
        with open(os.environ["RECORDER_FILE"], "a", encoding="utf-8") as stream:
            line = {
                "time": time.time(),
                "status": status,
                "host": result.host.get_name(),
                "task": result.task.get_name(),
                "action": result.task.action,
                "result": result.result,
            }
            stream.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result):
        self._write("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._write("failed", result)

    def v2_runner_on_skipped(self, result):
        self._write("skipped", result)

    def v2_runner_on_unreachable(self, result):
        self._write("unreachable", result)
