# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL cluster: its directory, its programs, its user, and how its server is started and reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from .._host._users import User


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL data directory and how to reach the server on it."""

    data_dir: str
    bin_dir: str
    socket_dir: str
    port: str = "5432"
    user: str = "postgres"  # the database role
    os_user: str = "postgres"
    service: str = ""  # who starts and stops it, see _service
    start_options: str = ""  # options of a pg_ctl start, shell-quoted
    system_identifier: str = ""
    start_dir: str = ""  # what a pg_ctl start names with -D, where it is not the data directory
    start_environment: str = ""  # variables of a pg_ctl start, as words for a shell
    config_file: str = ""  # the server's main configuration file where it lies outside of the data directory
    database: str = "postgres"  # that we and WAL-G connect to
    #: Variables of libpq that let a session in, as WAL-G's settings have them; secret, so never part of the record or an answer.
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    pg_untested: str = ""  # "true": a PostgreSQL newer than any that was tried is asked for anyway

    @property
    def untested(self) -> bool:
        return self.pg_untested == "true"

    def owner(self) -> User:
        """The operating system user that owns the data directory."""
        return User.by_name(self.os_user)


def with_cluster(cluster: Cluster, given: Mapping[str, Any]) -> Cluster:
    """Return the cluster with the options that were given in place of its own."""
    names = {one.name for one in fields(Cluster)} - {"credentials"}
    told = {key: value for key, value in given.items() if key in names and value not in (None, "", False)}
    values: dict[str, Any] = {key: "true" if value is True else str(value) for key, value in told.items()}
    return replace(cluster, **values)


def cluster_dict(cluster: Cluster) -> dict[str, str]:
    """Return the cluster as a plain dict for results and module options."""
    return {key: str(value) for key, value in asdict(cluster).items() if key != "credentials"}
