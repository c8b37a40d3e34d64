# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runbook's table of refusals: each message that it quotes is one that the code has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from written import ROOT, blocks, text_of

GAP = "…"


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield the texts of a program; what is only known when it runs is a gap."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def said(quoted: str, message: str) -> bool:
    """Say whether a message can read as quoted, whose gaps stand for anything. Numbers in a quote are an example."""
    pieces = [piece.strip() for piece in re.split(rf"{GAP}|\b\d+\b", quoted)]
    pattern = ".*".join(re.escape(piece) for piece in pieces if piece)
    return re.search(pattern, " ".join(message.split())) is not None


MESSAGES = [
    text
    for path in sorted(ROOT.glob("plugins/module*/**/*.py"))
    for text in texts(ast.parse(path.read_text(encoding="utf-8")))
    if " " in text
]
ROWS = re.findall(
    r"^\| (?!message|---)(.+?) \|", text_of("docs/restore-runbook.md").partition("## Error messages")[2], re.M
)


@pytest.mark.parametrize("row", ROWS)
def test_a_quoted_message_is_one_of_the_code(row: str) -> None:
    for quoted in row.split(" / "):
        assert len(re.sub(rf"{GAP}|\d", "", quoted).split()) >= 2, "too little to tell it by"
        assert [message for message in MESSAGES if said(quoted, message)], quoted


def test_the_readme_quotes_the_refused_restart_to_the_letter() -> None:
    (block,) = [block for block in blocks(text_of("README.md"), "") if block.startswith("A restart ")]
    quoted = " ".join(block.split()).replace("/var/lib/postgresql/14/main", GAP).replace("archive_mode", GAP)
    assert [message for message in MESSAGES if said(quoted, message)]


def test_there_are_rows() -> None:
    assert len(ROWS) >= 15


@pytest.mark.parametrize(
    ("quoted", "message", "same"),
    [
        ("Too little room beside …", f"Too little room beside {GAP}: {GAP} bytes", True),
        ("is of PostgreSQL 14, but … is of 15", f"It is of PostgreSQL {GAP}, but {GAP} is of {GAP}.", True),
        ("Too little room in …", f"Too little room beside {GAP}", False),
        ("holds no base backup of … cluster", "holds no base backup", False),
    ],
)
def test_the_comparison_itself(quoted: str, message: str, same: bool) -> None:
    assert said(quoted, message) == same
