# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a play gives of WAL-G's settings, judged at once: before a cluster is looked for, and before anything is changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import WalgError
from .._host import _inside
from .._postgres import _service
from .._storage import _google, _url
from .._walg import _encryption, _settings
from . import _env_file

_PORTS = 65536


@dataclass(frozen=True)
class Given:
    """Settings and secrets without what the storage's URL says already. ``credentials``: the text of a Google key file, or ""."""

    settings: Mapping[str, object]
    secrets: Mapping[str, object]
    credentials: str


def complete(params: MutableMapping[str, Any], container: Callable[[], Mapping[str, str]] | None = None) -> None:
    """Add to the options what they say in WAL-G's own words: the settings of ``env_file``, and the storage that a prefix names.

    What the play gives overrides the file, but not with another storage. Where neither names one, the variables of the server's
    ``container`` may, for an image that ran WAL-G before. Raises WalgError, also where no storage is named at all.
    """
    settings = _dictionary(params.get("settings"), "walg_settings")
    secrets = _dictionary(params.get("secrets"), "walg_secrets")
    path = params.get("env_file")
    if path:
        given = {_settings.canonical(name) for name in (*settings, *secrets)}
        of_file: Sequence[Mapping[str, object]] = _env_file.read(path)
        if params.get("storage"):
            of_file = [_url.without_second(params["storage"], one, path) for one in of_file]
        kept = [{name: one[name] for name in one if _settings.canonical(name) not in given} for one in of_file]
        settings, secrets = {**kept[0], **settings}, {**kept[1], **secrets}
        params.update(settings=settings, secrets=secrets)
    if container and not params.get("storage") and not _url.prefixes_of({**settings, **secrets}):
        of_image = _env_file.known(container())
        settings, secrets = {**of_image[0], **settings}, {**of_image[1], **secrets}
        params.update(settings=settings, secrets=secrets)
    if not params.get("storage"):
        params["storage"] = _url.storage_of({**settings, **secrets})


def judge(params: Mapping[str, Any]) -> Given:
    """Return what the options ``storage``, ``settings``, ``secrets`` and ``google_credentials`` give.

    Raises WalgError, which never shows a value that may be a secret.
    """
    settings = _dictionary(params.get("settings"), "walg_settings")
    secrets = _dictionary(params.get("secrets"), "walg_secrets")
    _settings.check_settings(settings, secrets)
    _encryption.judge({**settings, **secrets})
    if params.get("storage"):
        settings = _url.without_second(params["storage"], settings)
        secrets = _url.without_second(params["storage"], secrets)
    credentials = _google.text_of(params.get("google_credentials"), "walg_google_credentials")
    if credentials:
        if _google.SETTING in settings or _google.SETTING in secrets:
            raise WalgError(
                f"Credentials are given twice: {_google.SETTING} in walg_settings and their content in walg_google_credentials."
            )
        _google.check(credentials, "walg_google_credentials")
    return Given(settings, secrets, credentials)


def judge_cluster(cluster: Mapping[str, Any]) -> None:
    """Raise WalgError for what is given of a cluster and can't be right on any host."""
    if cluster.get("service"):
        kind, _argument = _service.parse(str(cluster["service"]))
        if kind == "container" and not _inside.current():
            raise WalgError(
                "walg_pg_service: container is found, not given: name the container in walg_container or walg_compose."
            )
    port = str(cluster.get("port") or "")
    if port and not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < _PORTS):
        raise WalgError(f"walg_pg_port is {port[:80]!r}. Expected: a number from 1 to {_PORTS - 1}.", found=port[:80])


def _dictionary(value: object, name: str) -> Mapping[str, object]:
    if not value and not isinstance(value, (int, float)):
        return {}
    if not isinstance(value, Mapping):
        raise WalgError(f"{name} must be a dictionary of WAL-G settings by name.")
    return {str(key): one for key, one in value.items()}
