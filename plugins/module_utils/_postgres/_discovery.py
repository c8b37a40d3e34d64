# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the PostgreSQL clusters of a host: by their running servers, and by Debian's layout."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _proc
from .._host._users import User
from . import _data_dir, _debian, _launch, _servers, _service, _sockets, _whose
from ._cluster import Cluster, with_cluster

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

    from .._host._process import Runner


_NAMED = 5  # servers of other users that a message lists


def running(runner: Runner, users: Collection[int]) -> list[Cluster]:
    """Return the clusters of these users whose servers run and whose processes we may look at, sorted by data directory."""
    found = []
    for looked in _servers.served(users):
        bin_dir = _bin_dir(looked.pid) if looked.pid else ""
        # A pid file that another server left, or a container's, names some other process here.
        if bin_dir and _proc.link(looked.pid, "cwd") == looked.path:
            found.append(_cluster(runner, looked, bin_dir, User.by_uid(looked.owner_uid)))
    return found


def _bin_dir(pid: int) -> str:
    """Return where a server's programs lie; its own may run through a loader or an emulator that lies elsewhere."""
    program = _proc.link(pid, "exe")
    called = [word for word in _proc.command_line(pid) if os.path.isabs(word) and not os.path.isdir(word)]
    candidates = [os.path.dirname(os.path.realpath(word)) for word in (program, *called) if word]
    fitting = (one for one in candidates if os.access(os.path.join(one, "postgres"), os.X_OK))
    return next(fitting, os.path.dirname(program))


def _cluster(runner: Runner, looked: _data_dir.DataDir, bin_dir: str, user: User) -> Cluster:
    made = Cluster(
        data_dir=looked.path,
        bin_dir=bin_dir,
        socket_dir=_sockets.reached(looked, user),
        port=looked.port or "5432",
        os_user=user.name,
        service=_service.detect(runner, looked.pid),
        start_options=looked.start_options,
        system_identifier=looked.system_identifier,
        config_file=looked.config_file,
    )
    if made.service != "pg_ctl":
        return made
    debian = _debian.of_running(made)
    return replace(made, service=debian, start_options="") if debian else _by_hand(made, looked.pid)


def _by_hand(cluster: Cluster, pid: int) -> Cluster:
    """Return the cluster with what a start like the last one needs. Where that can't be told, a restart is rejected later."""
    try:
        launch = _launch.of(pid, cluster.data_dir, cluster.owner())
    except WalgError:
        return cluster
    return _launch.recorded(cluster, launch)


def find(runner: Runner, given: Mapping[str, Any], recorded: Cluster | None) -> Cluster:
    """Return the cluster that is meant: the one at the given directory, or the only one; if none is seen, the recorded one.

    What was given always overrides what was found. Raises WalgError with all that was found when it is not clear.
    """
    if given.get("os_user"):  # a number becomes the name that cron knows
        given = {**given, "os_user": User.by_name(str(given["os_user"])).name}
        _whose.refuse_root(given["os_user"])
    wanted = given.get("data_dir") or (recorded.data_dir if recorded else None)
    if not wanted:
        return _the_only(runner, given)
    owner = _whose.owner_of(wanted)
    up = running(runner, {owner.uid} if owner else set())
    matching = [one for one in up if _same(one.data_dir, wanted)]
    if not matching and recorded and _same(recorded.data_dir, wanted):
        return with_cluster(_completed(recorded, _stopped(up)), given)
    if not matching:
        return _from_options(given, wanted, _stopped(up))
    return with_cluster(matching[0], {**given, "data_dir": wanted})


def _the_only(runner: Runner, given: Mapping[str, Any]) -> Cluster:
    """Return the host's only cluster. Raises WalgError where it has none or several.

    Only clusters of the users that PostgreSQL's packages make, of Debian's layout or of the given user are meant: anybody could
    start a server, and would be given the archive's secrets.
    """
    laid_out, named = _stopped([]), given.get("os_user")
    if named:
        laid_out = [one for one in laid_out if one.os_user == named]
    users = {User.by_name(one).uid for one in [named] if one} or {
        *_whose.believed(),
        *(User.by_name(one.os_user).uid for one in laid_out),
    }
    up = running(runner, users)
    down = [one for one in laid_out if not any(_same(one.data_dir, other.data_dir) for other in up)]
    if len(up) + len(down) == 1:
        return with_cluster((up or down)[0], given)
    listed = [f"{one.data_dir} (runs, port {one.port}, {one.service})" for one in up]
    listed += [f"{one.data_dir} (does not run, port {one.port}, {one.service})" for one in down]
    raise WalgError(
        f"Which PostgreSQL cluster should be used? Found here: {'; '.join(listed) or 'none'}. {_advice(bool(listed))}{_others(users)}",
        found=[one.data_dir for one in up + down],
    )


def _others(users: Collection[int]) -> str:
    """Return a sentence on servers of users who are not looked at."""
    found = {(place, uid) for _pid, place, uid in _servers.working_servers() if uid not in users}
    listed = ", ".join(f"{place!r} of {User.by_uid(uid).name}" for place, uid in sorted(found)[:_NAMED])
    return f" A cluster of another user must be named by walg_pg_data_dir; servers work in {listed}." if listed else ""


def _completed(recorded: Cluster, stopped: list[Cluster]) -> Cluster:
    """Return a recorded cluster with the configuration file that a record of an older version does not name."""
    laid_out = next((one for one in stopped if _same(one.data_dir, recorded.data_dir)), None)
    if recorded.config_file or laid_out is None or laid_out.service != recorded.service:
        return recorded
    return replace(recorded, config_file=laid_out.config_file)


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _stopped(up: list[Cluster]) -> list[Cluster]:
    """Return the clusters that the host's layout shows and whose servers do not run."""
    return [
        one.cluster() for one in _debian.configured() if not any(_same(one.data_dir, other.data_dir) for other in up)
    ]


def _advice(some: bool) -> str:
    versions = _debian.installed()
    if some:
        return "Set walg_pg_data_dir to one of them."
    if versions:
        return (
            f"PostgreSQL {', '.join(versions)} is installed: set walg_pg_data_dir, for example "
            f"{_debian.VAR}/{versions[-1]}/main, or start the server."
        )
    return "Set walg_pg_data_dir (and walg_pg_bin_dir, walg_pg_socket_dir), or start the server."


def _from_options(given: Mapping[str, Any], data_dir: str, stopped: list[Cluster]) -> Cluster:
    """Build a cluster that does not run from the host's layout, or from options and what its directory says."""
    laid_out = next((one for one in stopped if _same(one.data_dir, data_dir)), None)
    by_convention = None if laid_out else _debian.by_convention(data_dir)
    if by_convention:
        laid_out = by_convention.cluster()
    if laid_out:
        return with_cluster(laid_out, given)
    missing = [f"walg_pg_{name}" for name in ("bin_dir", "socket_dir") if not given.get(name)]
    if missing:
        raise WalgError(
            f"No server runs on {data_dir} and it was never configured here: set {' and '.join(missing)} too, or start it."
            + _debian.missing_packages(data_dir)
        )
    owner = _whose.owner_of(data_dir)
    user = str(given.get("os_user") or (owner.name if owner else ""))
    if not user:
        state = "is empty" if os.path.isdir(data_dir) else "does not exist"
        raise WalgError(f"{data_dir} {state}: set walg_pg_os_user to the user that is to own it.")
    looked = _data_dir.inspect(data_dir, User.by_name(user))
    base = Cluster(
        data_dir=data_dir,
        bin_dir=str(given["bin_dir"]),
        socket_dir=str(given["socket_dir"]),
        os_user=user,
        service="pg_ctl",
        start_options=looked.start_options,
        system_identifier=looked.system_identifier,
        config_file=looked.config_file,
    )
    return with_cluster(base, given)
