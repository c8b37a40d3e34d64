# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans and markers of restores for tests: as the library makes them, for a world's data directory."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _data_dir
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._service import Service
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _layout, _start_check
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._plan import RestorePlan
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._state import Marker
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._wish import Wish
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _backups
from support.walg_world import IDENTIFIER, SIZE, World, listed, segment

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NAME = f"base_{segment(1, 2)}"
LATEST = Target()


def data_place(world: World, request: str = "r1") -> _layout.Place:
    """The data directory's place."""
    return _layout.place(str(world.data_dir), "", request)


def restore_plan(world: World, **changes: Any) -> RestorePlan:
    """The plan of a restore to the latest state from one base backup, with changes."""
    (backup,) = _backups.parse_list(json.dumps([listed(1, 2, "2026-01-02T00:00:00Z")]))
    made = RestorePlan(
        Wish("r1"),
        backup,
        chain=[backup],
        skipped=[],
        timeline=1,
        orphans=[],
        last_segments=[segment(1, 5)],
        segments=4,
        segment_size=SIZE,
        salvage=[],
        salvage_from="",
        places=[data_place(world)],
        found=_data_dir.look(str(world.data_dir), None),
        free=10**12,
        needed=1000,
    )
    return replace(made, **changes)


def run_plan(**changes: Any) -> dict[str, Any]:
    """What a marker keeps of a plan, as far as the run after the fetch looks at it."""
    kept: dict[str, Any] = {
        "timeline": 1,
        "segment_size": SIZE,
        "last_segments": [segment(1, 5)],
        "salvaged_segments": [],
        "major": 14,
        "primary_conninfo": "",
        "archive": "resume",
        "icu": "",
        "other_host_allowed": False,
    }
    return {**kept, **changes}


def marker(world: World, state: str, request: str = "r1", target: Target = LATEST, *, keeps_old: bool = True) -> Marker:
    """A marker in a state."""
    return Marker(
        request,
        state,
        target.as_dict(),
        standby=False,
        backup=NAME,
        system_identifier=IDENTIFIER,
        data_dir=os.path.realpath(world.data_dir),
        places=_layout.encode([data_place(world, request)]),
        plan=run_plan(),
        keeps_old=keeps_old,
    )


def service_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the service manager note what it is told instead of doing it; the trial of a start is left out."""
    told_to: list[str] = []
    monkeypatch.setattr(_start_check.StartCheck, "refuse", lambda _self: None)  # it needs a real PostgreSQL
    for name in ("hold", "release", "start", "stop"):
        monkeypatch.setattr(Service, name, lambda _self, name=name: told_to.append(name))
    return told_to


def tell(path: Path, what: str) -> None:
    """Make a directory that says what it is."""
    path.mkdir()
    (path / "who").write_text(what)


def told(path: Path) -> str | None:
    """What it says; None if there is none."""
    return (path / "who").read_text() if path.exists() else None
