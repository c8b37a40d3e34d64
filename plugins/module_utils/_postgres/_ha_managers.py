# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cluster managers that own a PostgreSQL server: they rewrite its settings and start, stop or rebuild it.

A manager's mere presence on a host proves nothing: it counts when a file of its own is in the data directory, or when
its process, unit or configuration names this data directory.
"""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _files, _proc
from .._host._users import User, call_as
from . import _servers

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ._cluster import Cluster

_UNIT_FILES = ("/etc/systemd/system/*.service", "/run/systemd/system/*.service", "/lib/systemd/system/*.service")
_LARGEST = 1024 * 1024  # bytes of a configuration file that is looked into


@dataclass(frozen=True)
class Manager:
    """How one is known. ``files``: its own in the data directory; ``beside``: in the directory above, all of them."""

    name: str
    hint: str
    files: Sequence[str] = ()
    beside: Sequence[str] = ()
    programs: Sequence[str] = ()
    configs: Sequence[str] = ()


MANAGERS = (
    # patroni/config.py (patroni.dynamic.json), debian/ and RPM packages (/etc/patroni)
    Manager(
        "Patroni",
        "it writes PostgreSQL's settings and starts its servers. Give it the archive settings (patronictl edit-config), and "
        "restore with its own tools (custom bootstrap)",
        files=("patroni.dynamic.json",),
        programs=("patroni",),
        configs=("/etc/patroni.yml", "/etc/patroni.yaml", "/etc/patroni/*.yml", "/etc/patroni/*.yaml"),
    ),
    Manager(
        "repmgr",
        "it promotes and follows servers by itself. Pause it (repmgr service pause) and unregister this node first",
        programs=("repmgrd",),
        configs=("/etc/repmgr.conf", "/etc/repmgr/*.conf", "/etc/repmgr/*/*.conf"),
    ),
    # The resource agents ocf:heartbeat:pgsql and pgsqlms, and units as resources, are in its CIB.
    Manager(
        "Pacemaker",
        "it starts, stops and fences the server. Take the resource from it first (pcs resource unmanage) and remove it from its CIB",
        programs=("pacemakerd",),
        configs=("/var/lib/pacemaker/cib/cib.xml",),
    ),
    Manager(
        "Stolon",
        "its keeper writes PostgreSQL's settings and rebuilds servers. Give it the archive settings (pgParameters), and restore with "
        "its own tools (stolonctl init, mode pitr)",
        beside=("keeperstate", "dbstate"),
        programs=("stolon-keeper",),
    ),
    Manager(
        "pg_auto_failover",
        "its keeper starts and promotes servers. Drop this node from it first (pg_autoctl drop node)",
        files=("postgresql-auto-failover.conf", "postgresql-auto-failover-standby.conf"),
        programs=("pg_autoctl",),
    ),
    Manager(
        "EDB Failover Manager",
        "it promotes and stops servers. Stop its agent on this host first",
        configs=("/etc/edb/efm-*/*.properties", "/etc/efm-*/*.properties"),
    ),
)

_PROGRAMS = frozenset(program for manager in MANAGERS for program in manager.programs)


def refuse(cluster: Cluster) -> None:
    """Raise WalgError if a cluster manager owns this data directory."""
    found = find(cluster)
    if found:
        manager, evidence = found
        raise WalgError(
            f"{cluster.data_dir} is managed by {manager.name} ({evidence}): {manager.hint}. If {manager.name} no longer manages it, "
            "remove what the brackets name.",
            manager=manager.name,
            evidence=evidence,
        )


def find(cluster: Cluster) -> tuple[Manager, str] | None:
    """Return the manager that owns a cluster's data directory, and what shows it; None if there is none."""
    data_dir, owner = os.path.normpath(cluster.data_dir), cluster.owner()
    names, above = call_as(owner, _entries, data_dir)
    ancestors = _ancestors(data_dir)
    calls = _processes(ancestors, {0, owner.uid}) + _units()
    for manager in MANAGERS:
        own = [os.path.join(data_dir, name) for name in manager.files if name in names]
        if manager.beside and set(manager.beside).issubset(above):
            own.append(os.path.join(os.path.dirname(data_dir), manager.beside[0]))
        wanted = _wanted(cluster, manager)
        own += [call.where for call in calls if call.is_of(manager) and (call.pid in ancestors or call.names(wanted))]
        own += [path for pattern in manager.configs for path in sorted(glob.glob(pattern)) if _file_names(path, wanted)]
        if own:
            return manager, own[0]
    return None


@dataclass(frozen=True)
class _Call:
    """How a manager's program is called: by a process or, ``pid`` 0, by a systemd unit."""

    where: str
    pid: int
    words: Sequence[str]
    environment: Sequence[str]
    user: User | None = None  # who can read what it names; None: we

    def is_of(self, manager: Manager) -> bool:
        """Say whether it is a manager's program, perhaps through an interpreter."""
        return any(os.path.basename(word) in manager.programs for word in self.words[:3])

    def names(self, wanted: Sequence[str]) -> bool:
        """Say whether its arguments, its environment or the files that it is given name what is asked for."""
        if any(_mentions(word, wanted) for word in [*self.words, *self.environment]):
            return True
        return any(call_as(self.user, _file_names, word.partition("=")[2] or word, list(wanted)) for word in self.words)


def _wanted(cluster: Cluster, manager: Manager) -> list[str]:
    """Return what a manager's configuration would name: the data directory; for Stolon the one above, for Pacemaker a unit."""
    found = [os.path.normpath(cluster.data_dir), os.path.realpath(cluster.data_dir)]
    if manager.beside:
        found += [os.path.dirname(path) for path in found if os.path.dirname(path).count("/") > 1]
    kind, _colon, unit = cluster.service.partition(":")
    if kind == "systemd" and manager.name == "Pacemaker":
        found.append(unit[: -len(".service")] if unit.endswith(".service") else unit)
    return found


def _entries(data_dir: str) -> tuple[list[str], list[str]]:
    """As the owner: what is in the data directory and above it."""
    found = []
    for path in (data_dir, os.path.dirname(data_dir)):
        try:
            found.append(os.listdir(path))
        except OSError:
            found.append([])
    return found[0], found[1]


def _processes(ancestors: Collection[int], users: Collection[int]) -> list[_Call]:
    """Return the managers' programs that run above the server, or as one of these users: no other can act on a cluster."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        user = _proc.user_of(pid)
        words = _proc.command_line(pid) if pid in ancestors or user in users else []
        if any(os.path.basename(word) in _PROGRAMS for word in words[:3]):
            found.append(_Call(f"process {pid}", pid, words, _environment(pid), User.by_uid(user)))
    return found


def _environment(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            return stream.read().decode("utf-8", "replace").split("\0")
    except OSError:
        return []


def _units() -> list[_Call]:
    found = []
    for path in sorted(path for pattern in _UNIT_FILES for path in glob.glob(pattern)):
        text = _read(path)
        environment = re.findall(r"^Environment=(.*)$", text, re.MULTILINE)
        for line in re.findall(r"^ExecStart=[-@:+!]*(.*)$", text, re.MULTILINE):
            if any(program in line for program in _PROGRAMS):
                found.append(_Call(path, 0, line.split(), environment))
    return found


def _ancestors(data_dir: str) -> set[int]:
    """Return the processes above the servers on a data directory."""
    found: set[int] = set()
    left = _servers.servers_on(data_dir)
    while left:
        parent = _proc.family(left.pop())[0]
        if parent > 0 and parent not in found:
            found.add(parent)
            left.append(parent)
    return found


def _mentions(text: str, wanted: Sequence[str]) -> bool:
    """Say whether a text names a path or a unit, and not merely a part of a longer one."""
    return any(re.search(rf"(?<![\w/.@-]){re.escape(name)}/?(?![\w/.@-])", text) for name in wanted)


def _file_names(path: str, wanted: Sequence[str]) -> bool:
    """Say whether a configuration file names it outside its comments."""
    if not os.path.isabs(path):
        return False
    lines = [line for line in _read(path).splitlines() if not line.lstrip().startswith(("#", ";"))]
    return _mentions("\n".join(lines), wanted)


def _read(path: str) -> str:
    """Return a small regular file's text; nothing if we may not."""
    try:
        return _files.read_text(path, "replace", _LARGEST) or ""
    except WalgError:
        return ""
