# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restored data directory gets its entry under /etc/postgresql on a Debian host that never had it.

pg_createcluster can adopt a data directory, but it moves files out of it and wants configuration files in it, and where it
fails it calls pg_dropcluster, which deletes the data directory. So it never sees the restored one: it makes a cluster in a
directory of ours, with all of Debian's defaults, and the configuration is then pointed at the restored directory.

Its tools run as the cluster's owner, who can write where they work: root would follow a link that was laid there.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host._files import owned, read_text
from .._host._users import call_as
from . import _debian

if TYPE_CHECKING:
    from .._host._process import Result, Runner
    from .._host._users import User
    from ._cluster import Cluster

_PREFIX = "mapswipe-walg-register-"
_TIMEOUT = 300.0
_TEMPORARY = "/tmp"  # TMPDIR may be closed to the owner


def wanted(cluster: Cluster) -> _debian.Configured | None:
    """Return what must be registered before the cluster's service can start it; None if nothing has.

    Raises WalgError where that can be known to fail.
    """
    found = _debian.by_convention(cluster.data_dir)
    if found is None or not (shutil.which("pg_createcluster") and shutil.which("pg_conftool")):
        return None
    text = _text(cluster, found)
    if text is not None and not _unfinished(text):
        return None
    if os.geteuid() != 0:
        raise WalgError(
            f"{cluster.data_dir} has no configuration in {_config_dir(found)}, and only root can make it: run as root (become)."
        )
    for other in _debian.configured():
        if (other.version, other.name) != (found.version, found.name) and other.port == cluster.port:
            raise WalgError(
                f"The port {cluster.port} belongs to the cluster {other.version}/{other.name} ({other.data_dir}). "
                "Set walg_pg_port to one that is free.",
                found=other.port,
            )
    return found


def parent_can_be_made(cluster: Cluster) -> bool:
    """Say whether the data directory's parent is one that pg_createcluster would make, such as /var/lib/postgresql/13."""
    return os.path.isdir(_debian.VAR) and _debian.by_convention(cluster.data_dir) is not None


def make_parent(cluster: Cluster) -> None:
    """Make the data directory's parent where it is missing, as pg_createcluster does."""
    parent = os.path.dirname(os.path.normpath(cluster.data_dir))
    if not os.path.isdir(parent) and parent_can_be_made(cluster):
        call_as(cluster.owner(), os.mkdir, parent, 0o755)


def register(runner: Runner, cluster: Cluster) -> dict[str, Any]:
    """Register the data directory if it must be; return what was made as the result's ``registered``, or nothing."""
    found = wanted(cluster)
    if found is None:
        return {}
    if _text(cluster, found) is None:
        _make(runner, cluster, found)
    _point(runner, cluster, found)
    made = {"cluster": f"{found.version}/{found.name}", "config_dir": _config_dir(found), "port": cluster.port}
    return {"registered": made}


def _text(cluster: Cluster, found: _debian.Configured) -> str | None:
    path = os.path.join(_config_dir(found), "postgresql.conf")
    text = call_as(cluster.owner() if os.geteuid() == 0 else None, read_text, path)
    return None if text is None else str(text)


def _make(runner: Runner, cluster: Cluster, found: _debian.Configured) -> None:
    owner = cluster.owner()
    for path in (os.path.dirname(_config_dir(found)), _config_dir(found)):
        _make_directory(path, owner)
    _debian.make_socket_dir()
    scratch = str(call_as(owner, _scratch))
    try:
        argv = ["pg_createcluster", "--datadir", os.path.join(scratch, "data"), "--port", cluster.port]
        argv += ["--user", cluster.os_user]
        if cluster.socket_dir and os.path.realpath(cluster.socket_dir) != os.path.realpath(_debian.SOCKET_DIR):
            argv += ["--socketdir", cluster.socket_dir]
        _run(runner, [*argv, found.version, found.name], owner)
    finally:
        call_as(owner, shutil.rmtree, scratch, True)


def _scratch() -> str:
    return tempfile.mkdtemp(prefix=_PREFIX, dir=_TEMPORARY)


def _make_directory(path: str, owner: User) -> None:
    """Make a directory of the owner's where it is missing: as the owner, or as root in what is root's alone."""
    if call_as(owner, os.path.isdir, path):
        return
    if call_as(owner, os.access, os.path.dirname(path), os.W_OK):
        call_as(owner, os.mkdir, path, 0o755)
    else:
        owned(path, None, 0o755, owner).apply()


def _config_dir(found: _debian.Configured) -> str:
    return os.path.join(_debian.ETC, found.version, found.name)


def _point(runner: Runner, cluster: Cluster, found: _debian.Configured) -> None:
    argv = ["pg_conftool", found.version, found.name, "set", "data_directory", found.data_dir]
    _run(runner, argv, cluster.owner())


def _unfinished(text: str) -> bool:
    """A run that was killed before it pointed the configuration at the restored directory."""
    return bool(re.search(rf"^data_directory\s*=\s*'[^']*/{_PREFIX}", text, re.MULTILINE))


def _run(runner: Runner, argv: list[str], owner: User) -> Result:
    result = runner.run(argv, user=owner, timeout=_TIMEOUT)
    if result.rc != 0 or result.timed_out:
        trouble = "ran out of time" if result.timed_out else f"ended with {result.rc}: {result.last_line()}"
        raise WalgError(
            f"Registering the cluster with Debian's tools: `{shlex.join(argv)}` {trouble}", **result.fields()
        )
    return result
