# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a flow of several steps did, or would do: the steps by name, and a diff of each."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass
class Steps:
    """The steps so far, in order."""

    done: list[dict[str, str]] = field(default_factory=list)
    diffs: list[dict[str, str]] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.done)

    def add(self, step: str, what: str, diffs: Sequence[dict[str, str]] = ()) -> None:
        """Note a step that was done, or would be."""
        self.done.append({"step": step, "what": what})
        self.diffs += [{"before_header": what, "after_header": what, **diff} for diff in diffs]

    @contextlib.contextmanager
    def within(self, step: str) -> Iterator[None]:
        """Have an error name the step in which it came up, and what was done before."""
        try:
            yield
        except WalgError as exc:
            fields = {**exc.fields, "step": step, "steps": list(self.done)}
            raise WalgError(f"{step.capitalize()}: {exc.msg}", **fields) from exc

    def answer(self) -> dict[str, Any]:
        """Return what a module returns of them."""
        return {"changed": self.changed, "steps": self.done, "diff": self.diffs}
