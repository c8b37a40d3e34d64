# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PostgreSQL client: questions to a running server through psql.

psql and not a Python driver: it stands wherever the server stands, and the managed host needs nothing else.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .._errors import WalgError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._host._process import Result, Runner
    from ._cluster import Cluster

#: What ICU a server sorts by; the collation "und-x-icu" exists wherever there is ICU.
ICU_VERSION = (
    "SELECT coalesce(max(pg_collation_actual_version(oid)), '') FROM pg_collation "
    "WHERE collprovider = 'i' AND collname = 'und-x-icu'"
)


def literal(value: str) -> str:
    """Quote a string for SQL (standard_conforming_strings has been on since 9.1)."""
    if "\0" in value or "\\" in value:
        raise WalgError(f"Cannot quote {value!r} for SQL.")
    return "'" + value.replace("'", "''") + "'"


def installed_major(runner: Runner, cluster: Cluster) -> int:
    """Return the major version of the server programs in the cluster's bin_dir, run as its owner. Raises WalgError."""
    program = os.path.join(cluster.bin_dir, "postgres")
    shown = runner.run([program, "-V"], user=cluster.owner())
    match = re.search(r"\(PostgreSQL\) (\d+)", shown.stdout)
    if not match:
        raise WalgError(
            f"{program} -V ended with {shown.rc}: {shown.last_line()}. Correct walg_pg_bin_dir.", **shown.fields()
        )
    return int(match.group(1))


@dataclass(frozen=True)
class ServerFacts:
    """What a running server says of itself. LSNs are integers, ``timeline`` that of its last checkpoint or WAL."""

    version_num: int
    system_identifier: str
    timeline: int
    in_recovery: bool
    data_directory: str
    config_file: str
    segment_size: int
    start_time: str

    @property
    def major(self) -> int:
        """PostgreSQL's major version."""
        return self.version_num // 10000


#: What a server, database or role may set for every session and would end ours, or change what it reads. PGOPTIONS wins.
_OPTIONS = {
    "client_min_messages": "error",
    "search_path": "pg_catalog",
    "role": "none",
    "datestyle": "ISO",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": r"read\ committed",  # a standby refuses serializable
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
OPTIONS = " ".join(f"-c {name}={value}" for name, value in _OPTIONS.items())
#: The same of what not every version knows: named in PGOPTIONS, it would be refused there.
_UNLIMITED = """SELECT set_config(name, '0', false) FROM unnest('{idle_session_timeout,transaction_timeout}'::text[]) AS name
WHERE current_setting(name, true) IS NOT NULL
\\g /dev/null
"""
#: What psql says when it gets no session, and what to do.
_ADVICE = (
    (
        "no password supplied|password authentication failed|PAM authentication failed",
        (
            "The server wants a password of this role. Put it into walg_secrets as PGPASSWORD, or into the password file .pgpass in "
            "{os_user}'s home directory (mode 0600); or let {os_user} in without one by a line `local all {user} peer` in pg_hba.conf."
        ),
    ),
    (
        "Peer authentication failed|Ident authentication failed",
        (
            "pg_hba.conf does not let the operating system user {os_user} be the role {user}: set walg_pg_user to a superuser that it may "
            "be, or map the two in pg_ident.conf."
        ),
    ),
    (
        "no pg_hba.conf entry|pg_hba.conf rejects",
        "Let the role in by a line `local all {user} peer` in pg_hba.conf.",
    ),
    ('role ".*" does not exist', "Set walg_pg_user to a superuser of this cluster."),
    ('role ".*" is not permitted to log in', "Set walg_pg_user to a superuser of this cluster that may log in."),
    (
        "Permission denied",
        (
            "The user {os_user} can't pass to the socket: open {socket_dir} and the directories above it to that user, or set "
            "walg_pg_socket_dir to another of unix_socket_directories."
        ),
    ),
    (
        "No such file or directory|Connection refused",
        (
            "Set walg_pg_socket_dir and walg_pg_port to where the server listens (unix_socket_directories, port); a host name such as "
            "localhost goes too."
        ),
    ),
)
_NO_DATABASE = re.compile(r'database ".*" does not exist')

_FACTS = """
SELECT json_build_object(
  'version_num', current_setting('server_version_num')::int,
  'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
  'timeline', CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
              ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,
  'in_recovery', pg_is_in_recovery(),
  'data_directory', current_setting('data_directory'),
  'config_file', current_setting('config_file'),
  'segment_size', (SELECT (setting::bigint * CASE unit WHEN '8kB' THEN 8192 ELSE 1 END)
                   FROM pg_settings WHERE name = 'wal_segment_size'),
  'start_time', pg_postmaster_start_time()::text)
"""


def _peer(cluster: Cluster) -> dict[str, str]:
    """Return what has libpq turn away from a server of another user: where the socket lies, anybody may be able to make one."""
    owner = cluster.owner()
    return {} if owner.name == str(owner.uid) else {"PGREQUIREPEER": owner.name}


#: Up to PostgreSQL 16 no session begins with that. A login trigger (17) that fails ends every other session: on a standby, for
#: instance, where it can't write.
_NO_TRIGGERS = "-c event_triggers=off"
#: What else keeps a session from beginning; in another language one more try is made in vain.
_OTHER_TROUBLE = re.compile(
    r"the database system is|sorry, too many clients|remaining connection slots|too many connections for|authentication failed|"
    r'no password supplied|pg_hba\.conf|(role|database) ".*" does not exist|not permitted to log in|Is the server running|timeout expired'
)


@dataclass(frozen=True)
class Server:
    """A cluster's server, reached through its socket as the operating system user that owns it."""

    runner: Runner
    cluster: Cluster
    timeout: float = 30.0

    def psql(self) -> str:
        """Return psql's path: beside the server's programs, else on PATH."""
        beside = os.path.join(self.cluster.bin_dir, "psql")
        found = beside if os.access(beside, os.X_OK) else shutil.which("psql")
        if not found:
            raise WalgError(f"psql is missing: neither {beside} nor one on PATH. Install PostgreSQL's client package.")
        return found

    def run_sql(self, sql: str, timeout: float | None = None) -> Result:
        """Run one SQL text in a session of its own, which no setting of others ends; unaligned output without headers."""
        found = self._psql(_UNLIMITED + sql, self.cluster.database, OPTIONS, timeout)
        begun = "psql:<stdin>:" in found.stderr  # what ended it in the middle is not run twice
        if found.rc == 2 and not begun and not _OTHER_TROUBLE.search(found.stderr):
            again = self._psql(_UNLIMITED + sql, self.cluster.database, f"{OPTIONS} {_NO_TRIGGERS}", timeout)
            return again if again.rc != 2 else found
        return found

    def _psql(self, sql: str, database: str, options: str, timeout: float | None) -> Result:
        """Run SQL with bytes as they are, there and back: a name or a setting need not be of the database's encoding.

        A path means the same to the server and to us only so, and a database can be entered by no other name.
        """
        cluster = self.cluster
        return self.runner.run(
            [self.psql(), "-XAtqw", "-v", "ON_ERROR_STOP=1", "-f", "-"],
            user=cluster.owner(),
            env={
                **cluster.credentials,
                **_peer(cluster),
                "PGHOST": cluster.socket_dir,
                "PGPORT": cluster.port,
                "PGUSER": cluster.user,
                "PGDATABASE": database,
                "PGCONNECT_TIMEOUT": "10",
                "PGAPPNAME": "mapswipe.walg",
                "PGCLIENTENCODING": "SQL_ASCII",
                "PGOPTIONS": options,
            },
            stdin=sql,
            errors="surrogateescape",
            timeout=timeout or self.timeout,
        )

    def ask(self, sql: str, timeout: float | None = None) -> str:
        """Return the answer of one SQL text. Raises WalgError with what the server said."""
        return self._answered(self.run_sql(sql, timeout)).stdout.strip()

    def _answered(self, result: Result) -> Result:
        """Return an answer that is one; raises WalgError with what the server said, and what to do."""
        if result.rc != 0 or result.timed_out:
            cluster = self.cluster
            trouble = "did not answer in time" if result.timed_out else result.last_line()
            raise WalgError(
                f"PostgreSQL (socket {cluster.socket_dir}, port {cluster.port}, role {cluster.user}, "
                f"as {cluster.os_user}): {trouble}{self._advice(result)}",
                **result.fields(),
            )
        return result

    def _advice(self, result: Result) -> str:
        """Say what to do where psql got no session (it ends with 2 then)."""
        if result.rc != 2:
            return ""
        if _NO_DATABASE.search(result.stderr):
            return f". Set walg_pg_database to one of those that exist: {self._databases()}."
        for pattern, advice in _ADVICE:
            if re.search(pattern, result.stderr):
                return ". " + advice.format(**asdict(self.cluster))
        return ""

    def _databases(self) -> str:
        """Return the names of the databases that take connections; template1 is in every cluster."""
        listing = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY datistemplate, datname"
        listed = self._psql(listing, "template1", OPTIONS, None)
        return ", ".join(listed.stdout.split("\n")[:-1][:20]) if listed.rc == 0 else "template1"

    def session_settings(self, names: Sequence[str]) -> dict[str, str]:
        """Return what these settings are in a session that sets nothing itself, as WAL-G's."""
        shown = self._psql("".join(f"SHOW {name};\n" for name in names), self.cluster.database, "", None)
        values = self._answered(shown).stdout.split("\n")[: len(names)]
        return dict(zip(names, values))

    def ask_json(self, sql: str) -> Any:
        """Return the parsed answer of a SQL text that yields one JSON value."""
        answer = self.ask(sql)
        try:
            return json.loads(answer or "null")
        except ValueError as exc:
            raise WalgError(f"psql answered something that is no JSON: {answer[:200]!r}") from exc

    def facts(self) -> ServerFacts:
        """Ask the server who it is. Raises WalgError when it can't be reached."""
        return ServerFacts(**self.ask_json(_FACTS))

    def own_facts(self) -> ServerFacts:
        """Like facts(), and make sure that it is the server of our data directory and nobody else's."""
        facts = self.facts()
        if os.path.realpath(facts.data_directory) != os.path.realpath(self.cluster.data_dir):
            raise WalgError(
                f"The server at {self.cluster.socket_dir}:{self.cluster.port} runs on {facts.data_directory}, "
                f"not on {self.cluster.data_dir}. Correct walg_pg_port, walg_pg_socket_dir or walg_pg_data_dir.",
                found=facts.data_directory,
                wanted=self.cluster.data_dir,
            )
        return facts

    def settings(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return pg_settings rows by name; a setting that this version doesn't know is absent."""
        listed = ", ".join(literal(name) for name in names)
        rows = self.ask_json(
            "SELECT json_agg(json_build_object('name', name, 'setting', setting, 'unit', unit, 'context', context, "
            "'source', source, 'sourcefile', sourcefile, 'pending_restart', pending_restart)) "
            f"FROM pg_settings WHERE name IN ({listed})"
        )
        return {row["name"]: row for row in rows or []}

    def ready(self) -> bool:
        """Say whether the server takes a connection now."""
        return self.run_sql("SELECT 1").rc == 0
