# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of pg_settings and of pg_file_settings, as psql hands them on, and a clock that passes by waiting alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.mapswipe.walg.plugins.module_utils._host import _waiting
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres import _archive_settings

if TYPE_CHECKING:
    import pytest
    from support.scripted import Call
    from support.walg_world import World

#: pg_settings of a stock server.
STOCK = {"archive_mode": "off", "archive_command": "(disabled)", "archive_timeout": "0", "wal_level": "replica"}
_RESTART = ("archive_mode", "wal_level")


def settings(world: World, sources: dict[str, tuple[str, str | None]] | None = None, /, **values: str) -> Call:
    """The question for archive settings: a stock server's, with changes. ``sources``: name -> source and file."""
    rows = []
    for name, value in {**STOCK, **values}.items():
        source, file = (sources or {}).get(name, ("default", None))
        context = "postmaster" if name in _RESTART else "sighup"
        row = {"name": name, "setting": value, "unit": None, "context": context}
        rows.append({**row, "source": source, "sourcefile": file, "pending_restart": False})
    return world.psql(rows, stdin="FROM pg_settings WHERE name IN")


def line(file: str, number: int, name: str, value: str, error: str | None = None) -> dict[str, Any]:
    """A line of a configuration file, as pg_file_settings shows it."""
    context = "postmaster" if name in _RESTART else "sighup"
    shown = {"name": name, "setting": value, "sourcefile": file, "sourceline": number}
    return {**shown, "error": error, "context": context}


def lines(world: World, *rows: dict[str, Any]) -> Call:
    """The question for what the configuration files say."""
    return world.psql(list(rows), stdin="FROM pg_file_settings")


def ours(world: World, timeout: int = 60) -> dict[str, str]:
    """The settings with which a world's server archives as it should."""
    command = _archive_settings.push_command(world.instance.program_dir, world.instance.record_file)
    return {"archive_mode": "on", "archive_command": command, "archive_timeout": str(timeout)}


class Clock:
    """Time that passes by sleeping only, so that a limit is reached at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(_waiting.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(_waiting.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        """Let that time pass."""
        self.now += seconds
