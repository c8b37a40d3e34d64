# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a PostgreSQL server looks for the libraries that it preloads, as its dfmgr.c does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .._host._users import call_as

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._host._process import Runner
    from ._cluster import Cluster

_LIBDIR = "$libdir"
#: Where packages put the server's own libraries, by its programs' directory: upstream and PGDG, then distributions.
_USUAL = ("../lib/postgresql", "../lib", "../lib64/pgsql", "../lib/pgsql", "../lib64/postgresql", "../lib64")
_ALWAYS_THERE = "dict_snowball.so"


def directory(runner: Runner, cluster: Cluster) -> str:
    """Return the server's own library directory ($libdir); empty where it can't be told."""
    program = os.path.join(cluster.bin_dir, "postgres")
    for start in dict.fromkeys((cluster.bin_dir, os.path.dirname(os.path.realpath(program)))):
        for part in _USUAL:
            found = os.path.normpath(os.path.join(start, part))
            if call_as(cluster.owner(), os.path.exists, os.path.join(found, _ALWAYS_THERE)):
                return found
    beside = os.path.join(cluster.bin_dir, "pg_config")
    program = beside if os.access(beside, os.X_OK) else ""
    if not program:
        return ""
    shown = runner.run([program, "--pkglibdir"], user=cluster.owner())
    return shown.stdout.strip() if shown.rc == 0 else ""


def missing(cluster: Cluster, libdir: str, search_path: str, names: Sequence[str]) -> list[str]:
    """Return the libraries that a server of this host would not find. ``search_path``: its dynamic_library_path."""
    return list(call_as(cluster.owner(), _missing, libdir, search_path or _LIBDIR, cluster.data_dir, list(names)))


def _missing(libdir: str, search_path: str, data_dir: str, names: list[str]) -> list[str]:
    return [name for name in names if not _exists(libdir, search_path, data_dir, name)]


def _exists(libdir: str, search_path: str, data_dir: str, name: str) -> bool:
    if "/" in name:
        paths = [os.path.join(data_dir, _expanded(name, libdir))]
    else:
        paths = [os.path.join(_expanded(part.strip(), libdir), name) for part in search_path.split(":") if part.strip()]
    return any(os.path.isfile(path) or os.path.isfile(f"{path}.so") for path in paths)


def _expanded(path: str, libdir: str) -> str:
    head, slash, rest = path.partition("/")
    return libdir + slash + rest if head == _LIBDIR else path
