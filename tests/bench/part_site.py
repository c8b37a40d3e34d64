# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site run that finds all in place, beside `ansible -m ping`, on one local host."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from typing import Any

import figures
from support.sandbox import Play, Sandbox

PART = "site"
#: They run on the controller and start nothing on the host.
_AT_HOME = ("assert", "debug", "fail", "include_role", "include_tasks", "set_fact", "validate_argument_spec")


def calls(play: Play) -> list[str]:
    """The modules that ran on the host, in order."""
    ran = [line["action"].rpartition(".")[2] for line in play.results if line["status"] != "skipped"]
    return [name for name in ran if name not in _AT_HOME]


def run(tools: dict[str, Any], sizes: Mapping[str, int]) -> list[figures.Figure]:
    """Site twice, then in turn with ping."""
    sandbox = Sandbox(tools)
    try:
        cluster = sandbox.cluster("main")
        sandbox.storage("main")
        variables = sandbox.variables(cluster)
        plays = [sandbox.play("mapswipe.walg.site", variables) for _turn in range(2)]
        for play in plays:
            if play.rc:
                raise SystemExit(f"The play failed: {play.failure()}")
        if plays[1].changed():
            raise SystemExit(f"The second run changed something: {plays[1].changed()}")

        def site() -> float:
            return sandbox.play("mapswipe.walg.site", variables).seconds

        def ping() -> float:
            argv = [sandbox.python, "-m", "ansible", "adhoc", "-i", str(sandbox.control / "inventory-000.json"), "walg"]
            env = sandbox.environment(sandbox.control / "none")
            began = time.monotonic()
            subprocess.run([*argv, "-m", "ping"], check=True, env=env, stdout=subprocess.DEVNULL)
            return time.monotonic() - began

        pairs = figures.alternate(sizes["rounds"], site, ping)
    finally:
        sandbox.close()
    ran = calls(plays[1])
    return [
        figures.over(PART, "second site run over ansible -m ping", pairs, 4.0),
        figures.Figure(PART, f"its module calls: {', '.join(ran)}", value=str(len(ran)), numbers={"modules": ran}),
    ]
