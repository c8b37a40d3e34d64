# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a restore, judged at once and without a look at the host: for the module, and before a role changes anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import WalgError
from .._host import _trust
from .._postgres import _conninfo, _targets, _wal
from .._postgres._targets import Target
from . import _recovery_settings

_BACKUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_IDENTIFIER = re.compile(r"[0-9]{1,20}")


REQUEST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class RestoreOptions:
    """What was asked for. ``tablespaces``: old location or OID -> new location; ``overwrite``: the old cluster's system identifier."""

    request: str
    target: Target = field(default_factory=Target)
    action: str = "promote"
    timeline: int | None = None
    backup: str = ""
    standby: bool = False
    primary_conninfo: str = ""
    tablespaces: Mapping[str, str] = field(default_factory=dict)
    wal_dir: str = ""
    stop_running: bool = False
    overwrite: str = ""
    other_cluster: str = ""  # system identifier of one that is in the place of the cluster to restore
    archive: str = "resume"
    other_host_allowed: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)  # PostgreSQL's, that override the cluster's own
    links: Mapping[str, str] = field(default_factory=dict)  # what links in the data directory lead to; empty: no link
    check_start: bool = True
    take_over: str = ""  # the archive's writer that the restored cluster replaces, see _owner


def check_request(request: str) -> None:
    """Raise WalgError unless the request can name a directory."""
    if not REQUEST.fullmatch(request):
        raise WalgError(
            f"Restore request {request!r} is not allowed: use letters, digits, '.', '_' and '-', at most 64. It is part of directory names."
        )


def from_params(params: Mapping[str, Any]) -> RestoreOptions:
    """Return what is asked for. Raises WalgError for what can't be meant."""
    check_request(params["request"])
    target = _targets.from_options(params)
    action, standby = params.get("action") or "promote", bool(params.get("standby"))
    _targets.check_action(action, target, standby)
    _conninfo.judge(params.get("primary_conninfo") or "", "walg_restore_primary_conninfo")
    return RestoreOptions(
        request=params["request"],
        target=target,
        action=action,
        timeline=_timeline(params.get("timeline")),
        backup=_matching(
            params.get("backup"), "backup", _BACKUP, "the name of a base backup, such as base_000000010000000000000002"
        ),
        standby=standby,
        primary_conninfo=params.get("primary_conninfo") or "",
        tablespaces=_places(params.get("tablespaces"), "walg_restore_tablespaces"),
        wal_dir=_place(params.get("wal_dir"), "walg_restore_wal_dir"),
        links=_links(params.get("links")),
        check_start=params.get("check_start", True),
        stop_running=params.get("stop_running", False),
        overwrite=_matching(
            params.get("overwrite"), "overwrite", _IDENTIFIER, "the system identifier of the old cluster, a number"
        ),
        other_cluster=_matching(
            params.get("other_cluster"),
            "other_cluster",
            _IDENTIFIER,
            "the system identifier of the cluster that is there, a number",
        ),
        archive=params.get("archive") or "resume",
        other_host_allowed=params.get("allow_other_collation", False),
        settings=_recovery_settings.wished(_mapping(params.get("settings"), "walg_restore_settings")),
        take_over=params.get("take_over") or "",
    )


def _timeline(value: Any) -> int | None:
    text = str(value or 0).strip()
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) > _wal.LAST_TIMELINE:
        raise WalgError(
            f"walg_restore_timeline is {text[:80]!r}, and no timeline has that number: they begin at 1.",
            found=text[:80],
        )
    return int(text) or None


def _matching(value: Any, name: str, pattern: re.Pattern[str], wanted: str) -> str:
    text = str(value or "")
    if text and not pattern.fullmatch(text):
        raise WalgError(f"walg_restore_{name} is {text[:80]!r}. Expected: {wanted}.", found=text[:80])
    return text


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not value:
        return {}
    if not isinstance(value, Mapping):
        raise WalgError(f"{name} must be a dictionary.")
    return {str(key): one for key, one in value.items()}


def _place(value: Any, name: str) -> str:
    path = "" if value is None else str(value)
    if path:
        _trust.refuse_unplain(path, name)
    return path


def _places(value: Any, name: str) -> dict[str, str]:
    """Return new places by what they replace, neither of which may be left out."""
    found = {key: _place(one, f"{name}: the new place of {key!r}") for key, one in _mapping(value, name).items()}
    for key, path in found.items():
        if not path or not (_IDENTIFIER.fullmatch(key) or key.startswith("/")):
            raise WalgError(
                f"{name} has the entry {key!r}: {path!r}. Expected: the old location or the OID of a tablespace, and its new location."
            )
    return found


def _links(value: Any) -> dict[str, str]:
    """Return where links lead; an empty target leaves one out."""
    name = "walg_restore_links"
    found = {key: "" if one is None else str(one) for key, one in _mapping(value, name).items()}
    for key in found:
        if not key or key.startswith("/") or ".." in key.split("/"):
            raise WalgError(
                f"{name} has the entry {key!r}. Expected: the path of a link within the data directory.", found=key
            )
    return found
