# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL data directory as files, whether a server runs on it or not. Private to this collection."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import _control, _layout, _pg_conf, _server_process
from ._errors import WalgError
from ._files import regular_opener
from ._process import User, call_as

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

_CHILD = re.compile(r"postgres: ")  # what PostgreSQL calls each of a postmaster's children
_SYSID_AT = 24
_MOST_WORDS = 16 * 1024 * 1024  # bytes of a command line; the kernel's own limit is lower
_LINES = 1024 * 1024  # characters that are read of PostgreSQL's small files


@dataclass(frozen=True)
class DataDir:
    """What lies at a path. ``kind``: absent, empty, cluster, damaged (parts of one), other; ``pid`` of a live postmaster, else 0.

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
        return _layout.entry_name(self.major, self.catalog) if self.kind == "cluster" else ""

    def tablespaces(self) -> dict[str, str]:
        """Return its tablespaces, OID -> location."""
        return {link.rpartition("/")[2]: path for link, path in self.links.items() if link != "pg_wal"}


def look(path: str, user: User | None) -> DataDir:
    """Describe the directory, read with the rights of ``user``."""
    return DataDir(**call_as(user, _look, path))


def _look(path: str) -> dict[str, Any]:
    if not os.path.lexists(path):
        return {"path": path, "kind": "absent"}
    if not os.path.isdir(path):
        return {"path": path, "kind": "other"}
    owner = os.stat(path).st_uid
    try:
        names = _layout.content(path)
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
        "links": _layout.links(path),
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


def segment_identifier(path: str) -> str:
    """Return the system identifier in a segment's first page (XLogLongPageHeaderData.xlp_sysid), '' if there is no such file."""
    try:
        with open(path, "rb", opener=regular_opener) as stream:
            head = stream.read(_SYSID_AT + 8)
    except OSError:
        return ""
    return str(struct.unpack_from("=Q", head, _SYSID_AT)[0]) if len(head) == _SYSID_AT + 8 else ""


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
    theirs = _server_process.user_of(pid) != os.stat(path).st_uid
    if theirs or not alive(pid) or os.path.realpath(link(pid, "cwd") or path) != os.path.realpath(path):
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


def alive(pid: int) -> bool:
    """Say whether a process of that number is a PostgreSQL server (a pid file may outlive its server)."""
    return _server_process.is_server(pid)


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
    named = _pg_conf.on_command_line(words).get("config_file", "")
    called = [after for word, after in zip(words, words[1:]) if word == "-D"]
    called += [word[2:] for word in words if word.startswith("-D") and len(word) > 2]
    directory = called[-1] if called else environment(pid).get("PGDATA", "")
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


def servers_on(path: str) -> list[int]:
    """Return the postmasters that run on a directory, even on one that was deleted under them, and those that are about to.

    A process that does not run as the directory's owner is none, whatever it is called.
    """
    real = os.path.realpath(path)
    owner = _owner(real)
    found = {}
    for pid in _processes():
        if _works_on(pid, real, owner) and alive(pid):
            found[pid] = family(pid)[0]
    return sorted(pid for pid, parent in found.items() if parent not in found)


def orphans(pids: Sequence[int]) -> bool:
    """Say whether these servers are children alone, which outlived a postmaster that was killed: one in a long loop does for hours."""
    return bool(pids) and all(command_line(pid)[:1] and _CHILD.match(command_line(pid)[0]) for pid in pids)


def _owner(path: str) -> int | None:
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def served(users: Collection[int] | None = None) -> list[DataDir]:
    """Return the clusters of this host on which servers of these users (None: of any) run, sorted by directory.

    Only those whose processes we may look at; one that can't be looked into is not among them.
    """
    owners = {}
    for _pid, place, uid in working_servers(users):
        owners[place] = User.by_uid(uid)
    looked = []
    for place in sorted(owners):
        with contextlib.suppress(WalgError):
            looked.append(look(place, owners[place]))
    return [one for one in looked if one.kind == "cluster"]


def working_servers(users: Collection[int] | None = None) -> Iterator[tuple[int, str, int]]:
    """Yield number, directory and user of the servers of these users (None: of any) that work in a directory of their own."""
    for pid in _processes():
        uid = _server_process.user_of(pid)
        asked = users is None or uid in users
        if not asked or os.geteuid() not in (0, uid) or not alive(pid):
            continue
        place = link(pid, "cwd")
        if place and _server_process.works_in_its_own(pid) and not foreign(pid):  # else gone, or a container's
            yield pid, place, uid


def _works_on(pid: int, real: str, owner: int | None) -> bool:
    owners = owner is not None and owner == _server_process.user_of(pid)
    if foreign(pid):  # the directory may be mounted there, under another name
        try:
            return owners and os.path.samefile(f"/proc/{pid}/cwd", real)
        except OSError:
            return False
    if link(pid, "cwd") in (real, f"{real} (deleted)"):
        return _server_process.works_in_its_own(pid)
    return owners and _comes_to(pid, real)


def foreign(pid: int) -> bool:
    """Say whether a process sees other mounts than we do and works in a directory whose path names another one here.

    One in a container does. A unit of systemd with mounts of its own (PrivateTmp) does not: most of its paths are ours.
    """
    ours, its, place = link(os.getpid(), "ns/mnt"), link(pid, "ns/mnt"), link(pid, "cwd")
    if not ours or not its or ours == its:
        return False
    try:
        return not os.path.samefile(f"/proc/{pid}/cwd", place)
    except FileNotFoundError:
        # Whoever made a namespace of users for himself may have deleted any path in it.
        return not place.endswith(" (deleted)") or link(pid, "ns/user") != link(os.getpid(), "ns/user")
    except OSError:
        return False  # when in doubt, count the process as ours


def _comes_to(pid: int, real: str) -> bool:
    """Say whether a server was called for a directory and has not gone there yet, nor has it written its pid file."""
    words, place = command_line(pid), link(pid, "cwd")
    called = [os.path.realpath(after) for word, after in zip(words, words[1:]) if word == "-D"]
    return real in called and os.path.isdir(place) and not os.path.exists(os.path.join(place, "PG_VERSION"))


def workers_on(path: str, names: tuple[str, ...]) -> list[int]:
    """Return the servers and the programs of these names that work in a directory or were called with it.

    PostgreSQL with its children, WAL-G, our wrappers; not the shell of somebody who looks around, and nothing of another user's.
    """
    found, owner = [], _owner(path)
    for pid in _processes():
        if pid == os.getpid() or owner not in (None, _server_process.user_of(pid)):
            continue
        words = command_line(pid)
        place = link(pid, "cwd").replace(" (deleted)", "")
        inside = f"{place}/".startswith(f"{path}/") and _server_process.works_in_its_own(pid)
        if not inside and (owner is None or path not in words):
            continue
        programs = [os.path.basename(word).split(":")[0] for word in words[:2]]
        if (any(program in names for program in programs) or alive(pid)) and not foreign(pid):
            found.append(pid)
    return found


def titles_of_children(pid: int) -> list[str]:
    """Return the titles of a postmaster's children; the one that replays WAL says which segment."""
    return [" ".join(command_line(child)).strip() for child in _processes() if family(child)[0] == pid]


def _processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def link(pid: int, name: str) -> str:
    """Return where a process's ``cwd`` or ``exe`` points; empty if it is gone or not ours to look at."""
    return str(_server_process.read_as_owner(pid, os.readlink, f"/proc/{pid}/{name}") or "")


def family(pid: int) -> tuple[int, int]:
    """Return a process's parent and session; zeros if it is gone."""
    fields = _server_process.stat(pid)
    return (int(fields[1]), int(fields[3])) if len(fields) > 3 else (0, 0)


def environment(pid: int) -> dict[str, str]:
    """Return the variables that a process was started with; none if it is gone or not ours to look at."""
    text = str(_server_process.read_as_owner(pid, _server_process.read, f"/proc/{pid}/environ") or "")
    return dict(one.partition("=")[::2] for one in text.split("\0") if "=" in one)


def command_line(pid: int) -> list[str]:
    """Return the words that a process was called with; none if it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return stream.read(_MOST_WORDS).decode("utf-8", "replace").split("\0")
    except OSError:
        return []
