# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans and states of restores for tests: as the library makes them, for a world's data directory."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _data_dir
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._service import Service
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._targets import Target
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _layout, _start_check, _state
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._answer import Answer
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._options import RestoreOptions
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._plan import RestorePlan
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._recovery_plan import RecoveryPlan
from ansible_collections.mapswipe.walg.plugins.module_utils._walg import _backups
from support.walg_world import IDENTIFIER, SIZE, World, listed, segment

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NAME = f"base_{segment(1, 2)}"
LATEST = Target()


def data_place(world: World, request: str = "r1") -> _layout.Location:
    """The data directory's place."""
    return _layout.place(str(world.data_dir), "", request)


def restore_plan(world: World, **changes: Any) -> RestorePlan:
    """The plan of a restore to the latest state from one base backup, with changes."""
    (backup,) = _backups.parse_list(json.dumps([listed(1, 2, "2026-01-02T00:00:00Z")]))
    made = RestorePlan(
        options=RestoreOptions("r1"),
        backup=backup,
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
        found=_data_dir.inspect(str(world.data_dir), None),
        free=10**12,
        needed=1000,
    )
    return replace(made, **changes)


def recovery_plan(**changes: Any) -> RecoveryPlan:
    """What a state keeps of a plan for the run after the fetch."""
    made = RecoveryPlan(major=14, segment_size=SIZE, timeline=1, along=1, last_segments=[segment(1, 5)])
    return replace(made, **changes)


def restore_state(
    world: World, state: _state.State, request: str = "r1", target: Target = LATEST, *, keeps_old: bool = True
) -> _state.RestoreState:
    """A restore in a state."""
    return _state.RestoreState(
        request=request,
        state=state,
        target=target,
        standby=False,
        backup=NAME,
        system_identifier=IDENTIFIER,
        data_dir=os.path.realpath(world.data_dir),
        places=[data_place(world, request)],
        recovery=recovery_plan(),
        answer=Answer(request=request),
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
