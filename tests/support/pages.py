# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of a page, run as they stand there.

A page has bash blocks. The first one holds values (NAME=value), which whoever follows the page adapts; so does a test, and
nothing else is changed. The other blocks say in their first line, a comment, where they are run.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Block:
    """The commands below a heading, and where they are run."""

    heading: str
    where: str
    text: str


class Page:
    """A page's values and blocks."""

    def __init__(self, path: Path) -> None:
        self.text = path.read_text(encoding="utf-8")
        self.blocks: list[Block] = []
        heading = ""
        found = re.finditer(
            r"^#+ (?P<heading>[^\n]*)$|^ *```bash\n(?P<body>.*?)^ *```$", self._without_titles(), re.S | re.M
        )
        for match in found:
            if match["heading"] is not None:
                heading = match["heading"]
                continue
            where, _line, body = match["body"].partition("\n")
            self.blocks.append(Block(heading, where.strip().removeprefix("#").strip(), body))
        first = self.blocks.pop(0)
        self.values = dict(re.findall(r"^ *([A-Z_]+)=(.*?)(?: +#.*)?$", first.text, re.M))
        self.run: set[Block] = set()

    def _without_titles(self) -> str:
        """Return the text with the comments in blocks told from headings: the first line of a block only is looked at."""
        inside, lines = False, []
        for line in self.text.split("\n"):
            if line.strip().startswith("```"):
                inside = not inside
            lines.append(f" {line}" if inside and line.startswith("#") else line)
        return "\n".join(lines)

    def script(self, words: str, values: dict[str, str]) -> str:
        """Return the script of the block that holds these words, with some of the page's values replaced."""
        unknown = set(values) - set(self.values)
        assert not unknown, f"the page has no value {unknown}"
        (block,) = [block for block in self.blocks if words in block.text or words == block.heading]
        self.run.add(block)
        lines = [
            f"{name}={shlex.quote(values[name])}" if name in values else f"{name}={value}"
            for name, value in self.values.items()
        ]
        return "\n".join([*lines, block.text])

    def left(self) -> list[str]:
        """Return the blocks that were not run."""
        return [block.text for block in self.blocks if block not in self.run]
