# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This process as one that works in a container, and an outside that is a table of offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _inside


@dataclass(frozen=True)
class Asking(_inside.Inside):
    """``asked``: what the outside was asked for, with what."""

    offers: Mapping[str, Callable[[Any, int | None], Any]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def ask(self, what: str, descriptor: int | None = None, **fields: Any) -> Any:
        """Answer by the table; nothing for what is not in it."""
        self.asked.append((what, fields))
        offer = self.offers.get(what)
        return offer({"ask": what, **fields}, descriptor) if offer else None


def work_inside(
    monkeypatch: pytest.MonkeyPatch,
    offers: Mapping[str, Callable[[Any, int | None], Any]] | None = None,
    *,
    machine: str = "m /kit",
    served: bool = True,
) -> Asking:
    """Let this process take itself for one in a container."""
    line: Any = None
    made = Asking(line, machine, served, offers=offers or {})
    monkeypatch.setattr(_inside, "_current", [made])
    return made
