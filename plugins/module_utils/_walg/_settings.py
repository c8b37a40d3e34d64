# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on WAL-G's settings: which names there are, which are secret, what file they make.

A WAL-G binary only warns about a name that it doesn't know and continues without it; here it is rejected. No message of
this file holds a value: a secret can stand under a wrong name.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._errors import WalgError
from .._host import _addresses
from ._setting_names import CANONICAL, ENVIRONMENT, KNOWN, MULTILINE, PATHS, PLACE, REFUSED, SECRET

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: Stand for values that are not shown; of one length, whatever they hide.
HIDDEN = "(secret)"
HIDDEN_CHANGED = "(secret, changed)"
REMOVED = "(removed)"

#: DEVEL prints settings in clear, and any other word makes every command end with an error, archive_command included.
_LOG_LEVELS = ("NORMAL", "ERROR")


def canonical(name: str) -> str:
    """Return the name that stands for all of a setting's aliases (WALG_S3_SSE and WALE_S3_SSE: S3_SSE)."""
    return CANONICAL.get(name, name)


def is_secret(name: str) -> bool:
    """Say whether a setting's value is a secret. The path of a file that holds one is not."""
    return name in SECRET


def check_settings(settings: Mapping[str, object], secrets: Mapping[str, object]) -> None:
    """Raise WalgError unless WAL-G would take all of these as they are meant.

    Names are known, not given twice, and secret ones stand in ``secrets``, which may hold others too. Values are plain
    and not empty.
    """
    seen: dict[str, tuple[str, str]] = {}
    for where, given in (("walg_settings", settings), ("walg_secrets", secrets)):
        for name, value in given.items():
            _check_name(name, where)
            if canonical(name) in seen:
                twin, there = seen[canonical(name)]
                raise WalgError(
                    f"{name} in {where} is the same setting as {twin} in {there}. WAL-G would silently use one of "
                    "them; remove one.",
                    found=[twin, name],
                )
            seen[canonical(name)] = (name, where)
            if where == "walg_settings" and is_secret(name):
                raise WalgError(f"{name} is secret: put it into walg_secrets, not into walg_settings.", found=name)
            text = _text(name, value, where)
            if name in PATHS and not text.startswith("/"):
                raise WalgError(f"{name} in {where} must be an absolute path on the managed host.", found=name)
            if where == "walg_settings" and _holds_credentials(name, text):
                raise WalgError(
                    f"{name} in walg_settings seems to hold a user, a password or a token in an address: put it into walg_secrets.",
                    found=name,
                )


@dataclass(frozen=True)
class Settings:
    """Settings for WAL-G's settings file: ``values`` by name. What environment_of() takes is not among them."""

    values: Mapping[str, str]

    @classmethod
    def of(cls, settings: Mapping[str, object], secrets: Mapping[str, object]) -> Settings:
        """Return settings that WAL-G takes as they are meant, all values as text. Raises WalgError as check_settings."""
        check_settings(settings, secrets)
        given = [(name, value, "walg_settings") for name, value in settings.items() if name not in ENVIRONMENT]
        given += [(name, value, "walg_secrets") for name, value in secrets.items()]
        return cls({name: _text(name, value, where) for name, value, where in given})

    @classmethod
    def read(cls, text: str | None) -> Settings:
        """Read a settings file, whoever wrote it; None is no file. What has another form becomes one unknown name, which is hidden."""
        if text is None:
            return cls({})
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            return cls({"(not a settings file)": text})
        return cls({name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()})

    def rendered(self) -> str:
        """Return the text of WAL-G's settings file: JSON, sorted, all values strings."""
        return json.dumps(dict(self.values), indent=2, sort_keys=True) + "\n"

    def replaced(self, values: Mapping[str, str]) -> Settings:
        """Return the settings with other values for some names."""
        return replace(self, values={**self.values, **values})

    def destination(self) -> dict[str, str]:
        """Return what says where WAL goes; another destination has none of the segments sent so far."""
        return {canonical(name): value for name, value in self.values.items() if canonical(name) in PLACE}

    def secrets(self) -> list[str]:
        """Return the values that must be hidden in what a program says."""
        return [value for name, value in self.values.items() if not may_show(name, value)]

    def masked(self, hidden: Collection[str] = ()) -> dict[str, str]:
        """Return what may be shown: values of ordinary settings; HIDDEN for all others.

        ``hidden``: names that were given as secrets though they are ordinary.
        """
        return {name: value if may_show(name, value, hidden) else HIDDEN for name, value in self.values.items()}


def environment_of(settings: Mapping[str, object]) -> dict[str, str]:
    """Return the variables that Go's network code reads, among settings of a play, for WAL-G's environment. Raises WalgError.

    In the settings file they would work too, at the price of a line "... is unknown" on stderr at every call. Those given as
    secrets stay in the file: an environment can be seen by others in the process list of a wrapper.
    """
    return {name: _text(name, settings[name], "walg_settings") for name in sorted(settings) if name in ENVIRONMENT}


def digest(rendered: str) -> str:
    """Return the SHA-256 of a settings file's text, in hex."""
    return hashlib.sha256(rendered.encode("utf-8")).hexdigest()


def masked_pair(
    before: Settings, after: Settings, hidden: Collection[str] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """Return what may be shown of two states, for a diff. A changed secret differs, without its value.

    What is gone in ``after`` shows as REMOVED: nobody knows any more whether it had been given as a secret.
    """
    shown_old, shown_new = before.masked(hidden), after.masked(hidden)
    for name, old in before.values.items():
        if name not in after.values:
            shown_old[name] = REMOVED
        elif old != after.values[name] and shown_new[name] == HIDDEN:
            shown_old[name], shown_new[name] = HIDDEN, HIDDEN_CHANGED
    return shown_old, shown_new


def _check_name(name: str, where: str) -> None:
    if name in REFUSED:
        raise WalgError(f"{name} in {where} is not allowed: {REFUSED[name]}.", found=name)
    if name in KNOWN:
        return
    near = next(iter(difflib.get_close_matches(name.upper(), sorted(KNOWN), 1)), "")
    hint = f" Did you mean {near}?" if near else " See the settings of WAL-G for PostgreSQL in its documentation."
    raise WalgError(f"{name} in {where} is not a setting of WAL-G for PostgreSQL.{hint}", found=name, wanted=near)


def _text(name: str, value: object, where: str) -> str:
    """Return a value as WAL-G wants it. Only text: up to 2.0.1 it passes nothing else on to its libraries."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, (str, int)):
        text = str(value)
    elif isinstance(value, float) and math.isfinite(value):
        # WAL-G reads sizes and limits as integers: 1e9 in YAML is a float.
        text = str(int(value)) if value.is_integer() else repr(value)
    else:
        msg = f"{name} in {where} must be text, a number or a boolean; it is {_type_name(value)}."
        raise WalgError(msg, found=name)
    if not text.strip():
        raise WalgError(f"{name} in {where} is empty: leave it out, or give it a value.", found=name)
    allowed = "\n\r\t" if name in MULTILINE else ""
    if any(unicodedata.category(char) in ("Cc", "Cs") and char not in allowed for char in text):
        raise WalgError(
            f"{name} in {where} holds a line break or another control character (a file read with its last newline?).",
            found=name,
        )
    to_s3_log = canonical(name) == "S3_LOG_LEVEL" and text == "DEVEL"
    if to_s3_log or (name == "WALG_LOG_LEVEL" and text not in _LOG_LEVELS):
        raise WalgError(
            f"The value of {name} in {where} is not allowed. Expected: {' or '.join(_LOG_LEVELS)} (ERROR from WAL-G 3.0.0). "
            "DEVEL would write credentials to the log, and with any other word WAL-G does not start.",
            found=name,
            wanted=list(_LOG_LEVELS),
        )
    return text


def _holds_credentials(name: str, value: str) -> bool:
    """Of the address of a proxy, which may come without a scheme, an @ is enough."""
    return _addresses.holds_credentials(value) or (name in ENVIRONMENT and "@" in value)


def _type_name(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return "not a finite number"
    return {"dict": "a map", "list": "a list"}.get(type(value).__name__, f"of the type {type(value).__name__}")


def may_show(name: str, value: str, hidden: Collection[str] = ()) -> bool:
    """Say whether a setting's value need not be hidden: an ordinary one, without credentials in an address."""
    if name not in KNOWN or name in SECRET or "@" in value or _holds_credentials(name, value):
        return False
    return canonical(name) not in {canonical(other) for other in hidden}
