# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's own effective settings as a restore on this host finds them, each with the place that it comes from.

In the order of what wins: the server's command line, the settings of the request, ALTER SYSTEM, the configuration files (this
host's where they lie outside of the data directory, else those of the base backup). What none of them has is taken from the
record in the base backup.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._postgres import _conf, _pg_files
from .._postgres._pg_files import Setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._archive._recorded import Recorded
    from .._postgres._cluster import Cluster

OPTION = "walg_restore_settings"
_RECORD, _COMMAND_LINE = "the base backup's record", "the server's command line"
#: Taken from the record only where no configuration file is known: a library may have been removed on purpose since.
_FILES_ONLY = ("shared_preload_libraries",)


@dataclass(frozen=True)
class Own:
    """``standing``: what a start on this host finds; ``fallback``: what only the record tells; ``files``: configuration was found."""

    standing: Mapping[str, Setting] = field(default_factory=dict)
    fallback: Mapping[str, Setting] = field(default_factory=dict)
    files: bool = False

    @property
    def settings(self) -> dict[str, Setting]:
        """Return what the recovery server goes by."""
        return {**self.fallback, **self.standing}

    def value(self, name: str) -> str | None:
        """Return a setting's value, None where the server's default applies."""
        found = self.settings.get(name)
        return None if found is None else found.value

    def number(self, name: str, default: int) -> int:
        """Return a whole number, or the default where none is set."""
        return whole(self.value(name), default)


def whole(value: str | None, default: int) -> int:
    """Return the whole number that a setting's text is, the default where it is none."""
    try:
        return default if value is None else int(value, 0)
    except ValueError:
        return default


def place(setting: Setting) -> str:
    """Say where a setting comes from."""
    return f"{setting.file}, line {setting.line}" if setting.line else setting.file


def predicted(cluster: Cluster, recorded: Recorded, wished: Mapping[str, str]) -> Own:
    """Return what can be known before the fetch."""
    files = _of_host(cluster)
    told = _told(recorded.settings)
    if files is None:
        standing = {**told, **_asked(wished), **_called(cluster)}
        return Own(standing, {}, files=False)
    altered = {name: one for name, one in told.items() if name in recorded.altered}
    return _layered(files.settings, altered, cluster, told, wished)


def fetched(cluster: Cluster, work: str, recorded: Recorded, wished: Mapping[str, str]) -> Own:
    """Return what is so when the base backup was fetched to ``work``."""
    told = _told(recorded.settings)
    owner = cluster.owner()
    files = _of_host(cluster) or _of_backup(cluster, work)
    auto = _pg_files.read(owner, os.path.join(work, _pg_files.AUTO)).settings
    if files is None:
        return Own({**told, **auto, **_asked(wished), **_called(cluster)}, {}, files=False)
    return _layered(files.settings, auto, cluster, told, wished)


def _layered(
    files: Mapping[str, Setting],
    altered: Mapping[str, Setting],
    cluster: Cluster,
    told: Mapping[str, Setting],
    wished: Mapping[str, str],
) -> Own:
    standing = {**files, **altered, **_asked(wished), **_called(cluster)}
    return Own(standing, {name: one for name, one in told.items() if name not in _FILES_ONLY}, files=True)


def _of_host(cluster: Cluster) -> _pg_files.ConfigFiles | None:
    return _read(cluster, cluster.config_file) if cluster.config_file else None


def _of_backup(cluster: Cluster, work: str) -> _pg_files.ConfigFiles | None:
    """Return what is in the fetched directory; a server may have been started with a file of another name there."""
    named = _conf.on_command_line(shlex.split(cluster.start_options)).get("config_file", "")
    inside = os.path.relpath(named, cluster.data_dir) if os.path.isabs(named) else ""
    name = _pg_files.MAIN if not inside or inside.startswith("..") else inside
    return _read(cluster, os.path.join(work, name))


def _read(cluster: Cluster, path: str) -> _pg_files.ConfigFiles | None:
    found = _pg_files.read(cluster.owner(), path)
    return found if path in found.files else None


def _called(cluster: Cluster) -> dict[str, Setting]:
    return _at(_COMMAND_LINE, _conf.on_command_line(shlex.split(cluster.start_options)).items())


def _told(settings: Mapping[str, str]) -> dict[str, Setting]:
    return _at(_RECORD, settings.items())


def _asked(wished: Mapping[str, str]) -> dict[str, Setting]:
    return _at(OPTION, wished.items())


def _at(where: str, pairs: Iterable[tuple[str, str]]) -> dict[str, Setting]:
    return {name.lower(): Setting(name.lower(), value, where, 0) for name, value in pairs}
