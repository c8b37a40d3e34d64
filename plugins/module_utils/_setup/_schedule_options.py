# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of walg_schedule mean, judged on no host in particular, and all of them at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._backup import _schedule
from .._errors import WalgError
from .._instance._job_spec import BackupRule, Hooks, JobSpec, Retention, Verification
from . import _specs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MOST = 10**12
#: The least and the most of each number, by the names of the options.
_BOUNDS = {
    "jitter": (0, 86400),
    "nice": (0, 19),
    "check_minutes": (1, 60),
    "pressure_limit": (0, 10**18),
    "retention.days": (0, 36500),
    "retention.backups": (0, _MOST),
    "retention.weekly": (0, _MOST),
    "retention.monthly": (0, _MOST),
    "retention.minimum_backups": (1, _MOST),
    "retention.minimum_days": (0, 36500),
    "verify.days": (0, 36500),
    "verify.rate": (0, 10**18),
    "hooks.timeout": (1, 600),
}
_GROUPS = ("retention", "verify", "hooks")
_BOOLS = ("page_checksums", "heartbeat", "expire")
_ADDRESSES = ("webhook", "ping")


def secrets_of(given: object) -> Iterator[str]:
    """Yield the secrets in the options: whoever has such an address can send there."""
    hooks = given.get("hooks") if isinstance(given, dict) else None
    if isinstance(hooks, dict):
        yield from (str(hooks[name]) for name in _ADDRESSES if hooks.get(name))


def spec_of(given: Mapping[str, Any], instance: str, host: str) -> JobSpec:
    """Return what the options tell the job. Those that are missing have their defaults.

    Where they don't say the minute, it depends on ``host`` and instance. Raises WalgError that names everything that is wrong.
    """
    options, wrong = _whole(given)
    wrong += [*_wrong_numbers(options), *_wrong_choices(options), *_wrong_hooks(options["hooks"])]
    try:
        _schedule.judge(options["minute"], options["hour"], options["weekday"])
    except WalgError as exc:
        wrong.append(exc.msg)
    if wrong:
        raise WalgError(" ".join(wrong), found=wrong)
    numbers = {name: int(_at(options, name)) for name in _BOUNDS}
    rule = BackupRule(
        hour=str(options["hour"]),
        minute=str(options["minute"] or _schedule.spread(f"{host}/{instance}", 0)),
        weekday=str(options["weekday"]),
        source=options["source"],
        page_checksums=options["page_checksums"],
        jitter=numbers["jitter"],
        nice=numbers["nice"],
    )
    hooks = options["hooks"]
    return JobSpec(
        backup=rule,
        retention=Retention(**_within("retention", numbers)) if options["expire"] else None,
        verification=Verification(**_within("verify", numbers)),
        hooks=Hooks(tuple(hooks["failure_command"]), hooks["webhook"], hooks["ping"], numbers["hooks.timeout"]),
        check_minutes=numbers["check_minutes"],
        heartbeat=options["heartbeat"],
        wal_pressure=options["wal_pressure"],
        pressure_limit=numbers["pressure_limit"],
        metrics_dir=options["metrics_dir"],
    )


def _whole(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the options with their defaults, and what is said of names that are unknown and of values of the wrong kind."""
    spec, wrong = _specs.schedule_options(), []
    options, unknown = _filled(given, spec)
    for group in _GROUPS:
        told = options[group]
        if not isinstance(told, dict):
            wrong.append(f"The option {group} must be a dictionary.")
        options[group], more = _filled(told if isinstance(told, dict) else {}, spec[group]["options"])
        unknown += [f"{group}.{name}" for name in more]
    wrong += [f"The option {name} of the schedule is not known." for name in unknown]
    return options, wrong


def _filled(given: Mapping[str, Any], spec: _specs.Spec) -> tuple[dict[str, Any], list[str]]:
    defaults = {name: entry.get("default") for name, entry in spec.items()}
    told = {name: value for name, value in given.items() if name in spec and value is not None}
    return {**defaults, **told}, sorted(str(name) for name in given if name not in spec)


def _wrong_numbers(options: Mapping[str, Any]) -> Iterator[str]:
    for name, (least, most) in _BOUNDS.items():
        text = str(_at(options, name))
        if not re.fullmatch("-?[0-9]{1,30}", text) or not least <= int(text) <= most:
            yield f"The option {name} is {text}. Expected: a whole number from {least} to {most}."


def _wrong_choices(options: Mapping[str, Any]) -> Iterator[str]:
    for name, entry in _specs.schedule_options().items():
        choices = entry.get("choices", [])
        if choices and options[name] not in choices:
            yield f"The option {name} is {options[name]!r}. Expected: {', '.join(choices)}."
    for name in _BOOLS:
        if not isinstance(options[name], bool):
            yield f"The option {name} is {options[name]!r}. Expected: true or false."
    place = options["metrics_dir"]
    if place not in ("", "auto") and (not str(place).startswith("/") or ".." in str(place).split("/")):
        yield f"The option metrics_dir is {place!r}. Give the whole path, from / on, auto, or an empty text."


def _wrong_hooks(hooks: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong without an address, which may be a secret."""
    words = hooks["failure_command"]
    if not isinstance(words, (list, tuple)) or not all(isinstance(one, str) and "\0" not in one for one in words):
        yield "The option hooks.failure_command must be a list of words."
    elif words and not words[0].startswith("/"):
        yield f"The option hooks.failure_command begins with {words[0]!r}: give the program's whole path, from / on."
    for name in _ADDRESSES:
        text = hooks[name]
        if not isinstance(text, str) or (text and not _is_address(text)):
            yield f"The option hooks.{name} is not an address: give one that begins with https:// or http:// and names a host."


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and text.isprintable() and " " not in text
    except ValueError:
        return False


def _at(options: Mapping[str, Any], name: str) -> Any:
    group, _dot, inner = name.partition(".")
    return options[group][inner] if inner else options[group]


def _within(group: str, numbers: Mapping[str, int]) -> dict[str, int]:
    start = f"{group}."
    return {name[len(start) :]: number for name, number in numbers.items() if name.startswith(start)}
