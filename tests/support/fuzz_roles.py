# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong values for every option of every role, many in one run of ansible-playbook: each refused in a sentence, or taken."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from .fuzz import VALUES, faults
from .sandbox import CHECKOUT, Play, Sandbox

ROLES = ("walg_backup", "walg_restore")
_AT_ONCE = 30  # cases in a run
_MARK = "that was case "
#: Ansible's own words for what a role should have refused before.
_NOISE = (
    "templating",
    "object of type",
    "is undefined",
    "has no attribute",
    "has no element",
    "while evaluating",
    "Traceback",
)
#: What makes each value wait, or has nothing to do with a role's answer.
_LEFT_OUT = ("walg_restore_request",)


@dataclass(frozen=True)
class RoleCase:
    """One option of a role, or of the one that both include, and the value that it gets."""

    role: str
    option: str
    value: Any


def _options(role: str) -> dict[str, Any]:
    text = (CHECKOUT / "roles" / role / "meta/argument_specs.yml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    return found


def role_cases() -> list[RoleCase]:
    """Return every wrong value for every option of every role."""
    return [
        RoleCase(role, option, value)
        for role in ROLES
        for option in (*_options(role), *_options("walg"))
        for value in VALUES
        if option not in _LEFT_OUT and not _out_of_json(value)
    ]


def _out_of_json(value: Any) -> bool:
    """Neither infinite numbers nor lone halves of characters come out of a file of YAML or JSON."""
    return isinstance(value, float) and not math.isfinite(value)


def _unsafe(value: Any) -> Any:
    """Return a value that Ansible takes as it is: no template."""
    if isinstance(value, str):
        return {"__ansible_unsafe": value}
    if isinstance(value, dict):
        return {key: _unsafe(one) for key, one in value.items()}
    return [_unsafe(one) for one in value] if isinstance(value, list) else value


def _tasks(number: int, case: RoleCase) -> list[dict[str, Any]]:
    include = {
        "include_role": {"name": f"mapswipe.walg.{case.role}"},
        "vars": {case.option: f"{{{{ values[{number}] }}}}"},
    }
    mark = {"name": f"{_MARK}{number}", "debug": {"msg": "done"}}
    return [{"block": [include], "rescue": [{"debug": {"msg": "refused"}}]}, mark]


def tried(
    sandbox: Sandbox, variables: Mapping[str, Any], cases: list[RoleCase]
) -> Iterator[tuple[RoleCase, list[str]]]:
    """Run the roles in check mode with each value; yield each case with what is wrong with its answer."""
    for first in range(0, len(cases), _AT_ONCE):
        part = cases[first : first + _AT_ONCE]
        tasks = [task for number, case in enumerate(part) for task in _tasks(number, case)]
        playbook = sandbox.control / f"cases-{first}.json"
        values = {"values": [_unsafe(case.value) for case in part]}
        (sandbox.control / f"values-{first}.json").write_text(json.dumps(values))
        playbook.write_text(
            json.dumps(
                [{"hosts": "all", "gather_facts": False, "tasks": tasks, "vars_files": [f"values-{first}.json"]}]
            )
        )
        play = sandbox.play(str(playbook), dict(variables), "--check")
        yield from _told(play, part)


def _told(play: Play, cases: list[RoleCase]) -> Iterator[tuple[RoleCase, list[str]]]:
    number, answer = 0, {}
    for line in play.results:
        if line["status"] == "failed":
            answer = line["result"]
        if line["task"] == f"{_MARK}{number}":
            yield cases[number], _faults(answer)
            number, answer = number + 1, {}
    if number < len(cases):
        yield cases[number], [f"the play ended with it: {play.stdout[-1500:]}"]


def _faults(answer: Mapping[str, Any]) -> list[str]:
    if not answer:
        return []
    message = str(answer.get("msg", ""))
    noise = [f"{word}: {message[:600]}" for word in _NOISE if word in message]
    told = {**answer, "failed": True, "exception": ""}  # (Ansible says in each of them that there is no traceback)
    traceback = ["a traceback"] if "Traceback" in str(answer.get("exception")) else []
    return [*faults(told), *noise, *traceback]
