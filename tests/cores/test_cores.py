# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job with the newest ansible-core on newer Pythons, and with the oldest Pythons that hosts may have.

make test-core     some minutes; a Python that this machine does not have is reported as skipped, with that reason
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import parts
import pytest
import stage
from locations import VERSIONS
from support.sandbox import Sandbox, load_tools

# The core of the checkout's own tools, the oldest that meta/runtime.yml wants, with the Python of this run; then newer cores,
# as versions.json has them. Each with the oldest Python of a host that it serves.
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
CORES = {**VERSIONS["cores"], OWN: importlib.metadata.version("ansible-core")}
OLDEST = {"2.19": "3.8", "2.21": "3.9"}
CASES = [(python, OLDEST[core.rpartition(".")[0]]) for python, core in CORES.items()]


def program(version: str) -> Path:
    """Return a Python of this machine; without it the test is skipped."""
    folder = stage.target_pythons().get(version)
    if folder is None:
        pytest.skip(f"this machine has no Python {version}")
    return folder / f"python{version}"


@pytest.mark.parametrize(("controller", "target"), CASES)
def test_site_loss_and_restore(controller: str, target: str) -> None:
    interpreter = program(target)
    tools = load_tools()
    if controller != OWN:
        part = parts.core_part(controller, program(controller))
        if not part.current():
            part.make()
        folder = part.outputs[0].parent
        tools |= {"python": str(folder / "python"), "venv_bin": str(folder)}
    sandbox = Sandbox(tools)
    try:
        version = sandbox.run(
            [tools["python"], "-m", "ansible", "playbook", "--version"], env=sandbox.environment(sandbox.control)
        )
        assert f"[core {CORES[controller]}]" in version.stdout, version.stdout
        assert f"python version = {controller}." in version.stdout
        cluster = sandbox.cluster("main")
        sandbox.storage("main")
        called, wrapper = sandbox.control / "called", sandbox.control / f"python{target}"
        wrapper.write_text(f'#!/bin/sh\necho >>{called}\nexec {interpreter} "$@"\n')
        wrapper.chmod(0o755)
        variables = sandbox.variables(cluster, ansible_python_interpreter=str(wrapper))
        for arguments in (["--check", "--diff"], []):
            play = sandbox.play("mapswipe.walg.site", variables, *arguments)
            assert play.rc == 0, play.stdout
            assert "DEPRECATION" not in play.stdout, play.stdout
        again = sandbox.play("mapswipe.walg.site", variables)
        assert (again.rc, again.changed()) == (0, []), again.stdout
        cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
        cluster.ship()
        rows = cluster.rows("t")
        cluster.lose()
        restore = sandbox.play(
            "mapswipe.walg.restore", {**variables, "walg_restore_request": "lost"}, "-e", "walg_hosts=db"
        )
        assert restore.rc == 0, restore.stdout
        assert cluster.rows("t") == rows
        assert called.exists(), "the modules ran with another Python"
    finally:
        sandbox.close()
