# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many lines of the modules and their library a run of the tests reached: by coverage.py, in every process of the venv's Python.

Not counted is what runs with a Python outside of the venv, in walg-job's own copy of the library, and in a process that is killed.
It costs a third more processor time in the integration tests, so `make test` does without it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from locations import HERE, ROOT, tools_dir

_SETTINGS = HERE / "coverage.ini"
_SOURCES = "plugins/modules,plugins/module_utils"


def environment() -> dict[str, str]:
    """What the processes of a run need to be measured; tests/support/sandbox.py hands it on to its plays."""
    return {
        "WALG_COVERAGE": str(_SETTINGS),
        "WALG_COVERAGE_DATA": str(tools_dir() / "coverage" / "data"),
        "WALG_COVERAGE_HOOK": str(ROOT / "tests" / "support" / "measured"),
    }


def start() -> None:
    """Forget what an earlier run measured; other users of the host write here too."""
    folder = tools_dir() / "coverage"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o1777)


def figure() -> str:
    """One line with the share of lines that ran; the page with every line is made beside the data."""
    # Files that no test imported count too: this run executes none of them, and notes that they exist.
    _coverage("run", "--source", _SOURCES, str(HERE / "locations.py"))
    _coverage("combine", "--quiet")
    _coverage("html", "--quiet", "--directory", str(tools_dir() / "coverage" / "html"))
    total = _coverage("report", "--format", "total", "--precision", "1").strip()
    return f"coverage of plugins/: {total or '?'} % of lines; each line in {tools_dir() / 'coverage' / 'html' / 'index.html'}"


def _coverage(command: str, *arguments: str) -> str:
    argv = [str(tools_dir() / "venv/bin/python"), "-W", "ignore", "-m", "coverage", command, f"--rcfile={_SETTINGS}"]
    # A process that was killed leaves a file that can't be read, which is reported as a warning.
    answer = subprocess.run(
        [*argv, *arguments], cwd=ROOT, env={**os.environ, **environment()}, capture_output=True, text=True, check=False
    )
    if answer.returncode:
        print(answer.stdout + answer.stderr, file=sys.stderr)
    return answer.stdout
