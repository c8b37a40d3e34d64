# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters as Debian's and Ubuntu's postgresql-common lays them out, running or not.

The configuration is in /etc/postgresql/VERSION/NAME and outlives a lost data directory: it tells where that was. It belongs to
the cluster's owner, and is read with that user's rights.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shlex
from dataclasses import dataclass

from .._errors import WalgError
from .._host._files import owned
from .._host._users import User
from . import _data_dir, _pg_files, _supervisor, _whose
from ._cluster import Cluster

ETC = "/etc/postgresql"
VAR = "/var/lib/postgresql"
LIB = "/usr/lib/postgresql"
SOCKET_DIR = "/var/run/postgresql"
_FIRST_PORT = 5432
_MAJOR = re.compile(r"[0-9]{1,3}")  # a directory of another name is not of a version
_USER = "postgres"
#: What pg_createcluster takes for a name; a leading hyphen would be an option of every program that is given it.
NAME = r"[.\w][-.\w]*"
#: What pg_ctlcluster itself puts on a server's command line.
_ITS_OPTIONS = ("config_file", "hba_file", "ident_file", "external_pid_file", "unix_socket_directories")


@dataclass(frozen=True)
class Configured:
    """One configured cluster. ``data_dir`` as its postgresql.conf has it, whether it exists or not."""

    version: str
    name: str
    data_dir: str
    port: str = str(_FIRST_PORT)
    socket_dir: str = SOCKET_DIR
    owner: str = _USER
    config_file: str = ""  # empty while it has none

    def cluster(self) -> Cluster:
        """Return it as a cluster whose server does not run."""
        try:
            identifier = _data_dir.inspect(self.data_dir, User.by_name(self.owner)).system_identifier
        except WalgError:  # not ours to look into
            identifier = ""
        return Cluster(
            data_dir=self.data_dir,
            bin_dir=bin_dir(self.version),
            socket_dir=self.socket_dir,
            port=self.port,
            os_user=self.owner,
            service=self.service(),
            system_identifier=identifier,
            config_file=self.config_file,
        )

    def service(self) -> str:
        """Return who starts and stops it, by Debian's rules."""
        if _supervisor.systemd_runs():
            return f"systemd:postgresql@{self.version}-{self.name}.service"
        return f"pg_ctlcluster:{self.version}/{self.name}"


def bin_dir(version: str) -> str:
    """Return where the server programs of a major version are."""
    return os.path.join(LIB, version, "bin")


def installed() -> list[str]:
    """Return the major versions whose server programs are there."""
    found = [
        os.path.basename(path) for path in glob.glob(os.path.join(LIB, "*")) if _has_server(os.path.basename(path))
    ]
    return sorted((version for version in found if _MAJOR.fullmatch(version)), key=int)


def configured() -> list[Configured]:
    """Return the configured clusters whose server programs are there, sorted by data directory."""
    found = []
    for path in glob.glob(os.path.join(ETC, "*", "*", "postgresql.conf")):
        config_dir = os.path.dirname(path)
        version, name = os.path.basename(os.path.dirname(config_dir)), os.path.basename(config_dir)
        if not re.fullmatch(NAME, name, re.ASCII) or not _MAJOR.fullmatch(version) or not _has_server(version):
            continue
        owner = _owner(path)
        settings = _settings(path, owner)
        data_dir = settings.get("data_directory", "")
        if os.path.isabs(data_dir):
            if owner.uid == 0:  # configuration that root keeps does not say whose the cluster is
                owner = _whose.owner_of(data_dir) or owner
            sockets = [part.strip() for part in settings.get("unix_socket_directories", "").split(",")]
            found.append(
                Configured(
                    version,
                    name,
                    data_dir,
                    settings.get("port", str(_FIRST_PORT)),
                    next((one for one in sockets if os.path.isabs(one)), SOCKET_DIR),
                    owner.name if owner.uid else _USER,
                    path,
                )
            )
    return sorted(found, key=lambda one: one.data_dir)


def _owner(path: str) -> User:
    """Return whose a configuration file is: root's only if its directory is, too."""
    for one in (path, os.path.dirname(path)):
        try:
            uid = os.lstat(one).st_uid
        except OSError:
            continue
        if uid != 0:
            return User.by_uid(uid)
    return User.by_uid(0)


def by_convention(data_dir: str) -> Configured | None:
    """Return the cluster that Debian would have at a path like /var/lib/postgresql/13/main, if its packages are there.

    For a host that never had it. The port is the one that pg_createcluster would choose.
    """
    version, name = _split(data_dir)
    if not version or not _has_server(version):
        return None
    taken = {one.port for one in configured()}
    port = next(number for number in range(_FIRST_PORT, 65536) if str(number) not in taken)
    return Configured(version, name, os.path.normpath(data_dir), str(port))


def missing_packages(data_dir: str) -> str:
    """Return a sentence on the packages that a path like /var/lib/postgresql/13/main wants, where others are there."""
    version, there = _split(data_dir)[0], installed()
    if not version or not there or version in there:
        return ""
    return f" By its path it is of PostgreSQL {version}, but {', '.join(there)} is installed here: install postgresql-{version}."


def _split(data_dir: str) -> tuple[str, str]:
    match = re.fullmatch(re.escape(VAR) + rf"/([0-9]+)/({NAME})", os.path.normpath(data_dir), re.ASCII)
    return (match.group(1), match.group(2)) if match else ("", "")


def of_running(cluster: Cluster) -> str:
    """Return the service word of a running server that pg_ctlcluster started and can start again; else an empty text."""
    for one in configured():
        if os.path.realpath(one.data_dir) == os.path.realpath(cluster.data_dir) and not _supervisor.systemd_runs():
            return one.service() if _is_its_start(one, cluster.start_options) else ""
    return ""


def _is_its_start(one: Configured, start_options: str) -> bool:
    """Say whether a server's options are pg_ctlcluster's own: more would be lost with its start."""
    words = shlex.split(start_options)
    pairs = dict(word.partition("=")[::2] for word in words[1::2])
    return (
        set(words[0::2]) == {"-c"}
        and pairs.get("config_file") == os.path.join(ETC, one.version, one.name, "postgresql.conf")
        and set(pairs).issubset(_ITS_OPTIONS)
    )


def _has_server(version: str) -> bool:
    return os.access(os.path.join(bin_dir(version), "postgres"), os.X_OK)


def _settings(path: str, owner: User) -> dict[str, str]:
    """Return the settings of a postgresql.conf and what it includes, as far as its owner and we may read them."""
    try:
        lines = _pg_files.read(owner if os.geteuid() == 0 else None, path).settings
    except WalgError:
        return {}
    return {name: line.value for name, line in lines.items()}


def make_socket_dir() -> None:
    """As root: make Debian's directory of sockets where it is missing, as its own tools do."""
    if os.geteuid() == 0 and not os.path.isdir(SOCKET_DIR):
        with contextlib.suppress(WalgError):  # without that user the tools say what they lack
            owned(SOCKET_DIR, None, 0o2775, User.by_name(_USER)).apply()
