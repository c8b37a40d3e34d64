# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: the settings file and the record of an instance, and its directories. Plan first."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from .._archive import _ownership, _storage_move
from .._errors import WalgError
from .._host import _facts, _scratch
from .._host._files import FilePlan, owned, parent, read_text, sweep
from .._host._process import Runner
from .._host._users import User, call_as
from .._instance import _directories, _record
from .._instance._record import Instance
from .._postgres import _whose
from .._postgres._cluster import Cluster
from .._storage import _google, _url
from .._walg import _backups, _client, _owner_seen, _segment_size, _settings, _tuning
from .._walg._setting_names import CLUSTER
from .._walg._settings import Settings
from . import _encryption_check, _given

_DIRECTORIES = ("config_dir", "state_dir", "log_dir", "program_dir")
_CLUSTER = ("data_dir", "bin_dir", "socket_dir")


@dataclass(frozen=True)
class Candidate:
    """An instance with settings that are asked for, whether or not they are on the host. ``credentials``: content of a Google key file.

    ``segment_size``: in bytes, as the cluster or its archive says; 0 where neither could be asked.
    """

    instance: Instance
    settings: Settings
    credentials: str
    segment_size: int = 0

    @property
    def credentials_file(self) -> str:
        return _record.credentials_path(self.instance.config_dir, self.instance.name)

    def in_force(self) -> bool:
        """Say whether the host has these very settings, for the same storage and network."""
        known = _record.load(self.instance.config_dir, self.instance.name)
        return (
            known is not None
            and (known.storage, known.environment) == (self.instance.storage, self.instance.environment)
            and read_text(self.instance.settings_file) == self.settings.rendered()
            and (not self.credentials or read_text(self.credentials_file) == self.credentials)
        )

    def refuse_credentials(self, version: tuple[int, int, int] | None = None) -> None:
        """Raise WalgError unless WAL-G of ``version`` (None: any) can load the Google credentials that are named, if any are."""
        path = self.settings.values.get(_google.SETTING)
        if self.credentials:
            _google.check(self.credentials, "walg_google_credentials", version)
        elif path:
            _google.check(_readable(path, self.instance.owner), path, version)

    @contextlib.contextmanager
    def walg(self, runner: Runner, binary: str, timeout: float) -> Iterator[_client.Walg]:
        """Yield WAL-G with these settings, from private files without a name. To be called as the cluster's owner."""
        instance, settings = self.instance, self.settings
        _owner_seen.refuse_unmounted(instance.owner, instance.state_dir, instance.storage)
        with _scratch.opened() as scratch:
            if self.credentials:
                settings = settings.replaced({_google.SETTING: scratch.unnamed(self.credentials)})
            config = scratch.linked(f"{instance.name}.json", settings.rendered())
            owner, at, network = instance.owner, instance.storage, instance.environment
            yield _client.Walg(runner, binary, config, owner, at, network, timeout, scratch.descriptors)


def _readable(path: str, owner: User) -> str:
    """Return a credentials file's text as the user reads it who runs WAL-G."""
    try:
        text = call_as(owner, read_text, path)
    except WalgError as exc:
        raise WalgError(
            f"The Google credentials file {path} can't be read by the user {owner.name!r}, as whom PostgreSQL runs WAL-G: {exc.msg} "
            f"Give it to that user (chown {owner.name}, chmod 0600) and open the directories above it, or put its content into "
            "walg_google_credentials.",
            problem="not_readable",
        ) from exc
    if text is None:
        raise MissingCredentialsError(
            f"There is no Google credentials file {path} on this host. Put it there, readable by the user {owner.name!r} only, or "
            "put its content into walg_google_credentials.",
            problem="not_readable",
        )
    return str(text)


class MissingCredentialsError(WalgError):
    """The file is not there; in check mode an earlier task may be about to bring it."""


@dataclass(frozen=True)
class ConfigPlan:
    """Directories first, then secret files, then the record that makes them known."""

    candidate: Candidate
    record: str
    hidden: frozenset[str]  # names given as secrets
    plans: list[FilePlan]
    moves: bool  # WAL goes to another place than before, or an earlier run died while it changed that

    @property
    def instance(self) -> Instance:
        return self.candidate.instance

    @property
    def changed(self) -> bool:
        return self.moves or any(plan.differs() for plan in self.plans)

    def apply(self, runner: Runner) -> None:
        """Make the directories, try new settings on the storage, then write what differs."""
        sweep(self.instance.config_dir)
        changed = [plan for plan in self.plans if plan.differs()]
        for plan in changed:
            if plan.content is None:
                plan.apply()
        if self.moves or any(plan.path == self.instance.settings_file for plan in changed):
            self._try(runner)
        files = [plan for plan in changed if plan.content is not None]
        if self.moves:
            self._move(files)
        else:
            for plan in files:
                plan.apply()

    def _move(self, files: list[FilePlan]) -> None:
        before = read_text(self.instance.settings_file)
        resumed = _storage_move.unfinished(self.instance)
        with _storage_move.moving(self.instance):
            try:
                for plan in files:
                    plan.apply()
            except WalgError:
                if not resumed and read_text(self.instance.settings_file) == before:
                    _storage_move.lift(self.instance)
                raise

    def _try(self, runner: Runner) -> None:
        """List the storage with the new settings, from files of their own: a running archive keeps its old ones.

        Raises WalgError when the storage does not answer, or is the archive of another cluster.
        """
        self.candidate.refuse_credentials()
        call_as(self.instance.owner, self._list, runner)

    def _list(self, runner: Runner) -> None:
        instance = self.instance
        _encryption_check.check(runner, self.candidate.settings, instance.binary, instance.environment)
        with self.candidate.walg(runner, instance.binary, _client.ASK_TIMEOUT) as walg:
            found = walg.backups()
            if instance.cluster.system_identifier:
                _backups.refuse_foreign(found, instance.cluster.system_identifier, instance.storage)
                _ownership.refuse_other_cluster(walg, instance.cluster.system_identifier)

    def diff(self) -> list[dict[str, str]]:
        """Before and after of both files; secrets are placeholders."""
        settings_file, record_file = self.instance.settings_file, self.instance.record_file
        before, after = _settings.masked_pair(
            Settings.read(read_text(settings_file)), self.candidate.settings, self.hidden
        )
        known = read_text(record_file)
        return [
            {
                "before_header": settings_file,
                "after_header": settings_file,
                "before": _shown(before),
                "after": _shown(after),
            },
            {"before_header": record_file, "after_header": record_file, "before": known or "", "after": self.record},
        ]


def _shown(values: Mapping[str, str]) -> str:
    return json.dumps(values, indent=2, sort_keys=True) + "\n" if values else ""


def candidate(params: Mapping[str, Any], archived_size: int = 0) -> Candidate:
    """Return the settings that the options mean. Raises WalgError without ever naming a secret's value.

    ``archived_size``: bytes of a segment by the archive, where there is no cluster (yet) that knows.
    """
    judged = _given.judge(params)
    given, secrets = judged.settings, judged.secrets
    instance = _make(params, _settings.environment_of(given))
    storage = _url.storage_settings(params["storage"])
    tuned = {}
    if params.get("tune"):
        kind = _url.kind(storage)
        tuned = _tuning.defaults(_facts.cores(), _facts.memory_mib(), kind, [*given, *secrets])
    size = _size(instance, given, archived_size)
    instance = _with_patience(instance, size)
    _refuse_other_server(_connection(instance), {**given, **secrets})
    settings = {**_connection(instance), **_segment_size.setting(size), **storage, **tuned, **given}
    credentials = judged.credentials
    if credentials:
        credentials = credentials if credentials.endswith("\n") else credentials + "\n"
        settings[_google.SETTING] = _record.credentials_path(instance.config_dir, instance.name)
    _url.kind({**settings, **secrets})  # none or several storages are rejected, under WAL-E's names too
    return Candidate(instance, Settings.of(settings, secrets), credentials, size)


def _refuse_other_server(own: Mapping[str, str], given: Mapping[str, Any]) -> None:
    """Raise WalgError where WAL-G would back up another server than the one that everything else here is about."""
    for name, option in CLUSTER.items():
        wanted = str(given.get(name, own[name]))
        if wanted.rstrip("/") != own[name].rstrip("/"):
            raise WalgError(
                f"{name} in walg_settings is not the instance's own ({own[name]}), so WAL-G would back up another server than the one that "
                f"is archived and checked. Leave it out, and set {option}.",
                found=name,
                wanted=own[name],
            )


def _size(instance: Instance, given: Mapping[str, Any], archived: int) -> int:
    """Return the bytes of a segment, by the cluster, else by its archive. A setting that says otherwise is rejected."""
    _segment_size.of_settings(given)
    own = _segment_size.of_cluster(instance)
    source = (
        f"the cluster in {instance.cluster.data_dir}"
        if own
        else f"the cluster whose base backups are in {instance.storage}"
    )
    _segment_size.refuse_other(given, own or archived, source)
    return own or archived


def _with_patience(instance: Instance, size: int) -> Instance:
    """Return the instance with longer limits where its segments are large: PostgreSQL's are for those of every day."""
    times = _segment_size.patience(size)
    return replace(instance, push_timeout=instance.push_timeout * times, fetch_timeout=instance.fetch_timeout * times)


def _of_archive(runner: Runner, wanted: Candidate) -> int:
    """Return the bytes of a segment by the base backups in the storage; 0 if it holds none, or does not answer: another step says that."""
    instance = wanted.instance
    if not os.path.exists(instance.binary):
        return 0

    def ask() -> int:
        with wanted.walg(runner, instance.binary, _client.ASK_TIMEOUT) as walg:
            listed = walg.backups() if walg.may_hold_backups() else []
        own = instance.cluster.system_identifier
        return _segment_size.of_backups(one for one in listed if own in ("", one.system_identifier))

    try:
        return int(call_as(instance.owner, ask))
    except WalgError:
        return 0


def configured(instance: Instance) -> Candidate:
    """Return the settings that are on the host."""
    rendered = read_text(instance.settings_file)
    if rendered is None:
        raise WalgError(f"There is no {instance.settings_file}: run the role mapswipe.walg.walg first.")
    return Candidate(instance, Settings.read(rendered), "")


def plan(params: Mapping[str, Any], runner: Runner | None = None) -> ConfigPlan:
    """Build the plan from the module's options. Raises WalgError without ever naming a secret's value.

    Without a ``runner`` the storage is not asked.
    """
    _directories.refuse_loose(params["directories"])
    wanted = candidate(params)
    _whose.refuse_other(wanted.instance.cluster)
    if not wanted.segment_size and runner is not None:
        archived = _of_archive(runner, wanted)
        wanted = candidate(params, archived) if archived else wanted
    instance = wanted.instance
    owner, me = instance.owner, User.current()
    record = _record.render(_ownership.known_to_wrapper(instance, wanted.settings.values))
    files = [owned(wanted.credentials_file, wanted.credentials, 0o600, owner)] if wanted.credentials else []
    plans = [
        parent(instance.config_dir, me),
        parent(os.path.dirname(instance.state_dir), me),
        owned(instance.state_dir, None, 0o751, owner),
        parent(os.path.dirname(instance.log_dir), me),
        owned(instance.log_dir, None, 0o750, owner),
        *files,
        owned(instance.settings_file, wanted.settings.rendered(), 0o600, owner),
        owned(instance.record_file, record, 0o644, me),
    ]
    before = read_text(instance.settings_file)
    moves = before is not None and Settings.read(before).destination() != wanted.settings.destination()
    hidden = frozenset(params["secrets"] or {})
    return ConfigPlan(wanted, record, hidden, plans, moves or _storage_move.unfinished(instance))


def _make(params: Mapping[str, Any], environment: dict[str, str]) -> Instance:
    _record.check_name(params["instance"])
    directories, cluster = _dict(params, "directories", _DIRECTORIES), _dict(params, "cluster", _CLUSTER)
    names = {one.name for one in fields(Cluster)} - {"credentials"}
    known: dict[str, Any] = {key: str(value) for key, value in cluster.items() if key in names}
    return Instance(
        name=params["instance"],
        config_dir=directories["config_dir"],
        state_dir=directories["state_dir"],
        log_dir=directories["log_dir"],
        program_dir=directories["program_dir"],
        binary=params["binary"],
        storage=params["storage"],
        cluster=Cluster(**known),
        environment=environment,
        **{name: params[name] for name in ("push_timeout", "fetch_timeout", "backup_timeout") if name in params},
    )


def _dict(params: Mapping[str, Any], name: str, wanted: Sequence[str]) -> Mapping[str, Any]:
    """Return an option that is handed on from walg_instance_info. Raises WalgError where something of it is missing."""
    given = params[name] or {}
    missing = [key for key in wanted if not given.get(key)]
    if missing:
        raise WalgError(
            f"The option {name} lacks {', '.join(missing)}: hand on what walg_instance_info returns as {name}."
        )
    return dict(given)


def _connection(instance: Instance) -> dict[str, str]:
    """How WAL-G reaches the server, and what protects the archive. PGHOST is the socket's directory, never its file."""
    cluster = instance.cluster
    return {
        "PGHOST": cluster.socket_dir,
        "PGPORT": cluster.port,
        "PGUSER": cluster.user,
        "PGDATABASE": cluster.database,
        "PGDATA": cluster.data_dir,
        "WALG_PREVENT_WAL_OVERWRITE": "true",
    }
