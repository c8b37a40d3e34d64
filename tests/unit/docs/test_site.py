# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The docs site takes in every page, each once; its links are turned, and dead ones are found. `make docs` builds it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import dead_links
import guides
import pytest
import yaml
from written import PAGES, text_of

GUIDES = guides.pages()
CONTENTS = yaml.safe_load(text_of("docs/docsite/extra-docs.yml"))["sections"]


def test_every_page_is_a_guide_of_the_site() -> None:
    assert set(GUIDES) == {*PAGES, "CHANGELOG.md"}


def test_the_contents_name_every_guide_once() -> None:
    entries = [entry for section in CONTENTS for entry in section["toctree"]]
    named = [entry["ref"] if isinstance(entry, dict) else entry for entry in entries]
    assert sorted(named) == sorted(GUIDES.values())


@pytest.mark.parametrize("page", PAGES)
def test_the_label_and_title_are_the_pages(page: str) -> None:
    stub = text_of(f"docs/docsite/rst/{GUIDES[page]}.rst")
    assert guides.LABEL.findall(stub) == [f"ansible_collections.mapswipe.walg.docsite.{GUIDES[page]}"]
    title = next(line for line in text_of(page).splitlines() if line.startswith("# "))
    assert f"\n{title[2:]}\n{'=' * len(title[2:])}\n" in stub or page == "README.md"


@pytest.mark.parametrize(
    ("target", "page", "expected"),
    [
        ("restore.md#the-plan", "docs/hosts.md", ("restore.md#the-plan", "")),
        ("docs/restore-runbook.md", "README.md", ("restore_runbook.md", "")),
        ("../roles/walg/README.md", "docs/hosts.md", ("role_walg.md", "")),
        ("#tags", "docs/hosts.md", ("#tags", "")),
        ("https://semver.org/", "README.md", ("https://semver.org/", "")),
        ("../LICENSE", "docs/hosts.md", ("files/LICENSE", "LICENSE")),
    ],
)
def test_a_link_leads_to_the_same_place_in_the_site(target: str, page: str, expected: tuple[str, str]) -> None:
    assert guides.link(target, page, GUIDES) == expected


def test_code_is_left_alone() -> None:
    text = "[a](README.md) `[b](README.md)`\n```\n[c](README.md)\n```\n![d](LICENSE)\n"
    assert guides.translated(text, "CONTRIBUTING.md", GUIDES) == (
        "[a](readme.md) `[b](README.md)`\n```\n[c](README.md)\n```\n![d](files/LICENSE)\n",
        {"LICENSE"},
    )


def test_dead_links_are_found(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (tmp_path / "outside.html").write_text("")
    (site / "a.html").write_text(
        '<p id="here"><a href="#here"></a><a href="#gone"></a><a href="b.html?v=1#there"></a><a href="b.html#gone"></a>'
        '<img src="gone.svg"><a href="../outside.html"></a><a href="https://example.com/x"></a><a href="mailto:x@example.com"></a>'
    )
    (site / "b.html").write_text('<h1 id="there">')
    assert dead_links.dead_links(site) == [
        "a.html: #gone",
        "a.html: b.html#gone",
        "a.html: gone.svg",
        "a.html: ../outside.html",
    ]


def test_the_picture_shows_what_there_is() -> None:
    """It is small, has its text as text, serves dark and light pages, and its directories are those of the page about files."""
    text = text_of("docs/img/data-flow.svg")
    picture = ET.fromstring(text)
    words = ["".join(each.itertext()) for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"PostgreSQL", "wal-push", "wal-fetch", "walg-job", "Recovery server", "Storage", "Controller"} <= set(words)
    assert len(text) < 10_000
    assert "prefers-color-scheme: dark" in text
    places = [place for word in words for place in re.findall(r"/(?:etc|usr|var)/[\w./-]*[\w]", word)]
    assert len(places) > 4
    assert [place for place in places if place not in text_of("docs/files.md")] == []
    shown = {page: re.findall(r"!\[([^]]{60,})\]\((\S+)\)", text_of(page)) for page in PAGES}
    assert {page for page, pictures in shown.items() if pictures} == {"README.md", "docs/files.md"}
