# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of options in the roles' READMEs, made from argument_specs.

After a change of an option:  .tools/venv/bin/python tests/unit/docs/options_table.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]


def entry_points(role: str) -> dict[str, Any]:
    """Return the entry points of a role: main, and what tasks_from may name."""
    text = (ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)["argument_specs"]
    return found


def specs(role: str, entry: str = "main") -> dict[str, Any]:
    """Return the options of a role's entry point."""
    options: dict[str, Any] = entry_points(role)[entry]["options"]
    return options


def roles() -> list[str]:
    """Return the names of all roles."""
    return sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))


def plain(text: str) -> str:
    """Turn Ansible's markup into Markdown for a cell of a table."""
    text = re.sub(r"\b[OVCE]\(([^)]*)\)", r"`\1`", text)
    text = re.sub(r"\b[MP]\(([^)#]*)(?:#\w+)?\)", r"`\1`", text)
    return text.replace("|", r"\|")


def table(role: str, entry: str = "main") -> str:
    """Return the table of an entry point's options."""
    rows = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for name, option in specs(role, entry).items():
        described = option["description"]
        meaning = plain(" ".join([described] if isinstance(described, str) else described))
        if "choices" in option:
            meaning += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        default = (
            "required"
            if option.get("required")
            else f"`{json.dumps(option['default'])}`"
            if "default" in option
            else ""
        )
        rows.append(f"| `{name}` | {option['type']} | {default} | {meaning} |")
    return "\n".join(rows)


def with_tables(text: str, role: str) -> str:
    """Return a README with the current table of each entry point between its two marks."""
    for entry in entry_points(role):
        what = "options" if entry == "main" else f"options of {entry}"
        marks = f"<!-- {what}: begin -->", f"<!-- {what}: end -->"
        before, begin, rest = text.partition(marks[0])
        _old, end, after = rest.partition(marks[1])
        if not begin or not end:
            raise ValueError(f"roles/{role}/README.md lacks the marks {marks[0]} and {marks[1]}")
        text = f"{before}{begin}\n\n{table(role, entry)}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    for each in roles():
        place = ROOT / "roles" / each / "README.md"
        place.write_text(with_tables(place.read_text(encoding="utf-8"), each), encoding="utf-8")
