# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation names must exist: options, modules, roles, playbooks, files, make's targets."""

from __future__ import annotations

import re

import options_table
import pytest
import yaml
from written import EXAMPLES, OPTIONS, PAGES, PLAY_VARIABLES, ROLES, ROOT, blocks, text_of

MODULES = {path.stem for path in ROOT.glob("plugins/modules/*.py")}
PLAYBOOKS = {path.stem for path in ROOT.glob("playbooks/*.yml")}
TAGS = {
    tag
    for path in ROOT.glob("roles/*/tasks/*.yml")
    for found in re.findall(r"^ *tags: \[(.*)\]$", path.read_text(encoding="utf-8"), re.MULTILINE)
    for tag in found.split(", ")
}
KNOWN = {*OPTIONS, *PLAY_VARIABLES, *MODULES, *ROLES, *TAGS}
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
    return named - MODULES - PLAYBOOKS - set(ROLES)


def headings(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    return {
        re.sub(r"[^\w -]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }


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


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    here = ROOT / name
    for target in re.findall(r"\]\(([^)]+)\)", text_of(name)):
        if target.startswith("https://"):
            continue
        path, _hash, anchor = target.partition("#")
        there = here.parent / path if path else here
        assert there.exists(), target
        assert not anchor or anchor in headings(there.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("name", PAGES)
def test_make_knows_the_targets(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", text_of("Makefile"), re.MULTILINE))
    known = {target for line in targets for target in line.split()}
    code = "\n".join(re.findall(r"`[^`\n]+`", text_of(name)) + blocks(text_of(name), ""))
    assert set(re.findall(r"\bmake ([a-z-]+)", code)) - known == set()


def test_the_tasks_that_are_shown_exist() -> None:
    """Integration tests compare the README's with real runs; this tells of a renamed task at once."""
    shown = re.findall(r"TASK \[mapswipe\.walg\.(\w+) : ([^]]+)\]", "".join(map(text_of, PAGES)))
    assert len(shown) > 12
    for role, name in shown:
        text = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob(f"roles/{role}/tasks/*.yml"))
        names = [re.split(r"\{\{[^}]*\}\}", found) for found in re.findall(r"- name: (.*)", text)]
        assert any(re.fullmatch(".+".join(map(re.escape, parts)), name) for parts in names), name


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= 170


@pytest.mark.parametrize("role", sorted(ROLES))
def test_the_tables_of_options_are_current(role: str) -> None:
    text = text_of(f"roles/{role}/README.md")
    assert options_table.with_tables(text, role) == text, "run: .tools/venv/bin/python tests/unit/docs/options_table.py"


def test_the_version_is_the_collections() -> None:
    version = yaml.safe_load(text_of("galaxy.yml"))["version"]
    assert f"mapswipe-walg-{version}.tar.gz" in text_of("README.md")
    assert f"version {version}" in text_of("README.md")


def test_the_needed_ansible_core_is_told_the_same_everywhere() -> None:
    """The floor of meta/runtime.yml is what the roles, the README and the tests' own tools say; nothing else is needed."""
    floor = yaml.safe_load(text_of("meta/runtime.yml"))["requires_ansible"]
    (series,) = re.findall(r"^>=(2\.\d+)\.0$", floor)
    metas = {role: yaml.safe_load(text_of(f"roles/{role}/meta/main.yml"))["galaxy_info"] for role in ROLES}
    assert {meta["min_ansible_version"] for meta in metas.values()} == {series}
    assert re.findall(r"ansible-core (2\.\d+)", text_of("README.md")) == [series]
    assert f"- **Tested:** ansible-core {series}.\n" in text_of("docs/tested.md")
    assert re.findall(r"^ansible-core==(2\.\d+)\.", text_of("tests/toolchain/requirements.txt"), re.MULTILINE) == [
        series
    ]
    assert f"ansible-core {series} or newer" in text_of("CONTRIBUTING.md")
    assert yaml.safe_load(text_of("galaxy.yml"))["dependencies"] == {}
    assert yaml.safe_load(text_of("meta/execution-environment.yml")) == {"version": 1, "dependencies": {}}


def test_the_oldest_python_is_told_the_same_everywhere() -> None:
    oldest = re.findall(r'^target-version = "py(\d)(\d+)"$', text_of("pyproject.toml"), re.MULTILINE)
    assert [".".join(numbers) for numbers in oldest] == ["3.8"]
    for page in ("README.md", "CONTRIBUTING.md", "docs/containers.md"):
        assert re.search(r"Python 3\.8", text_of(page)), page
    assert set(re.findall(r"Python (3\.\d+) or newer(?!\s+with pip)", text_of("README.md"))) == {"3.8"}


def test_the_default_release_is_the_one_described() -> None:
    version = options_table.specs("walg")["walg_version"]["default"]
    assert f"The default of `walg_version` is {version}" in text_of("docs/install-wal-g.md")
    assert f"release {version}, checked" in text_of("README.md")
    named = [set(re.findall(r"bin/wal-g-(\d[\w.]*\d)", text_of(page))) for page in PAGES]
    assert set.union(*named) == {version}


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


def test_the_search_for_names_itself() -> None:
    assert unknown_names("mapswipe.walg.site, mapswipe.walg.walg_backup, mapswipe.walg.sight") == {"sight"}
