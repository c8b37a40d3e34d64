# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options judged on no host in particular, and the instance that they mean."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._errors import WalgError
from .._host import _trust
from . import _record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Options whose text has lines, or that are judged elsewhere: WAL-G's settings by the rule that knows them.
_OTHERWISE_JUDGED = ("settings", "secrets", "google_credentials")
#: Options that are paths, and what messages call them. They are not expanded: nobody asks for what ~ and $HOME are to whoever runs this.
_PATHS = {
    "bin_dir": "walg_bin_dir",
    "binary": "walg_binary_path",
    "binary_src": "walg_binary_src",
    "ca_path": "walg_binary_mirror_ca",
    "config_dir": "walg_config_dir",
    "cron_dir": "walg_cron_dir",
    "data_dir": "walg_pg_data_dir",
    "env_file": "walg_env_file",
    "kit_dir": "walg_kit_dir",
    "log_dir": "walg_log_dir",
    "mirror_ca": "walg_binary_mirror_ca",
    "path": "The option path",
    "program_dir": "walg_program_dir",
    "project_dir": "project_dir in walg_compose",
    "src": "walg_binary_src",
    "state_dir": "walg_state_dir",
    "wal_dir": "walg_restore_wal_dir",
}
#: Limits in seconds and numbers of things, and the least that each may be. None is so large that a clock could not hold it.
_LEAST = {
    "backup_timeout": 1,
    "download_timeout": 1,
    "fetch_stall_timeout": 0,
    "fetch_timeout": 1,
    "keep": 0,
    "push_timeout": 1,
    "recovery_timeout": 1,
    "stop_grace": 10,
    "storage_timeout": 1,
    "timeout": 0,
}
#: Between the roles and the modules of this collection alone: no option, since it says nothing that a play could mean.
PLANNED = "MAPSWIPE_WALG_PLANNED"
_MOST = 10**9
_LIMITED = ("archive", "restore")
_GROUPS = ("compose", "directories")
_SECRET = ("url_password", "mirror_password", "primary_conninfo", "mirror", "storage", "restore")


def refuse_unprintable(params: Mapping[str, Any]) -> None:
    """Raise WalgError for a control character in an option: no path, name or address has one."""
    for name, value in params.items():
        for text in [] if name in _OTHERWISE_JUDGED else _texts(value):
            if any(unicodedata.category(char) in ("Cc", "Cs") for char in text):
                shown = "" if name in _SECRET else f": {text!r}"
                raise WalgError(f"The option {name} holds a line break or another control character{shown}.")


def judge(params: Mapping[str, Any], **least: int) -> None:
    """Raise WalgError for options that can't be right on any host: control characters, paths that are not whole, limits.

    ``least``: of a limit that another module takes a smaller one of.
    """
    refuse_unprintable(params)
    for name, value in _paths(params):
        _trust.refuse_unplain(value, name)
    for name, number in _numbers(params):
        lowest = least.get(name, _LEAST[name])
        if not lowest <= number <= _MOST:
            raise WalgError(
                f"The option {name} is {number}. Expected: a whole number from {lowest} to {_MOST}.", found=number
            )


def _paths(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the options that are paths and given, with what messages call them, also those within another option."""
    for name, value in params.items():
        if name in _PATHS and isinstance(value, str) and value:
            yield _PATHS[name], value
        elif name == "cluster" and isinstance(value, dict):
            yield from ((f"walg_pg_{key}", str(value[key])) for key in ("data_dir", "bin_dir") if value.get(key))
        elif name in _GROUPS and isinstance(value, dict):
            yield from _paths(value)


def _numbers(params: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the options that are limits, also those within another option."""
    for name, value in params.items():
        if name in _LEAST and re.fullmatch("-?[0-9]{1,40}", str(value)):
            yield name, int(value)
        elif name in _LIMITED and isinstance(value, dict):
            yield from _numbers(value)


def _texts(value: object) -> Iterator[str]:
    """Yield the texts in an option, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _texts(key)
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def instance_from(params: Mapping[str, Any], check_mode: bool, **least: int) -> _record.Instance:
    """Return the instance that the options mean. ``least`` as in judge().

    In check mode a role hands on the record that it would have written by then, so that what follows can be planned.
    """
    judge(params, **least)
    name, config_dir = params["instance"], params["config_dir"]
    text = os.environ.get(PLANNED, "") if check_mode else ""
    found = _record.parse(text, "The record that is planned") if text else None
    if found and (found.name, found.config_dir) == (name, config_dir):
        return found
    return _record.require(config_dir, name)


def with_binary_at_hand(instance: _record.Instance) -> _record.Instance:
    """Return the instance with a WAL-G that can be asked. For check mode of a change of version, where the new one is not there yet.

    The WAL-G in force answers in its place; where none is either, the instance is returned as it is.
    """
    known = None if os.path.exists(instance.binary) else _record.load(instance.config_dir, instance.name)
    return replace(instance, binary=known.binary) if known and os.path.exists(known.binary) else instance


def settings_pending(instance: _record.Instance) -> bool:
    """Say whether the host has no settings for this storage yet, so that check mode can't ask it through them."""
    known = _record.load(instance.config_dir, instance.name)
    return known is None or known.storage != instance.storage or not os.path.exists(instance.settings_file)


def pending(instance: _record.Instance, *programs: str) -> list[str]:
    """Return what earlier tasks of a play make and what is not there yet: settings, WAL-G, and these programs of ours."""
    paths = [instance.binary, *(os.path.join(instance.program_dir, name) for name in programs)]
    settings = [instance.settings_file] if settings_pending(instance) else []
    return [*settings, *(path for path in paths if not os.path.exists(path))]
