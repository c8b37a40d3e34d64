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

CHECKOUT = Path(__file__).resolve().parents[2]


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


def sample(name: str) -> str:
    """Return what a page says one should see of a play: the block after the mark ``seen: NAME``, which stands once."""
    pages = [CHECKOUT / "README.md", *sorted(CHECKOUT.glob("docs/*.md"))]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    (found,) = re.findall(rf"^<!-- seen: {name} -->\n\n```\n(.*?)^```$", text, re.S | re.M)
    return str(found)


def _tasks(text: str, host: str) -> list[tuple[str, str]]:
    """Return a play's tasks on a host, and how they ended."""
    task, found = "", []
    for line in text.splitlines():
        named = re.match(r"TASK \[(.*)\] \*+$", line)
        ended = re.match(rf"(\w+): \[{re.escape(host)}\]", line)
        if named:
            task = named.group(1)
        elif ended:
            found.append((task, ended.group(1)))
    return found


def _recap(text: str, host: str) -> dict[str, int]:
    (line,) = re.findall(rf"^{re.escape(host)} +: (ok=.*)$", text, re.M)
    counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", line)}
    # WAL-G from a file in place of a release: the task that downloads is skipped.
    counts["ok"] += counts.pop("skipped")
    return counts


def unlike(shown: str, real: str, host: str, shown_host: str = "db1.example.com") -> list[str]:
    """Say in what a shortened output of a play differs from a real one: tasks, their ends and order, what results tell, the sums."""
    wanted, rest = _tasks(shown, shown_host), iter(_tasks(real, host))
    assert wanted, "the sample shows nothing"
    found = [f"{task}: {state}" for task, state in wanted if (task, state) not in rest]
    found += [name for name in re.findall(r'^ *("\w+"): ', shown, re.M) if f"{name}: " not in real]
    sums, really = _recap(shown, shown_host), _recap(real, host)
    found += [f"{name}={sums[name]}, really {really[name]}" for name in sums if sums[name] != really[name]]
    return found
