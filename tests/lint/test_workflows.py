# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The workflow files call nothing but targets of the Makefile, with pinned actions and no right to write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
COMMAND = re.compile(r'(?:sudo )?make ([a-z-]+)(?: PYTHON="\$\(command -v python3\)")?\Z')
PINNED = re.compile(r"[\w-]+/[\w-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40})\Z")


def commands(job: dict[str, Any]) -> list[str]:
    """The commands of a job, one for each entry of its matrix."""
    given = [step["run"] for step in job["steps"] if "run" in step]
    matrix = job.get("strategy", {}).get("matrix", {})
    for name, values in matrix.items():
        given = [each.replace(f"${{{{ matrix.{name} }}}}", value) for each in given for value in values]
    return given


def test_there_are_workflows() -> None:
    assert [path.name for path in WORKFLOWS] == ["check.yml", "weekly.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_command_is_a_target_of_the_makefile(path: Path) -> None:
    found = [command for job in yaml.safe_load(path.read_text())["jobs"].values() for command in commands(job)]
    assert found
    matches = {command: COMMAND.match(command) for command in found}
    assert [command for command, match in matches.items() if not match or match[1] not in TARGETS] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_may_only_read(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    actions = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert actions
    assert [action for action in actions if not PINNED.match(action)] == []
    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in workflow["jobs"].items() if "permissions" in job] == []
