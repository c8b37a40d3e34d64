# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation names must exist: options, modules, roles, playbooks, files, make's targets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import options_table
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in sorted(
        [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md")]
    )
]
EXAMPLES = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("examples/*/*.yml"))]
MODULES = {path.stem for path in ROOT.glob("plugins/modules/*.py")}
PLAYBOOKS = {path.stem for path in ROOT.glob("playbooks/*.yml")}
ROLES = set(options_table.roles())
OPTIONS = {name for role in ROLES for name in options_table.specs(role)}
# What the shipped playbooks themselves ask for.
PLAY_VARIABLES = {
    name
    for path in ROOT.glob("playbooks/*.yml")
    for name in re.findall(r"\bwalg_[a-z_]+\b", path.read_text(encoding="utf-8"))
}
KNOWN = OPTIONS | PLAY_VARIABLES | MODULES | ROLES
# A file and a WAL-G call, not options.
OTHER_WORDS = {"mapswipe_walg"}


def unknown_words(text: str) -> set[str]:
    """Return the walg_ words that are no option, module or role; a prefix such as walg_backup_* has to begin one."""
    found = set()
    for word, star in re.findall(r"(?<![\w/.-])(walg_[a-z_]*[a-z])(_\*)?", text):
        good = any(name.startswith(f"{word}_") for name in KNOWN) if star else word in KNOWN
        if not good:
            found.add(word + star)
    return found


def unknown_names(text: str) -> set[str]:
    """Return full names mapswipe.walg.X that are no module, role or playbook."""
    named = set(re.findall(r"\bmapswipe\.walg\.(\w+)", text))
    return named - MODULES - PLAYBOOKS - ROLES


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of one language in a page, those inside of lists too."""
    return [
        "\n".join(line.removeprefix(indent) for line in body.split("\n"))
        for indent, body in re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    ]


def variables(node: Any) -> Iterator[tuple[str, Any]]:
    """Walk YAML data and return every mapping's key and value."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key), value
            yield from variables(value)
    elif isinstance(node, list):
        for item in node:
            yield from variables(item)


def wrong_variables(data: Any) -> list[str]:
    """Complaints about the collection's variables in YAML data: unknown ones, and values of another type or choice."""
    found = []
    specs = {name: option for role in ROLES for name, option in options_table.specs(role).items()}
    types = {"str": str, "int": int, "bool": bool, "dict": dict}
    for key, value in variables(data):
        if not key.startswith("walg_"):
            continue
        if key not in specs:
            found += [] if key in PLAY_VARIABLES else [f"{key} is no option"]
            continue
        wanted = types.get(specs[key]["type"], object)
        if not isinstance(value, wanted) and not (isinstance(value, str) and "{{" in value):
            found.append(f"{key}: {value!r} is no {specs[key]['type']}")
        if "choices" in specs[key] and value not in specs[key]["choices"]:
            found.append(f"{key}: {value!r} is none of {specs[key]['choices']}")
    return found


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_there_is_something_to_check() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/restore-runbook.md", "roles/walg/README.md"} <= set(PAGES)
    assert len(EXAMPLES) >= 3
    assert blocks(text_of("README.md"), "yaml")
    assert {"walg_storage", "walg_backup_restart", "walg_restore_request"} <= OPTIONS
    assert {"walg_hosts", "walg_restore_many"}.issubset(PLAY_VARIABLES)


@pytest.mark.parametrize("name", PAGES + EXAMPLES)
def test_every_word_of_ours_is_known(name: str) -> None:
    assert unknown_words(text_of(name)) - OTHER_WORDS == set()


@pytest.mark.parametrize("name", PAGES + EXAMPLES)
def test_every_full_name_is_known(name: str) -> None:
    assert unknown_names(text_of(name)) == set()


@pytest.mark.parametrize("name", [page for page in PAGES if "```yaml" in (ROOT / page).read_text(encoding="utf-8")])
def test_yaml_in_pages_is_right(name: str) -> None:
    for block in blocks(text_of(name), "yaml"):
        assert wrong_variables(yaml.safe_load(block)) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_right(name: str) -> None:
    assert wrong_variables(yaml.safe_load(text_of(name))) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_the_readme_shows_of_an_example_stands_in_it(name: str) -> None:
    """The README leaves comments out, and may leave out whole examples."""
    if name not in text_of("README.md"):
        pytest.fail(f"{name} is not mentioned in the README")
    shown = [yaml.safe_load(block) for block in blocks(text_of("README.md"), "yaml")]
    if name != "examples/inventory/gcs-without-key.yml":
        assert yaml.safe_load(text_of(name)) in shown


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    here = (ROOT / name).parent
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
        for line in text_of(name).splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)]+)\)", text_of(name)):
        if target.startswith("https://"):
            continue
        path, _hash, anchor = target.partition("#")
        assert not path or (here / path).exists(), target
        assert not anchor or anchor in headings, target


@pytest.mark.parametrize("name", PAGES)
def test_make_knows_the_targets(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", text_of("Makefile"), re.MULTILINE))
    known = {target for line in targets for target in line.split()}
    code = "\n".join(re.findall(r"`[^`\n]+`", text_of(name)) + blocks(text_of(name), ""))
    assert set(re.findall(r"\bmake ([a-z-]+)", code)) - known == set()


def test_the_tasks_that_are_shown_exist() -> None:
    shown = re.findall(r"TASK \[mapswipe\.walg\.(\w+) : ([^]]+)\]", text_of("README.md"))
    assert len(shown) > 5
    for role, name in shown:
        text = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob(f"roles/{role}/tasks/*.yml"))
        names = [re.split(r"\{\{[^}]*\}\}", found) for found in re.findall(r"- name: (.*)", text)]
        assert any(re.fullmatch(".+".join(map(re.escape, parts)), name) for parts in names), name


@pytest.mark.parametrize("role", sorted(ROLES))
def test_the_tables_of_options_are_current(role: str) -> None:
    text = text_of(f"roles/{role}/README.md")
    assert options_table.with_table(text, role) == text, "run: .tools/venv/bin/python tests/unit/docs/options_table.py"


def test_the_version_is_the_collections() -> None:
    version = yaml.safe_load(text_of("galaxy.yml"))["version"]
    assert f"mapswipe-walg-{version}.tar.gz" in text_of("README.md")
    assert f"version {version}" in text_of("README.md")


def test_the_default_release_is_the_one_described() -> None:
    version = options_table.specs("walg")["walg_version"]["default"]
    assert f"The default of `walg_version` is {version}" in text_of("README.md")
    assert set(re.findall(r"wal-g-(\d\S+) --config", text_of("README.md") + text_of("docs/restore-runbook.md"))) == {
        version
    }


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("set `walg_storage` and walg_pg_port", set()),
        ("set `walg_storge`", {"walg_storge"}),
        ("all of walg_backup_*", set()),
        ("all of walg_bakup_*", {"walg_bakup_*"}),
        ("ansible-doc mapswipe.walg.walg_backup", set()),
        ("/opt/walg_things and mapswipe_walg.conf", set()),
    ],
)
def test_the_search_for_words_itself(text: str, unknown: set[str]) -> None:
    assert unknown_words(text) == unknown


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"walg": {"vars": {"walg_storage": "gs://x"}}}, None),
        ({"walg_storge": "gs://x"}, "walg_storge is no option"),
        ([{"vars": {"walg_push_timeout": "15"}}], "walg_push_timeout: '15' is no int"),
        ({"walg_backup_restart": "always"}, "'always' is none of"),
        ({"walg_hosts": "db1"}, None),
        ({"walg_push_timeout": "{{ seconds }}"}, None),
    ],
)
def test_the_check_of_variables_itself(data: object, complaint: str | None) -> None:
    found = "; ".join(wrong_variables(data))
    assert (found == "") if complaint is None else (complaint in found)


def test_the_search_for_names_itself() -> None:
    assert unknown_names("mapswipe.walg.site, mapswipe.walg.walg_backup, mapswipe.walg.sight") == {"sight"}
