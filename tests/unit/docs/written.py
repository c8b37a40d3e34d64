# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written for people: pages and examples, and what of the collection they may name."""

from __future__ import annotations

import re
from pathlib import Path

import options_table

ROOT = Path(__file__).resolve().parents[3]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in sorted(
        [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md")]
    )
]
EXAMPLES = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("examples/**/*.yml"))]
ROLES = options_table.roles()
OPTIONS = {
    name for role in ROLES for entry in options_table.entry_points(role) for name in options_table.specs(role, entry)
}
# What the shipped playbooks themselves ask for.
PLAY_VARIABLES = {
    name
    for path in ROOT.glob("playbooks/*.yml")
    for name in re.findall(r"\bwalg_[a-z_]+\b", path.read_text(encoding="utf-8"))
}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of one language in a page, those inside of lists too."""
    fences = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [
        "\n".join(line.removeprefix(indent) for line in body.split("\n"))
        for indent, named, body in fences
        if named == language
    ]
