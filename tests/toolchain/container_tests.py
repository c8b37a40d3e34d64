# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run tests/containers: plays on this machine that serve a database in a container from outside, by Compose.

They run beside molecule's scenarios and are told of what they need by an environment variable, as these are by a file.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

import compose
import official
from locations import ROOT, test_environment, tools_dir
from scenarios import tail

NAME = "containers"
_IMAGES = "WALG_OFFICIAL"  # as tests/support/container_world.py has it


def make() -> list[official.Official]:
    """Make the images and have Compose answer, on a running engine. Raises ToolError."""
    compose.ensure()
    return [official.ensure(major) for major in official.majors()]


def run(images: list[official.Official]) -> bool:
    """Run the tests, print what became of them; says whether they passed."""
    log = tools_dir() / "log" / f"hosts-{NAME}.log"
    log.parent.mkdir(exist_ok=True)
    start = time.monotonic()
    argv = [str(tools_dir() / "venv" / "bin" / "python"), "-m", "pytest", f"tests/{NAME}", "--timeout", "900"]
    env = {**test_environment(), _IMAGES: json.dumps([asdict(image) for image in images])}
    with log.open("wb") as stream:
        code = subprocess.run(
            [*argv, *shlex.split(os.environ.get("ARGS", ""))],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            check=False,
        ).returncode
    state = f"FAILED, its output is in {log}; the end of it:\n{tail(log)}" if code else f"ok: {_summary(log)}"
    print(f"hosts {NAME:<12} {time.monotonic() - start:6.1f} s  {state}", flush=True)
    return code == 0


def _summary(log: Path) -> str:
    """Return pytest's last line, and what was skipped with the reason."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    skipped = [line for line in lines if line.startswith("SKIPPED")]
    return "\n".join([lines[-1].strip("= "), *skipped])
