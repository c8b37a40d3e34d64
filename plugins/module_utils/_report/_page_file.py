# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: the page's file on the controller, from what hosts answered."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host._files import read_text, write_atomic
from . import _page
from ._page_parts import Shown
from ._shown import table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_DIGEST = re.compile(r'<meta name="digest" content="([0-9a-f]{32})">')
_STATES = ("yes", "no", "unknown")


def items(hosts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the page's items from the answers of walg_status by host; who did not answer is there as unknown."""
    found = []
    for name, told in hosts.items():
        answer = table(told)
        facts = table(answer.get("facts"))
        if not facts or answer.get("failed") or answer.get("unreachable"):
            why = str(answer.get("msg") or "it gave no answer in this run")
            facts = {"host": name, "unreachable": why}
        found.append({"name": str(name), "facts": facts})
    return found


def write(path: str, hosts: Mapping[str, Any], now: datetime, *, dry: bool) -> dict[str, Any]:
    """Write the page. Returns changed (whether more than times and ages differ), path, states and diff. Raises WalgError or OSError."""
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise WalgError(
            f"{path} can't be written: it is a directory, or is in none that exists. Name a file in a directory that exists."
        )
    listed = items(hosts)
    text = _page.page(listed, now)
    before = _DIGEST.search(read_text(path, errors="replace") or "")
    changed = before is None or before.group(1) not in text
    if not dry:
        write_atomic(os.path.abspath(path), text, 0o644)
    shown = sorted((one["name"], Shown.of(one, now).verdict.restorable) for one in listed)
    states = [state for _name, state in shown]
    after = "".join(f"{name}: {state}\n" for name, state in shown)
    return {
        "changed": changed,
        "path": path,
        "states": {state: states.count(state) for state in _STATES},
        "diff": {"before": "" if before is None else after if not changed else "another content\n", "after": after},
    }
