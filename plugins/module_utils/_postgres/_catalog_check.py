# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovered cluster's catalog names must be there: tablespaces, databases, the files of every relation.

Recovery makes a file that is missing where WAL names one of its blocks, and says nothing of those that it doesn't name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .._errors import WalgError

if TYPE_CHECKING:
    from ._server import Server

_TIMEOUT = 600.0  # seconds for one database; each file is looked at
_SHOWN = 5
#: Its own directory in a tablespace is named like this.
_ENTRY = """'PG_' || current_setting('server_version_num')::int / 10000 || '_' || (SELECT catalog_version_no FROM pg_control_system())"""
_TABLESPACES = f"""
SELECT json_agg(json_build_object('oid', oid::text, 'name', spcname, 'location', pg_tablespace_location(oid)))
FROM pg_tablespace
WHERE spcname NOT IN ('pg_default', 'pg_global') AND (pg_stat_file('pg_tblspc/' || oid || '/' || {_ENTRY}, true)).size IS NULL
"""
_DATABASES = f"""
SELECT json_agg(json_build_object('name', datname, 'connects', datallowconn, 'directory', directory,
  'there', (pg_stat_file(directory || '/PG_VERSION', true)).size IS NOT NULL))
FROM (SELECT datname, datallowconn, CASE WHEN spcname = 'pg_default' THEN 'base/' || d.oid
  ELSE 'pg_tblspc/' || s.oid || '/' || {_ENTRY} || '/' || d.oid END AS directory
  FROM pg_database d JOIN pg_tablespace s ON s.oid = d.dattablespace ORDER BY datname) found
"""
#: The files of unlogged relations come at the end of recovery, and a temporary one's are nobody's.
_RELATIONS = """
SELECT json_agg(name || ' (' || path || ')') FROM (
  SELECT oid::regclass::text AS name, path FROM (
    SELECT oid, pg_relation_filepath(oid) AS path FROM pg_class
    WHERE relkind IN ('r', 'i', 'S', 't', 'm') AND relpersistence = 'p') relation
  WHERE path IS NOT NULL AND (pg_stat_file(path, true)).size IS NULL ORDER BY 1 LIMIT 100) missing
"""


def refuse_missing(server: Server) -> None:
    """Raise WalgError when the server's catalog names what is not there, with what it is and where it should be."""
    directory = server.cluster.data_dir
    spaces = server.ask_json(_TABLESPACES) or []
    if spaces:
        named = ", ".join(f"{one['name']} (OID {one['oid']}, at {one['location'] or 'no place'})" for one in spaces)
        raise _incomplete(directory, f"the files of the tablespaces {named}", spaces)
    databases = server.ask_json(_DATABASES) or []
    lost = [one for one in databases if not one["there"]]
    if lost:
        named = ", ".join(f"{one['name']} ({one['directory']})" for one in lost)
        raise _incomplete(directory, f"the files of the databases {named}", lost)
    for one in databases:
        if one["connects"]:
            missing = (
                replace(server, cluster=replace(server.cluster, database=one["name"]), timeout=_TIMEOUT).ask_json(
                    _RELATIONS
                )
                or []
            )
            if missing:
                named = f"the files of {', '.join(missing[:_SHOWN])} in the database {one['name']}"
                raise _incomplete(directory, named, missing)


def _incomplete(directory: str, what: str, found: list[object]) -> WalgError:
    return WalgError(
        f"The cluster recovered in {directory} is not whole: {what} are missing, though its catalog names them. The base backup did not "
        "hold them. Choose another base backup (walg_restore_backup).",
        found=found,
    )
