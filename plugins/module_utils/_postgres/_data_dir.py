# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL data directory as files, whether a server runs on it or not."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _mounts, _proc
from .._host._files import read_text, regular_opener
from .._host._users import User, call_as
from . import _conf, _control, _server_process

if TYPE_CHECKING:
    from collections.abc import Mapping

_LINES = 1024 * 1024  # characters that are read of PostgreSQL's small files

#: Entries of a mount point that are nothing of a cluster.
NO_CONTENT = ("lost+found", ".mapswipe-walg")
_ENTRY = re.compile(r"^PG_\d+(\.\d+)?_\d+$")
#: What PostgreSQL keeps in a data directory and a restore has to replace: it can't stay where it is mounted.
_REPLACED = re.compile(
    r"^(base|global|pg_(?!stat_tmp$|log$|hba\.conf$|ident\.conf$).*|PG_VERSION|postgresql\.auto\.conf|backup_.*|.*\.signal)$"
)


@dataclass(frozen=True)
class DataDir:
    """What is at a path. ``kind``: absent, empty, cluster, damaged (parts of one), other; ``pid`` of a live postmaster, else 0.

    ``status``: what that postmaster says of itself: starting (recovery too), standby, ready or stopping.
    """

    path: str
    kind: str
    major: int = 0
    system_identifier: str = ""
    clean: bool = False
    in_recovery: bool = False  # of an archive, or a standby; stopped there or not
    timeline: int = 0  # of the last checkpoint
    standby: bool = False  # it follows a primary, or will
    pid: int = 0
    port: str = ""
    socket_dir: str = ""
    start_options: str = ""
    config_file: str = ""  # that the server was last started with, where it lies outside of the directory
    owner_uid: int = 0
    limits: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, str] = field(
        default_factory=dict
    )  # pg_wal and pg_tblspc/OID where they lead out of the directory
    status: str = ""
    segment_size: int = 0  # bytes; 0: not known
    catalog: int = 0  # the version of its system catalog

    @property
    def own_entry(self) -> str:
        """The one entry of a tablespace's directory that is this cluster's; empty where that is not known."""
        return entry_name(self.major, self.catalog) if self.kind == "cluster" else ""

    def tablespaces(self) -> dict[str, str]:
        """Return its tablespaces, OID -> location."""
        return {link.rpartition("/")[2]: path for link, path in self.links.items() if link != "pg_wal"}


def inspect(path: str, user: User | None) -> DataDir:
    """Describe the directory, read with the rights of ``user``."""
    return DataDir(**call_as(user, _inspect, path))


def _inspect(path: str) -> dict[str, Any]:
    if not os.path.lexists(path):
        return {"path": path, "kind": "absent"}
    if not os.path.isdir(path):
        return {"path": path, "kind": "other"}
    owner = os.stat(path).st_uid
    try:
        names = content(path)
    except PermissionError:
        raise WalgError(f"{path} cannot be read: run as root or as its owner.") from None
    if not names:
        return {"path": path, "kind": "empty", "owner_uid": owner}
    control = _read_control(path)
    if control is None:
        parts = {"PG_VERSION", "base", "global", "pg_wal"}.intersection(names)
        return {"path": path, "kind": "damaged" if parts else "other", "owner_uid": owner, "major": _major(path)}
    pid, port, socket_dir, status = _postmaster(path)
    return {
        "path": path,
        "kind": "cluster",
        "owner_uid": owner,
        "major": _major(path),
        "system_identifier": control.system_identifier,
        "clean": control.clean,
        "in_recovery": control.in_recovery,
        "timeline": control.timeline,
        "limits": dict(control.limits),
        "segment_size": control.segment_size,
        "links": links(path),
        "standby": any(name in names for name in ("standby.signal", "recovery.conf")),
        "pid": pid,
        "port": port,
        "socket_dir": socket_dir,
        "start_options": _start_options(path),
        "config_file": _config_file(path, pid),
        "status": status,
        "catalog": control.catalog,
    }


def _read_control(path: str) -> _control.Control | None:
    try:
        return _control.parse(_control.read(path))
    except (OSError, WalgError):
        return None


def _major(path: str) -> int:
    try:
        with open(os.path.join(path, "PG_VERSION"), encoding="utf-8", opener=regular_opener) as stream:
            return int(stream.read(_LINES).strip().split(".")[0])
    except (OSError, ValueError):
        return 0


def _postmaster(path: str) -> tuple[int, str, str, str]:
    """Return pid, port, socket directory and status of the live postmaster by its pid file; 0 if none lives."""
    try:
        with open(os.path.join(path, "postmaster.pid"), encoding="utf-8", opener=regular_opener) as stream:
            lines = stream.read(_LINES).splitlines()
        pid = int(lines[0])
    except (OSError, ValueError, IndexError):
        return 0, "", "", ""
    theirs = _proc.user_of(pid) != os.stat(path).st_uid
    if (
        theirs
        or not _server_process.is_server(pid)
        or os.path.realpath(_proc.link(pid, "cwd") or path) != os.path.realpath(path)
    ):
        return 0, "", "", ""  # the number may be another program's by now
    padded = lines + [""] * 8
    return pid, padded[3].strip(), padded[4].strip(), padded[7].strip()


def pid_file_start(path: str) -> float:
    """Return when the server of a directory's pid file was started, in seconds since the epoch; 0 if it does not say."""
    try:
        with open(os.path.join(path, "postmaster.pid"), encoding="utf-8", opener=regular_opener) as stream:
            return float(stream.read(_LINES).splitlines()[2])
    except (OSError, ValueError, IndexError):
        return 0.0


def start_words(path: str) -> list[str]:
    """Return the words of the last start after the program, as PostgreSQL left them in postmaster.opts."""
    try:
        with open(os.path.join(path, "postmaster.opts"), encoding="utf-8", opener=regular_opener) as stream:
            text = stream.read(_LINES).rstrip("\n")
        _program, quoted, words = text.partition(' "')
        # Each word in double quotes, which PostgreSQL does not escape within.
        return words[:-1].split('" "') if quoted and words.endswith('"') else shlex.split(text)[1:]
    except (OSError, ValueError):
        return []


def _config_file(path: str, pid: int) -> str:
    """Return the configuration file of the last start where it lies outside of the directory, else an empty text."""
    words = start_words(path)
    named = _conf.on_command_line(words).get("config_file", "")
    called = [after for word, after in zip(words, words[1:]) if word == "-D"]
    called += [word[2:] for word in words if word.startswith("-D") and len(word) > 2]
    directory = called[-1] if called else _proc.environment(pid).get("PGDATA", "")
    found = named or (os.path.join(directory, "postgresql.conf") if directory else "")
    real = os.path.realpath(path)
    inside = os.path.join(os.path.realpath(os.path.dirname(found)), "").startswith(os.path.join(real, ""))
    return "" if inside or not os.path.isabs(found) else found


def _start_options(path: str) -> str:
    """Return the options of the last start besides -D, quoted as PostgreSQL left them in postmaster.opts."""
    kept: list[str] = []
    skip = False
    for word in start_words(path):
        if skip:
            skip = False
        elif word == "-D":
            skip = True
        elif not word.startswith("-D"):
            kept.append(word)
    return " ".join(shlex.quote(word) for word in kept)


def _read_only(path: str) -> list[str]:
    with os.scandir(path) as entries:
        return [
            entry.name
            for entry in entries
            if entry.name not in NO_CONTENT
            and entry.is_dir(follow_symlinks=False)
            and not os.access(entry.path, os.W_OK)
        ]


def entry_name(major: int, catalog: int) -> str:
    """Return the name of a cluster's own directory in each of its tablespaces."""
    return f"PG_{major}_{catalog}"


def within(path: str, outer: str) -> bool:
    """Say whether a path is another one or is below it."""
    return f"{path}/".startswith(f"{outer}/")


def is_entry(name: str, major: int) -> bool:
    """Say whether a name in a tablespace's directory is that of a cluster of this major version, 0: of any."""
    return bool(_ENTRY.match(name)) and (not major or name.startswith(f"PG_{major}_"))


def own_entry(data_dir: str) -> str:
    """Return that name for the cluster in a data directory. Called as its owner."""
    major = (read_text(os.path.join(data_dir, "PG_VERSION")) or "").strip()
    control = _control.parse(_control.read(data_dir))
    if control is None or not re.fullmatch("[0-9]{1,4}", major):
        raise WalgError(f"{data_dir} does not say of which version it is: PG_VERSION or global/pg_control is damaged.")
    return entry_name(int(major), control.catalog)


def content(path: str) -> list[str]:
    """Return the entries of a data directory that are a cluster's: not what stays, nor an empty volume for its WAL."""
    mounted = _mounts.at_or_below(path)
    points = {os.path.basename(point) for point in mounted if os.path.dirname(point) == path}
    others = _read_only(path) if path in mounted else []
    names = [name for name in os.listdir(path) if name not in (*NO_CONTENT, *others)]
    return [
        name for name in names if name not in points or (_REPLACED.match(name) and _filled(os.path.join(path, name)))
    ]


def _filled(path: str) -> bool:
    return not os.path.isdir(path) or any(name not in NO_CONTENT for name in os.listdir(path))


def in_place_tablespaces(data_dir: str) -> list[str]:
    """Return the tablespaces that are plain directories in pg_tblspc (allow_in_place_tablespaces). Called as the owner."""
    folder = os.path.join(data_dir, "pg_tblspc")
    if not os.path.isdir(folder):
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))


def links(data_dir: str) -> dict[str, str]:
    """Return the links of a data directory that lead out of it: link -> real path. Called as its owner."""
    found = {}
    candidates = ["pg_wal"]
    tablespaces = os.path.join(data_dir, "pg_tblspc")
    if os.path.isdir(tablespaces):
        candidates += [
            f"pg_tblspc/{name}" for name in sorted(os.listdir(tablespaces)) if re.fullmatch("[0-9]{1,10}", name)
        ]
    for link in candidates:
        path = os.path.join(data_dir, link)
        if os.path.islink(path):
            found[link] = os.path.realpath(path)
    return found
