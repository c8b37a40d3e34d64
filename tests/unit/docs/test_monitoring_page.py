# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/monitoring.md is an interface: exit codes, reasons, alerts, verbs and files are those of the code."""

from __future__ import annotations

import ast
import re

import yaml
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _exit_codes
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _usage
from written import ROOT, text_of

PAGE = text_of("docs/monitoring.md")
VERBS = ("backup", "expire", "verify", "check", "run", "tell")


def levels() -> dict[str, set[str]]:
    """Return the codes of all reasons in the library, with the levels that are named beside them."""
    found: dict[str, set[str]] = {}
    for path in ROOT.glob("plugins/module_utils/_report/*_reasons.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Reason"):
                continue
            code, level = node.args[0], node.args[1]
            names = [code.value] if isinstance(code, ast.Constant) else [f"{verb}_failed" for verb in VERBS]
            told = level.id.lower() if isinstance(level, ast.Name) else getattr(level, "value", "level")
            for name in names:
                found.setdefault(str(name), set()).add(str(told))
    return found


def rows(text: str) -> dict[str, str]:
    """Return code -> cell of the tables of reasons."""
    found = {}
    for cell in re.findall(r"^\| (`[a-z_]+`.*?) \|", text.partition("## Reasons")[2], re.MULTILINE):
        for code in re.findall(r"`([a-z_]+)`", cell):
            found[code] = cell
    return found


def test_the_exit_codes_are_the_programs() -> None:
    told = re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert {int(code): meaning for code, meaning in told} == _exit_codes.MEANINGS


def test_every_reason_is_on_the_page_and_no_other() -> None:
    assert len(levels()) > 30
    assert set(rows(PAGE)) == set(levels())


def test_the_levels_are_the_librarys() -> None:
    named = {"critical", "warning", "unknown", "info"}
    for code, known in levels().items():
        for level in known & named:
            assert level in rows(PAGE)[code].partition(f"`{code}`")[2], code


def test_every_alert_is_on_the_page_and_no_other() -> None:
    groups = yaml.safe_load(text_of("files/monitoring/alerts.yml"))["groups"]
    there = {rule["alert"] for group in groups for rule in group["rules"]}
    assert set(re.findall(r"`(Walg[A-Za-z]+)`", PAGE)) == there


def test_the_calls_on_the_page_are_calls() -> None:
    """Each line of the block is parsed by the program itself; usage errors end the test."""
    block = next(text for text in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL) if "walg-job run" in text)
    calls = [re.split(r"\s{2,}|(?<=html) ", line)[0].split()[1:] for line in block.splitlines()]
    verbs = {_usage.parser().parse_args(call).verb for call in calls}
    assert verbs == {"run", "backup", "check", "expire", "verify", "status", "report"}
