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
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import compose
import cron
import images
import official
from locations import ROOT, test_environment, tools_dir
from scenarios import tail

NAME = "containers"
_IMAGES, _HOST = "WALG_OFFICIAL", "WALG_IMAGE"  # as container_world.py and container_gcs.py in tests/support have it


def make() -> dict[str, str]:
    """Make the images and have Compose answer, on a running engine; return what the tests are told. Raises ToolError.

    A host's image is for what has to run Python in a container: the storage.
    """
    compose.ensure()
    cron.ensure()
    made = [asdict(official.ensure(major)) for major in official.majors()]
    return {_IMAGES: json.dumps(made), _HOST: images.ensure(images.DEFAULT)}


def run(told: Mapping[str, str]) -> bool:
    """Run the tests, print what became of them; says whether they passed."""
    log = tools_dir() / "log" / f"hosts-{NAME}.log"
    log.parent.mkdir(exist_ok=True)
    start = time.monotonic()
    argv = [str(tools_dir() / "venv" / "bin" / "python"), "-m", "pytest", f"tests/{NAME}", "--timeout", "900"]
    argv += [
        "-n",
        "2",
        "--dist",
        "loadfile",
    ]  # the tests of one file tell a story; they wait for servers half of their time
    with log.open("wb") as stream:
        code = subprocess.run(
            [*argv, *shlex.split(os.environ.get("ARGS", ""))],
            cwd=ROOT,
            env={**test_environment(), **told},
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
