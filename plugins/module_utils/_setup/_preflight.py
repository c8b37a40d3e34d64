# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: what can be known of the host to fail is rejected before anything is installed or written.

The restore's own plan looks at the archive and the target directory; what is here holds before it, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._archive import _enable
from .._errors import WalgError
from .._host import _readable
from .._instance._record import Instance
from .._job import _tools
from .._postgres import _data_dir, _ha_managers, _restorable, _server, _service, _sessions, _sockets, _whose
from .._walg import _compatibility, _releases

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .._host._process import Runner
    from .._postgres._cluster import Cluster


def check(runner: Runner, cluster: Cluster, version: str | None, storage: str | None, purpose: str | None) -> None:
    """Refuse missing programs, versions that do not work together, a cluster manager, and for a backup a data directory without a server.

    ``purpose``: backup, restore, or None for a host that is only prepared.
    """
    _tools.refuse_missing()
    _whose.refuse_other(cluster)
    _service.Service(runner, cluster, "").refuse_manager()
    major = _server.installed_major(runner, cluster)
    _compatibility.refuse_unfit(version, major, storage, purpose or _compatibility.BACKUP, cluster.untested)
    if purpose:
        _ha_managers.refuse(cluster)
    if purpose == _compatibility.BACKUP:
        _sockets.refuse_abstract(cluster)
        refuse_no_server(runner, cluster, major)
        _readable.refuse_closed(cluster.data_dir, cluster.owner())
        _restorable.refuse_unrestorable(cluster.data_dir, cluster.owner())
        if version:
            wanted = None if version == "devel" else _releases.parse_version(version)
            _sessions.refuse_cut_off(_server.Server(runner, cluster), wanted, major)


def refuse_no_server(runner: Runner, cluster: Cluster, major: int) -> None:
    """Raise WalgError unless a server of the programs' major version runs on the data directory."""
    looked, there = _data_dir.inspect(cluster.data_dir, cluster.owner()), cluster.data_dir
    lost = (
        "If the cluster was lost, restore it (playbook mapswipe.walg.restore); if it is elsewhere, correct "
        "walg_pg_data_dir; for a new one, run initdb"
    )
    if looked.kind == "absent":
        raise WalgError(f"There is no data directory {there} to back up. {lost}.", found=looked.kind)
    if looked.kind == "empty":
        raise WalgError(f"The data directory {there} is empty: there is nothing to back up. {lost}.", found=looked.kind)
    if looked.kind != "cluster":
        what = "only parts of a PostgreSQL cluster" if looked.kind == "damaged" else "no PostgreSQL cluster"
        raise WalgError(f"{there} holds {what}: there is nothing to back up. {lost}.", found=looked.kind)
    if looked.major != major:
        raise WalgError(
            f"{there} is of PostgreSQL {looked.major}, but the programs in {cluster.bin_dir} are of {major}. "
            "Correct walg_pg_bin_dir or walg_pg_data_dir.",
            found=looked.major,
            wanted=major,
        )
    # A server in another container that shares the directory and the socket has no process here.
    if not looked.pid and not _server.Server(runner, cluster).ready():
        raise WalgError(
            f"No server runs on {there}: it must run to be backed up. Start it ({cluster.service or 'pg_ctl'}), then "
            "run again.",
            found="stopped",
        )


def archive(
    runner: Runner, name: str, cluster: Cluster, directories: Mapping[str, str], options: Mapping[str, Any]
) -> None:
    """Plan the archive settings as walg_archive will, for its refusals: a foreign command, an override, a restart."""
    instance = Instance(
        name,
        directories["config_dir"],
        directories["state_dir"],
        directories["log_dir"],
        directories["program_dir"],
        "",
        "",
        cluster,
    )
    _enable.plan(
        runner,
        instance,
        timeout=options["timeout"],
        restart=options["restart"] == "allowed",
        replace_command=options["replace"],
        pending=["binary"],
    )
