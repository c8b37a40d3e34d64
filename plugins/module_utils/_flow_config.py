# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow: the settings file and the record of an instance, and its directories. Plan first. Private to this collection."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from . import _backups, _flow_owner, _instance, _settings, _storage, _walg
from ._errors import WalgError
from ._files import FilePlan, owned, parent, read_text
from ._instance import Cluster, Instance
from ._process import Runner, User

_CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS"


@dataclass(frozen=True)
class ConfigPlan:
    """Directories first, then secret files, then the record that makes them known."""

    instance: Instance
    record: str
    rendered: str
    hidden: frozenset[str]  # names given as secrets
    plans: list[FilePlan]

    @property
    def changed(self) -> bool:
        return any(plan.differs() for plan in self.plans)

    def apply(self, runner: Runner) -> None:
        """Make the directories, try new settings on the storage, then write what differs."""
        changed = [plan for plan in self.plans if plan.differs()]
        for plan in changed:
            if plan.content is None:
                plan.apply()
        if any(plan.path == self.instance.settings_file for plan in changed):
            self._try(runner)
        for plan in changed:
            if plan.content is not None:
                plan.apply()

    def _try(self, runner: Runner) -> None:
        """List the storage with the new settings, from files beside the real ones: a running archive keeps its old ones.

        Raises WalgError when the storage does not answer, or is the archive of another cluster.
        """
        instance, owner = self.instance, self.instance.cluster.owner()
        directory, content = instance.config_dir, self.rendered
        candidates = []
        for plan in self.plans:
            if plan.path == _instance.credentials_path(directory, instance.name) and plan.content is not None:
                path = os.path.join(directory, f".{instance.name}.candidate.credentials.json")
                content = content.replace(json.dumps(plan.path), json.dumps(path))
                candidates.append(owned(path, plan.content, 0o600, owner))
        settings = os.path.join(directory, f".{instance.name}.candidate.json")
        candidates.append(owned(settings, content, 0o600, owner))
        try:
            for candidate in candidates:
                candidate.apply()
            walg = _walg.Walg(runner, instance.binary, settings, owner, instance.storage, instance.environment)
            found = walg.backups()
            if instance.cluster.system_identifier:
                _backups.refuse_foreign(found, instance.cluster.system_identifier, instance.storage)
                _flow_owner.refuse_other_cluster(walg, instance.cluster.system_identifier)
        finally:
            for candidate in candidates:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(candidate.path)

    def diff(self) -> list[dict[str, str]]:
        """Before and after of both files; secrets are placeholders."""
        settings_file, record_file = self.instance.settings_file, self.instance.record_file
        before, after = _settings.masked_pair(read_text(settings_file), self.rendered, self.hidden)
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


def plan(params: Mapping[str, Any]) -> ConfigPlan:
    """Build the plan from the module's options. Raises WalgError without ever naming a secret's value."""
    secrets = params["secrets"] or {}
    if not isinstance(secrets, Mapping):
        raise WalgError("walg_secrets has to be a dictionary of WAL-G settings by name.")
    given = params["settings"]
    instance = _make(params, _settings.environment(given, secrets))
    owner = instance.cluster.owner()
    settings = {**_connection(instance), **_storage.storage_settings(params["storage"]), **given}
    files: list[FilePlan] = []
    content = params["google_credentials"]
    if content:
        if _CREDENTIALS in given:
            raise WalgError(
                f"Credentials are given twice: {_CREDENTIALS} in walg_settings and their content in walg_google_credentials."
            )
        path = _instance.credentials_path(instance.config_dir, instance.name)
        files.append(owned(path, _checked_credentials(content), 0o600, owner))
        settings[_CREDENTIALS] = path
    _settings.exactly_one_prefix({**settings, **secrets})
    rendered = _settings.render(settings, secrets, environment_too=False)
    record = _instance.render(instance)
    me = User.current()
    plans = [
        parent(instance.config_dir, me),
        parent(os.path.dirname(instance.state_dir), me),
        owned(instance.state_dir, None, 0o750, owner),
        parent(os.path.dirname(instance.log_dir), me),
        owned(instance.log_dir, None, 0o750, owner),
        *files,
        owned(instance.settings_file, rendered, 0o600, owner),
        owned(instance.record_file, record, 0o644, me),
    ]
    return ConfigPlan(instance, record, rendered, frozenset(secrets), plans)


def _make(params: Mapping[str, Any], environment: dict[str, str]) -> Instance:
    _instance.check_name(params["instance"])
    directories = params["directories"]
    names = {one.name for one in fields(Cluster)}
    return Instance(
        name=params["instance"],
        config_dir=directories["config_dir"],
        state_dir=directories["state_dir"],
        log_dir=directories["log_dir"],
        program_dir=directories["program_dir"],
        binary=params["binary"],
        storage=params["storage"],
        cluster=Cluster(**{key: str(value) for key, value in params["cluster"].items() if key in names}),
        push_timeout=params["push_timeout"],
        fetch_timeout=params["fetch_timeout"],
        backup_timeout=params["backup_timeout"],
        environment=environment,
    )


def _connection(instance: Instance) -> dict[str, str]:
    """How WAL-G reaches the server, and what protects the archive. PGHOST is the socket's directory, never its file."""
    cluster = instance.cluster
    return {
        "PGHOST": cluster.socket_dir,
        "PGPORT": cluster.port,
        "PGUSER": cluster.user,
        "PGDATABASE": "postgres",
        "PGDATA": cluster.data_dir,
        "WALG_PREVENT_WAL_OVERWRITE": "true",
    }


def _checked_credentials(content: str) -> str:
    """Refuse what Google's libraries could not load; the message holds nothing of the content."""
    try:
        kind = json.loads(content).get("type")
    except (ValueError, AttributeError):
        raise WalgError("walg_google_credentials is not the JSON of a Google credentials file.") from None
    if not kind:
        raise WalgError("walg_google_credentials is JSON without a 'type': not a Google credentials file.")
    return content if content.endswith("\n") else content + "\n"
