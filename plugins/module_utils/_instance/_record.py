# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one instance is on this host: its cluster, its paths, and the record that programs read.

The record, `<config dir>/<instance>.env`, is a shell fragment of KEY='value' lines without secrets: the wrappers source
it, the job and the modules parse it. So the programs on the host and the modules cannot disagree.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _trust
from .._host._files import read_text
from .._postgres._cluster import Cluster
from .._storage import _url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._host._users import User

INSTANCE_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}\Z")


@dataclass(frozen=True)
class StateFiles:
    """Where the files of an instance's state are; docs/files.md tells users."""

    directory: str

    @property
    def progress(self) -> str:
        """How far a base backup or a restore is, for whoever watches."""
        return os.path.join(self.directory, "progress.json")

    @property
    def backup_lock(self) -> str:
        """Held while a base backup is taken or the storage is changed."""
        return os.path.join(self.directory, "backup.lock")

    @property
    def proof(self) -> str:
        """What was proved of the archive, so that it need not be proved again."""
        return os.path.join(self.directory, "archive-proof.json")

    @property
    def storage_change(self) -> str:
        """There while the archive moves to another storage."""
        return os.path.join(self.directory, "storage-change")

    @property
    def push_owner(self) -> str:
        """Whose the archive is, for the push wrapper."""
        return os.path.join(self.directory, "push-owner")

    @property
    def restore_plan(self) -> str:
        """What the fetch wrapper must find during recovery."""
        return os.path.join(self.directory, "restore-plan.env")

    @property
    def restore_state(self) -> str:
        """How far the last restore came, where the play is the cluster's owner."""
        return os.path.join(self.directory, "restore.json")

    @property
    def restored(self) -> str:
        """When a restore last proved the archive, and to which moment."""
        return os.path.join(self.directory, "restored.json")

    @property
    def give_up(self) -> str:
        """There while wal-push may give WAL up: the time until which (seconds since 1970)."""
        return os.path.join(self.directory, "give-up")

    @property
    def given_up(self) -> str:
        """The segments that wal-push gave up, a line each."""
        return os.path.join(self.directory, "given-up")

    @property
    def history(self) -> str:
        """What the job did, run by run."""
        return os.path.join(self.directory, "history.jsonl")

    @property
    def history_lock(self) -> str:
        """Held while a run is added to the history."""
        return os.path.join(self.directory, "history.lock")

    @property
    def run_lock(self) -> str:
        """Held while the job does what is due."""
        return os.path.join(self.directory, "run.lock")

    @property
    def check_lock(self) -> str:
        """Held while the archive's health is looked at."""
        return os.path.join(self.directory, "check.lock")

    @property
    def verify_lock(self) -> str:
        """Held while stored objects are read back."""
        return os.path.join(self.directory, "verify.lock")

    @property
    def facts(self) -> str:
        """What the last check saw: the source of metrics and status."""
        return os.path.join(self.directory, "facts.json")

    @property
    def metrics(self) -> str:
        """The same for Prometheus's node_exporter, in whose directory a symbolic link leads here."""
        return os.path.join(self.directory, "metrics.prom")

    @property
    def health(self) -> str:
        """What the last look at archiver and pg_wal saw, from which rates are computed."""
        return os.path.join(self.directory, "health.json")

    @property
    def verification(self) -> str:
        """How far the re-read of the storage came, and what it found."""
        return os.path.join(self.directory, "verification.json")

    @property
    def verify_progress(self) -> str:
        """How far a re-read of the storage is, for whoever watches."""
        return os.path.join(self.directory, "verify-progress.json")

    @property
    def retention(self) -> str:
        """Which plan was shown and under which rules, and what is being deleted."""
        return os.path.join(self.directory, "retention.json")

    @property
    def retention_shown(self) -> str:
        """Which rules a play has shown the first plan of."""
        return os.path.join(self.directory, "retention-shown")


@dataclass(frozen=True)
class Instance:
    """One configured cluster: what the wrappers, the job and the modules need to know. Times in seconds."""

    name: str
    config_dir: str
    state_dir: str
    log_dir: str
    program_dir: str
    binary: str
    storage: str
    cluster: Cluster
    push_timeout: int = 15
    fetch_timeout: int = 60
    backup_timeout: int = 86400
    #: Variables of WAL-G's process that are no settings of WAL-G: how Go reaches the network.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Of a server in a container, where the push wrapper asks the storage by itself whose archive it is: the machine, the name that the
    #: owner's marker must have, and the setting that leads WAL-G to where the marker stands.
    machine: str = ""
    writer: str = ""
    owner_place: str = ""

    @functools.cached_property
    def owner(self) -> User:
        """The operating system user that owns the cluster."""
        return self.cluster.owner()

    @property
    def storage_kind(self) -> str:
        """Which kind of storage it is, as in its URL: gs, s3, file, ..."""
        return _url.kind(_url.storage_settings(self.storage))

    @property
    def files(self) -> StateFiles:
        """Its files in the state directory, which is the owner's."""
        return StateFiles(self.state_dir)

    @property
    def settings_file(self) -> str:
        """WAL-G's settings (secret)."""
        return settings_path(self.config_dir, self.name)

    @property
    def record_file(self) -> str:
        """This record."""
        return record_path(self.config_dir, self.name)


def settings_path(config_dir: str, name: str) -> str:
    """Return the path of an instance's WAL-G settings."""
    return os.path.join(config_dir, f"{name}.json")


def record_path(config_dir: str, name: str) -> str:
    """Return the path of an instance's record."""
    return os.path.join(config_dir, f"{name}.env")


def credentials_path(config_dir: str, name: str) -> str:
    """Return the path of an instance's Google credentials, where their content was given."""
    return os.path.join(config_dir, f"{name}.credentials.json")


def check_name(name: str) -> None:
    """Raise WalgError unless the name can name files, units and metrics."""
    if not INSTANCE_NAME.match(name):
        raise WalgError(
            f"Instance name {name!r} is not allowed: it is part of file names, so use small letters, digits, '-' and '_'."
        )


_CLUSTER_KEYS = {
    "DATA_DIR": "data_dir",
    "PG_BIN_DIR": "bin_dir",
    "PG_SOCKET_DIR": "socket_dir",
    "PG_PORT": "port",
    "PG_ROLE": "user",
    "OS_USER": "os_user",
    "PG_SERVICE": "service",
    "PG_START_OPTIONS": "start_options",
    "SYSTEM_IDENTIFIER": "system_identifier",
}
#: Keys that a record of an older version lacks, and what they mean then is the field's default.
_LATER_KEYS = {
    "PG_CONFIG_FILE": "config_file",
    "PG_DATABASE": "database",
    "PG_UNTESTED": "pg_untested",
    "PG_START_DIR": "start_dir",
    "PG_START_ENVIRONMENT": "start_environment",
}
_CREDENTIALS = ("PGPASSWORD", "PGPASSFILE", "PGSSLMODE", "PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT")
ENVIRONMENT = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
_CONTAINER_KEYS = {"MACHINE": "machine", "WRITER": "writer", "OWNER_PLACE": "owner_place"}
_INSTANCE_KEYS = {
    "WALG_INSTANCE": "name",
    "CONFIG_DIR": "config_dir",
    "STATE_DIR": "state_dir",
    "LOG_DIR": "log_dir",
    "PROGRAM_DIR": "program_dir",
    "WALG_BINARY": "binary",
    "STORAGE": "storage",
    "PUSH_TIMEOUT": "push_timeout",
    "FETCH_TIMEOUT": "fetch_timeout",
    "BACKUP_TIMEOUT": "backup_timeout",
}


def render(instance: Instance) -> str:
    """Return the record's text."""
    pairs = {key: getattr(instance, name) for key, name in _INSTANCE_KEYS.items()}
    pairs.update({key: getattr(instance.cluster, name) for key, name in {**_CLUSTER_KEYS, **_LATER_KEYS}.items()})
    pairs["WALG_CONFIG"] = instance.settings_file
    # Where credentials are looked for that no setting names. A server keeps the HOME of whoever started it, root's for instance.
    with contextlib.suppress(WalgError):
        pairs["HOME"] = instance.owner.home
    pairs.update({key: getattr(instance, name) for key, name in _CONTAINER_KEYS.items() if instance.writer})
    pairs.update({key: instance.environment[key] for key in ENVIRONMENT if key in instance.environment})
    for key, value in pairs.items():
        if any(ord(char) < 32 for char in str(value)):
            raise WalgError(f"A control character in {key}: {str(value)!r}.")
    lines = [f"{key}={_quoted(str(value))}" for key, value in sorted(pairs.items())]
    return "\n".join(["# Managed by the Ansible collection mapswipe.walg; holds no secret.", *lines, ""])


def parse(text: str, path: str) -> Instance:
    """Read a record. Raises WalgError when it is not one."""
    pairs = {}
    try:
        for line in text.split("\n"):
            if line and not line.startswith("#"):
                key, _equals, value = line.partition("=")
                words = shlex.split(value)
                pairs[key] = words[0] if words else ""
        known: dict[str, Any] = {name: pairs[key] for key, name in _CLUSTER_KEYS.items()}
        known.update({name: pairs[key] for key, name in _LATER_KEYS.items() if key in pairs})
        cluster = Cluster(**known)
        values: dict[str, Any] = {name: pairs[key] for key, name in _INSTANCE_KEYS.items()}
        for number in ("push_timeout", "fetch_timeout", "backup_timeout"):
            values[number] = int(values[number])
    except KeyError as exc:
        raise WalgError(
            f"{path} lacks {exc.args[0]}: it is not a record of this version; run the role mapswipe.walg.walg."
        ) from exc
    except ValueError as exc:
        raise WalgError(f"{path} is damaged ({exc}): run the role mapswipe.walg.walg.") from exc
    values.update({name: pairs[key] for key, name in _CONTAINER_KEYS.items() if key in pairs})
    values["environment"] = {key: pairs[key] for key in ENVIRONMENT if key in pairs}
    return Instance(cluster=cluster, **values)


def load(config_dir: str, name: str) -> Instance | None:
    """Return the recorded instance, or None if it was never configured here."""
    check_name(name)
    path = record_path(config_dir, name)
    text = read_text(path)
    if text is None:
        return None
    _trust.refuse_loose(path, "The instance's record")
    return _with_credentials(parse(text, path))


def credentials(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what among WAL-G's settings lets a session of psql in as well."""
    return {name: str(settings[name]) for name in _CREDENTIALS if settings.get(name) not in (None, "")}


def _with_credentials(instance: Instance) -> Instance:
    try:
        found = credentials(json.loads(read_text(instance.settings_file) or "{}"))
    except (WalgError, ValueError, AttributeError):  # closed to us, or damaged: who reads it for itself says so
        return instance
    return replace(instance, cluster=replace(instance.cluster, credentials=found))


def require(config_dir: str, name: str) -> Instance:
    """Return the recorded instance or raise WalgError."""
    found = load(config_dir, name)
    if found is None:
        raise WalgError(
            f"The instance {name!r} is not configured: there is no {record_path(config_dir, name)}. "
            "Run the role mapswipe.walg.walg (or the module walg_config) first; in a play with --tags, name walg_configure, too."
        )
    return found


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\"'\"'") + "'"
