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
BEGIN, END = "<!-- options: begin -->", "<!-- options: end -->"


def specs(role: str) -> dict[str, Any]:
    """Return the options of a role's main entry point."""
    text = (ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    options: dict[str, Any] = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    return options


def roles() -> list[str]:
    """Return the names of all roles."""
    return sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))


def plain(text: str) -> str:
    """Turn Ansible's markup into Markdown for a cell of a table."""
    text = re.sub(r"\b[OVCE]\(([^)]*)\)", r"`\1`", text)
    text = re.sub(r"\b[MP]\(([^)#]*)(?:#\w+)?\)", r"`\1`", text)
    return text.replace("|", r"\|")


def table(role: str) -> str:
    """Return the table of a role's options."""
    rows = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for name, option in specs(role).items():
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


def with_table(text: str, role: str) -> str:
    """Return a README with the current table between its two marks."""
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"roles/{role}/README.md lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{table(role)}\n\n{END}{after}"


if __name__ == "__main__":
    for each in roles():
        place = ROOT / "roles" / each / "README.md"
        place.write_text(with_table(place.read_text(encoding="utf-8"), each), encoding="utf-8")
