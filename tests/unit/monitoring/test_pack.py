# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitoring pack: rules are sound and tested by promtool, and rules and dashboard use only metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import lookers
import pytest
import yaml
from ansible_collections.mapswipe.walg.plugins.module_utils._report._metric_names import HELP
from locations import ToolError

ROOT = Path(__file__).resolve().parents[3]
PACK, TESTS = ROOT / "files" / "monitoring", ROOT / "tests" / "monitoring"
RULES = yaml.safe_load((PACK / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
BOARD = json.loads((PACK / "dashboard.json").read_text(encoding="utf-8"))
_METRIC = re.compile(r"\bwalg_(?!instance\b)[a-z_]+\b")
VERBS = ("Check", "Backup", "Expire", "Verify")


def promtool(*words: str) -> str:
    try:
        program = lookers.find("promtool")
    except ToolError as error:
        pytest.skip(f"promtool is missing: {error}")
    done = subprocess.run([str(program), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_the_rules_sound() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", str(PACK / "alerts.yml"))


def test_each_rule_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", str(TESTS / "alerts_test.yml"))


def test_a_rule_that_is_wrong_fails_its_test(tmp_path: Path) -> None:
    shutil.copytree(PACK, tmp_path / "files" / "monitoring")
    shutil.copytree(TESTS, tmp_path / "tests" / "monitoring")
    broken = tmp_path / "files" / "monitoring" / "alerts.yml"
    text = broken.read_text(encoding="utf-8")
    broken.write_text(text.replace("walg_storage_up == 0", "walg_storage_up == 2"), encoding="utf-8")
    with pytest.raises(AssertionError, match="WalgStorageUnreadable"):
        promtool("test", "rules", str(tmp_path / "tests" / "monitoring" / "alerts_test.yml"))


def test_each_rule_has_a_name_a_severity_a_runbook_and_both_tests() -> None:
    tested = [one["name"] for one in yaml.safe_load((TESTS / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]]
    for rule in RULES:
        assert re.fullmatch(r"Walg[A-Z][A-Za-z]+", rule["alert"])
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["runbook"]
    assert tested == [f"{rule['alert']} {how}" for rule in RULES for how in ("fires", "is silent")]


def test_each_verb_of_the_job_has_a_rule_of_silence_and_one_of_absence() -> None:
    names = {rule["alert"] for rule in RULES}
    assert {f"Walg{verb}{kind}" for verb in VERBS for kind in ("Silent", "Absent")} <= names


def test_rules_and_dashboard_use_metrics_that_there_are() -> None:
    exprs = [rule["expr"] for rule in RULES]
    shown = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    used = {name for expr in (*exprs, *shown) for name in _METRIC.findall(expr)}
    assert used - set(HELP) == set()
    assert len(used) > 20


def test_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _y in cells) < 24
