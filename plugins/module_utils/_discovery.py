# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the PostgreSQL clusters of a host by their running servers. Private to this collection."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import _data_dir, _service
from ._errors import WalgError
from ._instance import Cluster, with_cluster
from ._process import User

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ._process import Runner


def running(runner: Runner) -> list[Cluster]:
    """Return the clusters whose servers run and whose processes we may look at, sorted by data directory."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or not _data_dir.alive(int(entry)):
            continue
        try:
            user = User.by_uid(os.stat(f"/proc/{entry}").st_uid)
        except OSError:
            continue
        data_dir, program = _data_dir.link(int(entry), "cwd"), _data_dir.link(int(entry), "exe")
        if not data_dir or not program or os.geteuid() not in (0, user.uid):
            continue  # gone, or another user's
        looked = _data_dir.look(data_dir, user)
        if looked.pid == int(entry):  # a child process has the same directory, but is not the postmaster
            found[data_dir] = _cluster(runner, looked, os.path.dirname(program), user)
    return [found[key] for key in sorted(found)]


def _cluster(runner: Runner, looked: _data_dir.DataDir, bin_dir: str, user: User) -> Cluster:
    return Cluster(
        data_dir=looked.path,
        bin_dir=bin_dir,
        socket_dir=looked.socket_dir,
        port=looked.port or "5432",
        os_user=user.name,
        service=_service.detect(runner, looked.pid),
        start_options=looked.start_options,
        system_identifier=looked.system_identifier,
    )


def find(runner: Runner, given: Mapping[str, Any], recorded: Cluster | None) -> Cluster:
    """Return the cluster that is meant: the running one at the given directory or the only one, else the recorded one.

    What was given always wins over what was found. Raises WalgError with all that was found when it is not clear.
    """
    candidates = running(runner)
    wanted = given.get("data_dir") or (recorded.data_dir if recorded else None)
    if wanted:
        matching = [one for one in candidates if os.path.realpath(one.data_dir) == os.path.realpath(wanted)]
        if matching:
            return with_cluster(matching[0], {**given, "data_dir": wanted})
        if recorded and os.path.realpath(recorded.data_dir) == os.path.realpath(wanted):
            return with_cluster(recorded, given)
        return _from_options(given, wanted)
    if len(candidates) == 1:
        return with_cluster(candidates[0], given)
    listed = "; ".join(f"{one.data_dir} (port {one.port}, {one.service})" for one in candidates) or "none"
    raise WalgError(
        f"Which PostgreSQL cluster is meant? Running here: {listed}. Set walg_pg_data_dir"
        + (" to one of them." if candidates else " (and walg_pg_bin_dir, walg_pg_socket_dir), or start the server."),
        found=[one.data_dir for one in candidates],
    )


def _from_options(given: Mapping[str, Any], data_dir: str) -> Cluster:
    """Build a cluster that does not run from options and from what its directory says."""
    missing = [f"walg_pg_{name}" for name in ("bin_dir", "socket_dir") if not given.get(name)]
    if missing:
        raise WalgError(
            f"No server runs on {data_dir} and it was never configured here: set {' and '.join(missing)} too, or start it."
        )
    user = str(given.get("os_user") or "")
    if not user:
        try:
            user = User.by_uid(os.stat(data_dir).st_uid).name
        except OSError:
            raise WalgError(f"{data_dir} does not exist: set walg_pg_os_user to the user that is to own it.") from None
    looked = _data_dir.look(data_dir, User.by_name(user))
    base = Cluster(
        data_dir=data_dir,
        bin_dir=str(given["bin_dir"]),
        socket_dir=str(given["socket_dir"]),
        os_user=user,
        service="pg_ctl",
        start_options=looked.start_options,
        system_identifier=looked.system_identifier,
    )
    return with_cluster(base, given)
