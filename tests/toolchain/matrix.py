# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table that `make test-matrix` ends with: how each PostgreSQL got on with the WAL-G under test, from pytest's report."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

from locations import paths, pg_major, pg_majors

#: Test files with what they are called in the table. One that names no PostgreSQL runs with the default one.
COLUMNS = {"test_cycle": "main job", "test_majors": "main job", "test_points": "targets"}
_REFUSAL = "refusal"  # of the PostgreSQLs that this WAL-G can't back up


def _cell(case: ET.Element) -> tuple[int, str]:
    """Return where in the table a test belongs."""
    name = case.get("name", "")
    found = re.search(r"\[pg(\d+)\]", name)
    column = _REFUSAL if "refused_before_any_change" in name else COLUMNS[case.get("classname", "").rpartition(".")[2]]
    return int(found[1]) if found else pg_major(), column


def table(report: Path) -> tuple[list[str], bool]:
    """Return the lines, and whether every PostgreSQL either ran everything or says why it did not."""
    cells: dict[tuple[int, str], list[ET.Element]] = {}
    reasons: dict[int, str] = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        skipped = case.find("skipped")
        if skipped is None:
            cells.setdefault(_cell(case), []).append(case)
        else:
            reasons.setdefault(_cell(case)[0], skipped.get("message", ""))
    columns = list(dict.fromkeys(COLUMNS.values()))
    binary = paths()["walg_binary"]
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split("\t")[0]
    lines = ["", f"{version}, {binary}", "", "  ".join(f"{name:<12}" for name in ("PostgreSQL", *columns, ""))]
    complete = True
    for major in pg_majors():
        told = [_state(cells.get((major, column), [])) for column in columns]
        refusal = cells.get((major, _REFUSAL), [])
        if not any(told):
            remark = f"skipped: {reasons[major]}" if major in reasons else "NOT RUN"
            told, complete = ["-"] * len(columns), complete and major in reasons
        else:
            remark, complete = "", complete and all(told)
        remark += f" (refused as it should be: {_state(refusal)})" if refusal else ""
        lines.append(
            "  ".join(f"{text:<12}" for text in (str(major), *(one or "NOT RUN" for one in told), remark)).rstrip()
        )
    return lines, complete


def _state(cases: list[ET.Element]) -> str:
    """Return how a cell's tests ended, and how long they took; empty if there were none."""
    if not cases:
        return ""
    failed = any(case.find(kind) is not None for case in cases for kind in ("failure", "error"))
    return f"{'FAILED' if failed else 'ok'} {sum(float(case.get('time', '0')) for case in cases):.0f} s"
