# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL-G's settings in an env file of the host, such as the .env beside a compose file. Read by Docker Compose's rules."""

from __future__ import annotations

from collections.abc import Mapping

from .._errors import WalgError
from .._host import _dotenv, _trust
from .._host._files import read_text
from .._walg import _settings
from .._walg._setting_names import KNOWN, REFUSED


def read(path: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return ordinary and secret settings that WAL-G knows from the file; other names are left alone, as is what has no value.

    PostgreSQL's own variables are left alone too: there they mean how an application reaches its database.
    Raises WalgError, which never shows a value.
    """
    _trust.refuse_loose(path, "walg_env_file")
    text = read_text(path)
    if text is None:
        raise WalgError(f"There is no file {path} on this host (walg_env_file).")
    settings: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for entry in _dotenv.entries(text, path, KNOWN.__contains__):
        if not entry.value or entry.name.startswith("PG"):
            continue
        if entry.name in REFUSED:
            text = f"{entry.name} in {path}, line {entry.line}, is not allowed: {REFUSED[entry.name]}."
            raise WalgError(text, found=entry.name)
        if entry.name not in KNOWN:
            continue
        if entry.expands:
            raise WalgError(
                f"{entry.name} in {path}, line {entry.line}, holds a $, in whose place Compose puts another variable's value. Write the "
                "value out, or put it between single quotes if the $ is part of it.",
                found=entry.name,
            )
        shown = _settings.may_show(entry.name, entry.value)
        for other in (settings, secrets):
            other.pop(entry.name, None)  # the last one counts
        (settings if shown else secrets)[entry.name] = entry.value
    return settings, secrets


def known(variables: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return ordinary and secret settings that WAL-G knows among a container's variables, by the same rules."""
    given = {name: value for name, value in variables.items() if value and name in KNOWN and not name.startswith("PG")}
    settings = {name: value for name, value in given.items() if _settings.may_show(name, value)}
    return settings, {name: value for name, value in given.items() if name not in settings}
