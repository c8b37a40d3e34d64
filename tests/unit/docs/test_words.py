# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words and sentences: the phrases that CONTRIBUTING.md lists as "not" are in no page, no option's description, no message, and
in no docstring and no comment of the code."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

import pytest
import yaml
from ansible_collections.mapswipe.walg.plugins.module_utils._job import _wal_fetch, _wal_head, _wal_push, _wrappers
from written import EXAMPLES, PAGES, ROOT, text_of

HEADING = "## Words and sentences"
LIST = text_of("CONTRIBUTING.md").partition(HEADING)[2].partition("\n## ")[0]
PHRASES = [
    phrase
    for cell in re.findall(r"^\| (?!not |---)(.+?) \|", LIST, re.MULTILINE)
    for phrase in re.findall(r"\*([^*]+)\*", cell)
]


# Who reads the code is one of "us".
AMONG_US = {"somebody else's", "anybody else's", "of root's", "of ours", "our file", "our settings"}


def has(text: str, phrase: str) -> bool:
    """Say whether a text has a phrase: whole words, whatever their case and however the lines break."""
    pattern = r"\s+".join(map(re.escape, phrase.split()))
    return re.search(rf"(?<!\w){pattern}(?![\w-])", text, re.IGNORECASE) is not None


def _docstrings(tree: ast.AST) -> set[int]:
    owners = [
        node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body
    ]
    return {id(node.body[0].value) for node in owners if isinstance(node.body[0], ast.Expr)}


def said(code: str) -> Iterator[str]:
    """Yield what a program says, a text in one piece, and the documentation of a module; no docstrings and no comments."""
    tree = ast.parse(code)
    left = _docstrings(tree)
    for node in ast.walk(tree):
        if id(node) in left:
            continue
        if isinstance(node, ast.JoinedStr):
            left |= {id(part) for part in ast.walk(node)}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def remarks(code: str) -> Iterator[str]:
    """Yield the docstrings and the comments of code; comments on lines that follow one another are one text."""
    kept = _docstrings(tree := ast.parse(code))
    for node in ast.walk(tree):
        if id(node) in kept and isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
    last, lines = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1:
                yield " ".join(lines)
                lines = []
            last = token.start[0]
            lines.append(token.string.lstrip("#: "))
    yield " ".join(lines)


def values(node: object) -> Iterator[str]:
    """Yield all texts in YAML data."""
    if isinstance(node, str):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from values(child)


def pieces(text: str) -> list[str]:
    """Return the texts in a module's documentation, without its keys; of anything else, itself."""
    return list(values(yaml.safe_load(text))) if re.match(r"\n[a-z_]+:(\n| \w+\n)", text) else [text]


def comments(text: str) -> str:
    """Return the comments of an example without their marks."""
    return "\n".join(line.lstrip()[1:] for line in text.splitlines() if line.lstrip().startswith("#"))


def complaints(script: str) -> list[str]:
    """Return what a wrapper says or fails with."""
    return re.findall(r'\b(?:say|fail) "((?:[^"\\]|\\.)*)"', script, re.DOTALL)


YAML = sorted(path for pattern in ("roles/*/*/*.yml", "playbooks/*.yml") for path in ROOT.glob(pattern))
WRAPPERS = _wrappers.texts()
SHELL = {str(module.__file__).rpartition("/")[2] for module in (_wal_fetch, _wal_head, _wal_push)}
CODE = sorted(path for path in ROOT.glob("plugins/**/*.py") if path.name not in SHELL)
TEXTS = {
    **{page: [text_of(page).replace(LIST, "")] for page in PAGES},
    **{example: [comments(text_of(example))] for example in EXAMPLES},
    **{str(path.relative_to(ROOT)): list(values(yaml.safe_load(path.read_text(encoding="utf-8")))) for path in YAML},
    **{name: complaints(script) for name, script in WRAPPERS.items()},
    **{
        str(path.relative_to(ROOT)): [
            piece for text in said(path.read_text(encoding="utf-8")) for piece in pieces(text)
        ]
        for path in CODE
    },
}
REMARKS = {str(path.relative_to(ROOT)): list(remarks(path.read_text(encoding="utf-8"))) for path in CODE}


def test_there_is_something_to_check() -> None:
    assert len(PHRASES) >= 20
    assert set(PHRASES) > AMONG_US
    assert sum(map(len, REMARKS.values())) > 1500
    assert {"goes on", "say so with", "wanted:", "is refused", "anew"} <= set(PHRASES)
    assert len(CODE) > 70
    assert len(YAML) > 8
    assert len(SHELL) == 3
    assert len({text for script in WRAPPERS.values() for text in complaints(script)}) > 30


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_does_not_come_back(phrase: str) -> None:
    found = [
        f"{name}: {' '.join(text.split())[:200]}"
        for name, texts in [*TEXTS.items(), *(REMARKS.items() if phrase not in AMONG_US else ())]
        for text in texts
        if has(text, phrase)
    ]
    assert found == [], f"CONTRIBUTING.md, {HEADING.lstrip('# ')}, says how to write it"


@pytest.mark.parametrize(
    ("text", "phrase", "there"),
    [
        ("The server goes\n  on meanwhile", "goes on", True),
        ("Wanted: a number", "wanted:", True),
        ("the phrase goes one better", "goes on", False),
        ("a go-on word", "go", False),
        ("the janewed word", "anew", False),
    ],
)
def test_the_search_itself(text: str, phrase: str, there: bool) -> None:
    assert has(text, phrase) == there


def test_what_a_program_says() -> None:
    code = 'DOC = """one"""\ndef f(x):\n    """two"""\n    # three\n    raise E(f"four {x} " "five", hint="six")\n'
    assert sorted(said(code)) == ["four … five", "one", "six"]


def test_what_is_remarked_on_code() -> None:
    code = '"""one"""\ndef f(x):\n    """two"""\n    # three\n    # four\n    raise E("five")  # six\n    #: seven\n\n# eight\n'
    assert [text for text in remarks(code) if text] == ["one", "two", "three four six seven", "eight"]
