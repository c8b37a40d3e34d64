# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics' text: what is known is there in Prometheus' format, what is not is left out and counted."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from ansible_collections.mapswipe.walg.plugins.module_utils._report import _metric_names, _metrics, _verdict
from support import reported

NOW = reported.NOW
_SAMPLE = re.compile(r'^([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+)\} (-?[0-9.e+]+)$')


def samples(facts: dict[str, Any]) -> dict[tuple[str, str], float]:
    """Parse the text; every line must be a sample or a comment."""
    found = {}
    for line in _metrics.text(facts, _verdict.judge(facts, NOW), NOW).splitlines():
        if not line.startswith("# "):
            match = _SAMPLE.match(line)
            assert match, line
            found[match[1], match[2]] = float(match[3])
    return found


def test_what_is_known_is_there() -> None:
    found = samples(reported.facts(10, hole=True))
    main = 'walg_instance="main"'
    assert found["walg_restorable", f'{main},state="yes"'] == 1
    assert found["walg_restorable", f'{main},state="unknown"'] == 0
    assert found["walg_job_last_exit_code", f'{main},verb="backup"'] == 0
    assert found["walg_wal_gap_segments", f'{main},timeline="1"'] == 7
    assert found["walg_backups", f'{main},backup_type="full"'] == 2
    assert found["walg_window_to_timestamp_seconds", f'{main},timeline="1"'] == NOW.timestamp() - 87
    assert found["walg_unknown_facts", main] == 0
    assert all(value >= 0 for value in found.values())
    assert len([name for name, _labels in found if name == "walg_backup_info"]) == 10


def test_a_window_begins_after_the_newest_hole() -> None:
    facts = reported.facts(10, hole=True)
    first = facts["archive"]["windows"][1]["first"]["time"]
    text = _metrics.text(facts, _verdict.judge(facts, NOW), NOW)
    (value,) = re.findall(r"^walg_window_from_timestamp_seconds\{.*\} (\d+)$", text, re.MULTILINE)
    assert int(value) == datetime.fromisoformat(first).timestamp()


def test_what_is_not_known_is_left_out_and_counted() -> None:
    facts = reported.facts(10, archive=None, archive_problem="403", health={}, verification=None, retention=None)
    names = {name for name, _labels in samples(facts)}
    assert not {name for name in names if name.startswith(("walg_backup", "walg_window", "walg_wal_"))}
    assert samples(facts)["walg_storage_up", 'walg_instance="main"'] == 0
    assert samples(facts)["walg_unknown_facts", 'walg_instance="main"'] > 5


def test_a_failed_run_leaves_the_last_success() -> None:
    facts = reported.facts(10)
    facts["runs"]["backup"] = reported.run("backup", code=1, hours=1)
    facts["history"].append(facts["runs"]["backup"])
    found = samples(facts)
    last, good = (
        found[f"walg_job_last_{kind}_timestamp_seconds", 'walg_instance="main",verb="backup"']
        for kind in ("run", "success")
    )
    assert last - good == 13.4 * 3600
    facts["history"] = []
    assert ("walg_job_last_success_timestamp_seconds", 'walg_instance="main",verb="backup"') not in samples(facts)


def test_foreign_names_do_not_break_the_file() -> None:
    facts = reported.facts(2)
    facts["archive"]["backups"][0]["name"] = 'a"b\\c\nwalg_restorable 1'
    assert ("walg_restorable", "") not in samples(facts)


def test_every_metric_is_emitted_by_some_facts_and_has_its_help() -> None:
    facts = reported.facts(10)
    facts["health"]["waiting"] = {"files": 2, "oldest": 3.0, "first": "x"}
    facts["retention"]["last"]["bytes"] = 12
    emitted = {name for name, _labels in samples(facts)}
    assert emitted == set(_metric_names.HELP)
