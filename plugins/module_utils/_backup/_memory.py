# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verification of a storage remembers between runs: its cycle, what is damaged, and what it answered last.

The file is the owner's own; a damaged one costs a cycle, never a finding that is still true: what is damaged is found again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from .._errors import WalgError
from .._host._files import read_text, write_atomic
from ._reread import Cycle, cycle_from

_FORMAT = 1


@dataclass
class Memory:
    """``doubts``: path -> what is known of an object that is not well (``what``, ``since``, ``sure``, ``runs``).

    ``parts``: base backup -> names of its parts; ``cleared``: base backup -> bytes stored, of one that is smaller than recorded but was
    read whole. ``last``: the last answer, ``time`` when it was given.
    """

    time: str = ""
    cycle: Cycle | None = None
    last_cycle: dict[str, Any] = field(default_factory=dict)
    doubts: dict[str, dict[str, Any]] = field(default_factory=dict)
    parts: dict[str, list[str] | None] = field(default_factory=dict)
    cleared: dict[str, int] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)

    def doubt(self, path: str, what: str, sure: bool, now: str) -> None:
        """Note that an object is not well. What a storage does not deliver in two runs counts as damaged."""
        before = self.doubts.get(path, {})
        runs = before.get("runs", 0) + 1
        self.doubts[path] = {
            "what": what,
            "since": before.get("since", now),
            "runs": runs,
            "sure": bool(sure or before.get("sure") or runs > 1),
        }


def load(path: str) -> Memory:
    """Return what is remembered; nothing where there is no file, or a damaged one."""
    try:
        told = json.loads(read_text(path) or "{}")
        if not isinstance(told, dict) or told.get("format") != _FORMAT:
            return Memory()
        inner = told["memory"]
        doubts = {str(name): _doubt(entry) for name, entry in inner["doubts"].items()}
        parts = {
            str(name): None if names is None else [str(one) for one in names] for name, names in inner["parts"].items()
        }
        cleared = {str(name): int(size) for name, size in inner["cleared"].items()}
        last = {name: told["last"][name] for name in _ANSWER if name in told["last"]}
        return Memory(
            str(told["time"]), cycle_from(inner["cycle"]), dict(told["last_cycle"]), doubts, parts, cleared, last
        )
    except (ValueError, TypeError, KeyError, AttributeError, WalgError):
        return Memory()


def _doubt(entry: Any) -> dict[str, Any]:
    return {
        "what": str(entry["what"]),
        "since": str(entry["since"]),
        "runs": int(entry["runs"]),
        "sure": bool(entry["sure"]),
    }


#: Of an answer, what the file shows to whoever reports.
_ANSWER = ("text", "sound", "chain", "damaged", "reread")


def save(path: str, memory: Memory) -> None:
    """Write it, for all to read: it holds names, sizes and times."""
    inner = {
        "cycle": asdict(memory.cycle) if memory.cycle else None,
        "doubts": memory.doubts,
        "parts": memory.parts,
        "cleared": memory.cleared,
    }
    told = {
        "format": _FORMAT,
        "time": memory.time,
        "last_cycle": memory.last_cycle,
        "last": memory.last,
        "memory": inner,
    }
    write_atomic(path, json.dumps(told, indent=1, sort_keys=True) + "\n", 0o644)
