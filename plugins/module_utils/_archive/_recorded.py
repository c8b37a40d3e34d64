# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a base backup records of its cluster's settings, so that a restore knows them before it fetches anything.

The record is in the storage, so it holds nothing that may be a secret: of such a setting it has the name only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._walg import _backups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._postgres._server import Server
    from .._walg._backups import Backup

#: Limits that a server needs at recovery at least as high as the primary had them.
LIMITS = (
    "max_connections",
    "max_prepared_transactions",
    "max_worker_processes",
    "max_wal_senders",
    "max_locks_per_transaction",
)
_LONGEST = 1024  # characters of a value that is recorded
_SECRET_NAME = re.compile(r"_command$|conninfo|passw|passphrase|secret|token|key|dsn|credential|ur[il]$|auth$")
_SECRET_VALUE = re.compile(r"passw|secret|://[^/@]*@", re.IGNORECASE)
#: Extensions whose texts are known to be harmless; what an unknown one has in a text may be anything.
_KNOWN = ("auto_explain.", "pg_stat_statements.", "plpgsql.", "pgaudit.")

_SETTINGS = """
SELECT json_agg(json_build_object('name', name, 'setting', setting, 'vartype', vartype, 'altered',
  coalesce(sourcefile LIKE '%/postgresql.auto.conf', false)) ORDER BY name)
FROM pg_settings WHERE source IN ('configuration file', 'command line', 'environment variable')
"""
_SUBSCRIPTIONS = """
SELECT json_agg(json_build_object('name', s.subname, 'database', d.datname, 'enabled', s.subenabled) ORDER BY d.datname, s.subname)
FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
"""
#: Recovery needs room for each origin with progress; who may not ask for that gets the number of all.
_ORIGINS = """
SELECT CASE WHEN current_setting('is_superuser') = 'on' THEN
  (xpath('/row/n/text()', query_to_xml('SELECT count(*) AS n FROM pg_replication_origin_status', false, true, '')))[1]::text::int
ELSE (SELECT count(*) FROM pg_replication_origin) END
"""


@dataclass(frozen=True)
class Recorded:
    """``settings``: by name, as far as the value is recorded; ``withheld``: names of the others; ``altered``: by ALTER SYSTEM."""

    settings: Mapping[str, str] = field(default_factory=dict)
    withheld: Sequence[str] = ()
    altered: Sequence[str] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    origins: int = 0
    subscriptions: Sequence[Mapping[str, Any]] = ()


def smells(name: str, value: str) -> bool:
    """Say whether a setting's name or value is such as secrets have."""
    harmless = name == "password_encryption" or name.endswith("_file")
    return bool((not harmless and _SECRET_NAME.search(name.lower())) or _SECRET_VALUE.search(value))


def may_be_secret(name: str, value: str, vartype: str) -> bool:
    """Say whether a setting's value may be a secret. In doubt it is; numbers and choices are not."""
    unknown = "." in name and not name.startswith(_KNOWN)
    return vartype == "string" and (unknown or smells(name, value))


def ask(server: Server) -> dict[str, Any]:
    """Ask a running server for its part of the record."""
    rows = server.ask_json(_SETTINGS) or []
    shown = {
        str(row["name"]): str(row["setting"])
        for row in rows
        if len(str(row["setting"])) <= _LONGEST and not may_be_secret(row["name"], str(row["setting"]), row["vartype"])
    }
    return {
        "settings": shown,
        "withheld": [row["name"] for row in rows if row["name"] not in shown],
        "altered": [row["name"] for row in rows if row["altered"]],
        "subscriptions": subscriptions(server),
        "origins": int(server.ask(_ORIGINS) or 0),
    }


def subscriptions(server: Server) -> list[dict[str, Any]]:
    """Return a server's subscriptions: name, database, whether enabled. Never where they connect to."""
    return list(server.ask_json(_SUBSCRIPTIONS) or [])


def of(backup: Backup) -> Recorded:
    """Return what a base backup records."""
    return read(as_dict(backup))


def as_dict(backup: Backup) -> dict[str, Any]:
    """Return the record as it is kept for the run after the plan."""
    names = ("settings", "withheld", "altered", "limits", "origins", "subscriptions")
    return {name: value for name, value in _backups.recorded(backup).items() if name in names}


def read(told: Mapping[str, Any]) -> Recorded:
    """Return what a record says; all of it is empty for one of another tool, or of an older version of this one."""
    settings, limits = told.get("settings"), told.get("limits")
    return Recorded(
        _texts(settings),
        tuple(map(str, told.get("withheld") or ())),
        tuple(map(str, told.get("altered") or ())),
        _texts(limits),
        int(told.get("origins") or 0),
        tuple(one for one in told.get("subscriptions") or () if isinstance(one, dict)),
    )


def _texts(told: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in told.items()} if isinstance(told, dict) else {}
