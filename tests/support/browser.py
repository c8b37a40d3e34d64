# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's page as a real browser has it."""

from __future__ import annotations

import subprocess
from html.parser import HTMLParser
from pathlib import Path

import lookers
import pytest
from locations import ToolError


def in_browser(folder: Path, text: str, script: str = "", *words: str) -> str:
    """Return the document as the browser has it after the page's script and one of the test.

    ``folder``: for its files; ``words``: more of its command line.
    """
    try:
        program = lookers.find("chromium")
    except ToolError as error:
        pytest.skip(f"chromium is missing: {error}")
    file = folder / "page.html"
    more = f"<script>{script}</script></body>" if script else "</body>"
    file.write_text(text.replace("</body>", more), encoding="utf-8")
    argv = [
        str(program),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder}/profile",
        "--dump-dom",
    ]
    done = subprocess.run([*argv, *words, file.as_uri()], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Parsed(HTMLParser):
    """Tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def body(self) -> dict[str, str]:
        """Return the attributes of the body, where scripts of tests leave what they saw."""
        return {name: value or "" for tag, told in self.tags if tag == "body" for name, value in told.items()}
