# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PostgreSQL servers of this host, and the clusters that they run on."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator, Sequence

from .._errors import WalgError
from .._host import _inside, _proc
from .._host._users import User
from . import _server_process
from ._data_dir import DataDir, inspect

_CHILD = re.compile(r"postgres: ")  # what PostgreSQL calls each of a postmaster's children


def servers_on(path: str) -> list[int]:
    """Return the postmasters that run on a directory, even on one that was deleted under them, and those that are about to.

    A process that does not run as the directory's owner is none, whatever it is called.
    """
    real = os.path.realpath(path)
    owner = _owner(real)
    found = {}
    for pid in _proc.pids():
        if _works_on(pid, real, owner) and _server_process.is_server(pid):
            found[pid] = _proc.family(pid)[0]
    postmasters = sorted(pid for pid, parent in found.items() if parent not in found)
    helper = _inside.in_helper()  # which has its own processes only
    return postmasters or (list(helper.ask("servers", path=real)) if helper else [])


def orphans(pids: Sequence[int]) -> bool:
    """Say whether these servers are children alone, which outlived a postmaster that was killed: one in a long loop does for hours."""
    return bool(pids) and all(_proc.command_line(pid)[:1] and _CHILD.match(_proc.command_line(pid)[0]) for pid in pids)


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
            looked.append(inspect(place, owners[place]))
    return [one for one in looked if one.kind == "cluster"]


def working_servers(users: Collection[int] | None = None) -> Iterator[tuple[int, str, int]]:
    """Yield number, directory and user of the servers of these users (None: of any) that work in a directory of their own."""
    for pid in _proc.pids():
        uid = _proc.user_of(pid)
        asked = users is None or uid in users
        if not asked or os.geteuid() not in (0, uid) or not _server_process.is_server(pid):
            continue
        place = _proc.link(pid, "cwd")
        if place and _server_process.works_in_its_own(pid) and not foreign(pid):  # else gone, or a container's
            yield pid, place, uid


def _works_on(pid: int, real: str, owner: int | None) -> bool:
    owners = owner is not None and owner == _proc.user_of(pid)
    if foreign(pid):  # the directory may be mounted there, under another name
        try:
            return owners and os.path.samefile(f"/proc/{pid}/cwd", real)
        except OSError:
            return False
    if _proc.link(pid, "cwd") in (real, f"{real} (deleted)"):
        return _server_process.works_in_its_own(pid)
    return owners and _comes_to(pid, real)


def foreign(pid: int) -> bool:
    """Say whether a process sees other mounts than we do and works in a directory whose path names another one here.

    One in a container does. A unit of systemd with mounts of its own (PrivateTmp) does not: most of its paths are ours.
    """
    ours, its, place = _proc.link(os.getpid(), "ns/mnt"), _proc.link(pid, "ns/mnt"), _proc.link(pid, "cwd")
    if not ours or not its or ours == its:
        return False
    try:
        return not os.path.samefile(f"/proc/{pid}/cwd", place)
    except FileNotFoundError:
        # Whoever made a namespace of users for himself may have deleted any path in it.
        return not place.endswith(" (deleted)") or _proc.link(pid, "ns/user") != _proc.link(os.getpid(), "ns/user")
    except OSError:
        return False  # when in doubt, count the process as ours


def _comes_to(pid: int, real: str) -> bool:
    """Say whether a server was called for a directory and has not gone there yet, nor has it written its pid file."""
    words, place = _proc.command_line(pid), _proc.link(pid, "cwd")
    called = [os.path.realpath(after) for word, after in zip(words, words[1:]) if word == "-D"]
    return real in called and os.path.isdir(place) and not os.path.exists(os.path.join(place, "PG_VERSION"))


def workers_on(path: str, names: tuple[str, ...]) -> list[int]:
    """Return the servers and the programs of these names that work in a directory or were called with it.

    PostgreSQL with its children, WAL-G, our wrappers; not the shell of somebody who looks around, and nothing of another user's.
    """
    found, owner = [], _owner(path)
    for pid in _proc.pids():
        if pid == os.getpid() or owner not in (None, _proc.user_of(pid)):
            continue
        words = _proc.command_line(pid)
        place = _proc.link(pid, "cwd").replace(" (deleted)", "")
        inside = f"{place}/".startswith(f"{path}/") and _server_process.works_in_its_own(pid)
        if not inside and (owner is None or path not in words):
            continue
        programs = [os.path.basename(word).split(":")[0] for word in words[:2]]
        if (any(program in names for program in programs) or _server_process.is_server(pid)) and not foreign(pid):
            found.append(pid)
    return found


def titles_of_children(pid: int) -> list[str]:
    """Return the titles of a postmaster's children; the one that replays WAL says which segment."""
    return [" ".join(_proc.command_line(child)).strip() for child in _proc.pids() if _proc.family(child)[0] == pid]
