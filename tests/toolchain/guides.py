# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guides of the docs site: the repository's Markdown pages, each put in place of the reStructuredText file that names it.

Ansible's docs sites know docs/docsite/rst/*.rst only, readers of the repository open Markdown. So each of those files has the
label and the title of a guide and names its page; here the page's text takes its place, with its links turned into the site's.
"""

from __future__ import annotations

import posixpath
import re
import shutil
from pathlib import Path

from locations import ROOT, ToolError

STUBS = Path("docs", "docsite", "rst")
NAMED = re.compile(r"^This guide is the file ``(\S+)`` of the collection", re.MULTILINE)
LABEL = re.compile(r"^\.\. _(\S+):$", re.MULTILINE)
# A link or a picture, but not what looks like one between backquotes.
LINK = re.compile(r"(`[^`\n]*`)|(\]\()([^)\s]+)(\))")
FENCE = re.compile(r"^( *```.*?^ *```)$", re.DOTALL | re.MULTILINE)
REFERENCE = "\n## Reference\n\n[All options of the role]({there}/{role}_role.rst), as in `ansible-doc -t role mapswipe.walg.{role}`.\n"


def pages(root: Path = ROOT) -> dict[str, str]:
    """Return each page that is a guide, as a path in the repository, with its name in the site."""
    found = {}
    for stub in sorted((root / STUBS).glob("*.rst")):
        named = NAMED.search(stub.read_text(encoding="utf-8"))
        if not named or not (root / named[1]).is_file():
            raise ToolError(
                f"{STUBS / stub.name} names no page that exists: This guide is the file ``PAGE`` of the collection"
            )
        found[named[1]] = stub.stem
    return found


def link(target: str, page: str, guides: dict[str, str]) -> tuple[str, str]:
    """Return where a link of a page leads in the site, and the file of the repository that must be copied for it ("" for none)."""
    path, mark, anchor = target.partition("#")
    if not path or "://" in target:
        return target, ""
    there = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
    if there in guides:
        return f"{guides[there]}.md{mark}{anchor}", ""
    return f"files/{there}", there


def translated(text: str, page: str, guides: dict[str, str]) -> tuple[str, set[str]]:
    """Return a page's Markdown with its links turned into the site's, and the files they need; code stays as it is."""
    files = set()

    def turned(match: re.Match[str]) -> str:
        if match[1]:
            return match[1]
        target, needed = link(match[3], page, guides)
        files.add(needed)
        return match[2] + target + match[4]

    parts = FENCE.split(text)
    parts[::2] = [LINK.sub(turned, part) for part in parts[::2]]
    return "".join(parts), files - {""}


def put_guides(folder: Path, root: Path = ROOT) -> int:
    """Replace the files that antsibull-docs copied into `folder` by the guides; returns how many there are."""
    guides = pages(root)
    for page, name in guides.items():
        text, files = translated((root / page).read_text(encoding="utf-8"), page, guides)
        if page.startswith("roles/"):
            text += REFERENCE.format(there="..", role=page.split("/")[1])
        stub = folder / f"{name}.rst"
        (label,) = LABEL.findall(stub.read_text(encoding="utf-8"))
        stub.unlink()
        stub.with_suffix(".md").write_text(f"({label})=\n{text}", encoding="utf-8")
        for needed in files:
            copy = folder / "files" / needed
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / needed, copy)
    return len(guides)
