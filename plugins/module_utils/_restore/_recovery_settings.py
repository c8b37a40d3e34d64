# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on the settings of a server that recovers beside the real one: the cluster's own, made harmless.

Everything that recovery and its result depend on stays the cluster's own. Overridden is what would act outwards (addresses,
archiving, replication, schedulers, logs), what could not work beside (another server's memory, its files), and what would
end or change our own questions.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._archive._recorded import smells
from .._errors import WalgError
from .._postgres._recovery import HELD, RECOVERY_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._own_settings import Own

#: Preloaded libraries with workers of their own that act as soon as a server has left recovery: they run jobs, call other
#: servers, or manage a cluster. The recovery server goes without them; the restored cluster has them.
SCHEDULERS = frozenset(
    (
        "bdr",
        "citus",
        "pg_cron",
        "pg_failover_slots",
        "pg_keeper",
        "pg_net",
        "pg_partman_bgw",
        "pg_squeeze",
        "pgautofailover",
        "pglogical",
        "repmgr",
        "spock",
        "timescaledb",
        "vectorize",
        "worker_spi",
    )
)

#: Settings that the recovery server does not take over, and where it takes which value instead: name, value, first and last
#: major version that knows it (0: no bound).
_OVERRIDES: tuple[tuple[str, str, int, int], ...] = (
    # Nobody is to reach it, and it reaches nobody.
    ("listen_addresses", "", 0, 0),
    ("unix_socket_group", "", 0, 0),
    ("bonjour", "off", 0, 0),
    ("ssl", "off", 0, 0),
    ("external_pid_file", "", 0, 0),
    # Debian's is production's own, and on a new host not there yet.
    ("stats_temp_directory", "pg_stat_tmp", 0, 14),
    ("cluster_name", "", 0, 0),
    ("promote_trigger_file", "", 12, 15),
    ("synchronous_standby_names", "", 0, 0),
    ("synchronized_standby_slots", "", 17, 0),
    ("sync_replication_slots", "off", 17, 0),
    ("max_logical_replication_workers", "0", 0, 0),
    ("event_triggers", "off", 17, 0),
    ("local_preload_libraries", "", 0, 0),
    ("session_preload_libraries", "", 0, 0),
    # Archiving is held: the new timeline's WAL is for the real server to push.
    ("archive_mode", "on", 0, 0),
    ("archive_command", HELD, 0, 0),
    ("archive_library", "", 15, 0),
    ("archive_timeout", "0", 0, 0),
    # Its log is read by us.
    ("logging_collector", "off", 0, 0),
    ("log_destination", "stderr", 0, 0),
    ("log_min_messages", "warning", 0, 0),
    ("log_error_verbosity", "default", 0, 0),
    ("log_line_prefix", "%m [%p] ", 0, 0),
    ("log_timezone", "GMT", 0, 0),
    ("log_statement", "none", 0, 0),
    ("log_min_duration_statement", "-1", 0, 0),
    ("log_duration", "off", 0, 0),
    ("log_connections", "off", 0, 0),
    ("log_disconnections", "off", 0, 0),
    ("lc_messages", "C", 0, 0),
    ("timezone", "GMT", 0, 0),
    ("datestyle", "ISO, MDY", 0, 0),
    ("update_process_title", "on", 0, 0),
    # Nothing may end or change our questions.
    ("statement_timeout", "0", 0, 0),
    ("lock_timeout", "0", 0, 0),
    ("idle_in_transaction_session_timeout", "0", 0, 0),
    ("idle_session_timeout", "0", 14, 0),
    ("transaction_timeout", "0", 17, 0),
    ("default_transaction_read_only", "off", 0, 0),
    ("default_transaction_isolation", "read committed", 0, 0),
    ("session_replication_role", "origin", 0, 0),
    # It shares the host, and what it writes has to outlive a power cut.
    ("huge_pages", "off", 0, 0),
    ("min_dynamic_shared_memory", "0", 14, 0),
    ("io_method", "worker", 18, 0),
    ("fsync", "on", 0, 0),
)
#: Names that are set for each recovery, or that stand for files and are left out.
PLACES = ("config_file", "data_directory", "hba_file", "ident_file", "port", "unix_socket_directories", "hot_standby")
_LEFT_OUT = re.compile(r"^(ssl_|krb_|log_|syslog_|archive_|recovery_target|bonjour)|_command$|conninfo")
_SHARED_BUFFERS, _PAGE = 128 * 1024 * 1024, 8192  # PostgreSQL's defaults
_LEAST_BUFFERS = 16 * 1024 * 1024
_UNITS = {"b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3, "tb": 1024**4}
_DEFAULTS = {"max_connections": 100, "max_wal_senders": 10, "superuser_reserved_connections": 3}
#: Names that a request may not set, and why.
_DECIDED = {
    "data_directory": "the restore decides where the cluster is (walg_pg_data_dir)",
    "config_file": "it can't be in a configuration file",
    "hba_file": "it can't be in a configuration file of the cluster; set it where the server is started",
    "ident_file": "it can't be in a configuration file of the cluster; set it where the server is started",
    "port": "the instance has its own option for the port (walg_pg_port)",
    "unix_socket_directories": "the instance has its own option for the socket directory (walg_pg_socket_dir)",
    "include": "it is no setting",
    "include_dir": "it is no setting",
    "include_if_exists": "it is no setting",
}


@dataclass(frozen=True)
class ServerPlace:
    """Where the recovery server works: ``private`` is a directory of ours for its socket and files."""

    port: str
    private: str
    data_dir: str
    segment_size: int = 0  # bytes; 0 where it is not known


def overrides(
    major: int, place: ServerPlace, own: Own, limits: Mapping[str, int] | None, available: int | None
) -> dict[str, str]:
    """Return the settings that override the cluster's own.

    ``limits``: the cluster's max_connections and its sisters by its control file, which a server that can be read during
    recovery needs at least; None: it can't be read. ``available``: bytes of memory that this host has left, None where that is
    not known.
    """
    made = {name: value for name, value, first, last in _OVERRIDES if major >= first and (not last or major <= last)}
    made.update(
        {
            "config_file": os.path.join(place.private, "postgresql.conf"),
            "hba_file": os.path.join(place.private, "pg_hba.conf"),
            "ident_file": os.path.join(place.private, "pg_ident.conf"),
            "data_directory": place.data_dir,
            "port": place.port,
            "unix_socket_directories": place.private,
            "hot_standby": "off" if limits is None else "on",
            "shared_preload_libraries": ", ".join(kept_libraries(own.value("shared_preload_libraries") or "")),
        }
    )
    if own.value("wal_level") == "minimal":  # archiving, though held, needs more
        made["wal_level"] = "replica"
    made.update(_sized(major, own, limits))
    made.update(_least_wal(own, place.segment_size))
    wanted = size(own.value("shared_buffers"))
    room = None if available is None else max(_LEAST_BUFFERS, available // 4)
    if room is not None and wanted > room:
        made["shared_buffers"] = f"{room // 1024}kB"
    return made


def _least_wal(own: Own, segment_size: int) -> dict[str, str]:
    """Return what keeps a server with large segments from refusing to start: both sizes must be two segments at least."""
    least = 2 * segment_size
    return {
        name: f"{least // 1024**2}MB"
        for name, default in (("min_wal_size", 80), ("max_wal_size", 1024))
        if least > size(own.value(name), default * 1024**2, 1024**2)
    }


def _sized(major: int, own: Own, limits: Mapping[str, int] | None) -> dict[str, str]:
    if limits is not None:  # WAL may raise them later, to what the cluster's files have by now
        return {name: str(max(value, own.number(name, 0))) for name, value in limits.items()}
    # Without readers it needs room for little; the cluster's own numbers may be more than this host can give.
    made = {name: str(min(own.number(name, default), default)) for name, default in _DEFAULTS.items()}
    return {**made, "reserved_connections": "0"} if major >= 16 else made


def kept(own: Own) -> dict[str, str]:
    """Return the cluster's own settings as the recovery server's configuration has them. What is overridden stays out of it."""
    overridden = {name for name, _value, _first, _last in _OVERRIDES}.union(
        PLACES, RECOVERY_NAMES, ("shared_preload_libraries",)
    )
    return {
        name: one.value
        for name, one in own.settings.items()
        if name not in overridden and not _LEFT_OUT.search(name) and "\n" not in one.value
    }


def libraries(text: str) -> list[str]:
    """Return the names in a list of libraries, as PostgreSQL splits it: by commas, names in double quotes keep theirs."""
    found = [match.strip() for match in re.findall(r'(?:"(?:[^"]|"")*"|[^,"])+', text)]
    return [one[1:-1].replace('""', '"') if len(one) > 1 and one[0] == one[-1] == '"' else one for one in found if one]


def schedulers(text: str) -> list[str]:
    """Return which of the libraries act by themselves."""
    return [one for one in libraries(text) if _stem(one) in SCHEDULERS]


def kept_libraries(text: str) -> list[str]:
    """Return the libraries that the recovery server loads, each in quotes."""
    return ['"' + one.replace('"', '""') + '"' for one in libraries(text) if _stem(one) not in SCHEDULERS]


def _stem(library: str) -> str:
    name = os.path.basename(library)
    return name[:-3] if name.endswith(".so") else name


def size(text: str | None, default: int = _SHARED_BUFFERS, unit: int = _PAGE) -> int:
    """Return the bytes that a setting's text means; a bare number counts units. As it stands it is for shared_buffers."""
    match = re.match(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*([kMGT]?B)?\s*\Z", text or "")
    if not match:
        return default
    return int(float(match.group(1)) * (_UNITS[match.group(2).lower()] if match.group(2) else unit))


def wished(settings: Mapping[str, object]) -> dict[str, str]:
    """Return the settings of a request by name in small letters. Raises WalgError for one that a restore decides itself."""
    made = {}
    for given, raw in settings.items():
        name, value = str(given).lower(), _text(raw)
        if not re.match(r"^[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)*\Z", name):
            raise WalgError(f"walg_restore_settings: {given!r} is not the name of a PostgreSQL setting.")
        why = _DECIDED.get(name, "")
        if name in RECOVERY_NAMES or name.startswith("recovery_target"):
            why = (
                "a restore writes the settings of its recovery itself (walg_restore_target... and walg_restore_standby)"
            )
        elif name.startswith("archive_"):
            why = "walg_restore_archive and the role walg_backup decide on archiving"
        elif smells(name, value):
            why = "it may hold a secret, which would stand in files and answers; set it after the restore"
        if why:
            raise WalgError(f"walg_restore_settings can't set {name}: {why}. Leave it out.")
        if any(ord(char) < 32 for char in value):
            raise WalgError(f"walg_restore_settings: the value of {name} has a control character.")
        made[name] = value
    return made


def _text(value: object) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
