# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server needs of its place on this host and a trial start elsewhere can't tell: directories that it writes to, its port."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _proc
from .._host._users import call_as
from .._postgres import _conf, _launch, _server_process, _servers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._instance._record import Instance
    from ._layout import Location

_PORT = "5432"
_GROUP_SINCE = 11  # from here on the group may read a data directory
#: Directories that systemd's and Debian's own starters make again with each boot.
_MADE_AT_START = ("/run/", "/var/run/")


def refuse(instance: Instance, data: Location, settings: Mapping[str, str], major: int) -> None:
    """Raise WalgError where the server could not use its place. ``settings``: as its configuration has them."""
    _refuse_other_directory(data, settings, _launch.cwd_of(instance.cluster.start_environment))
    _refuse_sockets(instance, data, settings)
    _refuse_taken(instance, data, settings)
    _refuse_logs(instance, data, settings)
    _refuse_mode(instance, data, major)


def _refuse_other_directory(data: Location, settings: Mapping[str, str], cwd: str) -> None:
    named = settings.get("data_directory", "")
    if named and os.path.realpath(os.path.join(cwd or data.path, named)) != data.path:
        raise WalgError(f"its configuration says data_directory = {named!r}, and not {data.path}")


def _refuse_sockets(instance: Instance, data: Location, settings: Mapping[str, str]) -> None:
    made = (instance.cluster.service or "pg_ctl") != "pg_ctl"
    for named in settings.get("unix_socket_directories", "").split(","):
        path = named.strip().strip('"')
        if not path or path.startswith("@") or (made and path.startswith(_MADE_AT_START)):
            continue
        if not call_as(instance.owner, _writable, _in_place(data, path)):
            raise WalgError(
                f"unix_socket_directories names {path}, which does not exist or can't be written by {instance.cluster.os_user}"
            )


def _refuse_taken(instance: Instance, data: Location, settings: Mapping[str, str]) -> None:
    """Another server may have the port, the one that a copy was made from for instance. Who starts it by himself may say another one."""
    if instance.cluster.service == "none":
        return
    port = settings.get("port") or _launch.variables(instance.cluster.start_environment).get("PGPORT") or _PORT
    ours = _servers.servers_on(data.path)
    for named in settings.get("unix_socket_directories", "").split(","):
        path = named.strip().strip('"')
        if not os.path.isabs(path):
            continue
        lock = os.path.join(path, f".s.PGSQL.{port}.lock")
        pid = int(call_as(instance.owner, _first_number, lock))
        if pid and pid not in ours and _server_process.is_server(pid):
            raise WalgError(
                f"another server (process {pid}, on {_proc.link(pid, 'cwd')}) has port {port} in {path}. Stop that one, or set "
                "another port where the restored configuration says it"
            )


def _first_number(path: str) -> int:
    try:
        return int(_proc.read(path).partition("\n")[0])
    except (OSError, ValueError):
        return 0


def _refuse_logs(instance: Instance, data: Location, settings: Mapping[str, str]) -> None:
    if not _conf.is_on(settings.get("logging_collector", "off")):
        return
    named = settings.get("log_directory", "log")
    path = _in_place(data, named)
    if not call_as(instance.owner, _writable_or_made, path):
        raise WalgError(
            f"logging_collector is on, and log_directory ({named}) can't be made or written by {instance.cluster.os_user}"
        )


def _refuse_mode(instance: Instance, data: Location, major: int) -> None:
    """A mount point keeps its own mode and owner; elsewhere the restored directory's are ours."""
    if not data.mount:
        return
    found, allowed = os.stat(data.path), 0o750 if major >= _GROUP_SINCE else 0o700
    if found.st_uid != instance.owner.uid:
        raise WalgError(f"{data.path} belongs to the user {found.st_uid}, not to {instance.cluster.os_user}")
    if found.st_mode & 0o777 & ~allowed:
        raise WalgError(
            f"{data.path} has the mode {found.st_mode & 0o777:04o}; PostgreSQL {major} starts with {allowed:04o} at most"
        )


def _in_place(data: Location, path: str) -> str:
    """Return where a path of the configuration leads now: what will lie in the data directory is still beside."""
    full = os.path.normpath(os.path.join(data.path, path))
    inside = os.path.join(data.path, "")
    return os.path.join(data.work, full[len(inside) :]) if full.startswith(inside) else full


def _writable(path: str) -> bool:
    return os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)


def _writable_or_made(path: str) -> bool:
    return _writable(path) if os.path.lexists(path) else _writable(os.path.dirname(path))
